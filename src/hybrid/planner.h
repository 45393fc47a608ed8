// Chooses the devices of a plan by a cost table alone: the same table gives the same plan.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "hybrid/coordinator.h"
#include "hybrid/cost_table.h"
#include "hybrid/plan.h"
#include "hybrid/workload.h"

namespace tandem {

// What a plan is for: a prompt, then tokens generated after it.
struct PlanRequest {
  uint32_t prompt = 512, generate = 128;
  uint32_t sequences = 1;
  uint32_t context = 0;  // positions a sequence's cache holds; 0: prompt + generate
  uint32_t chunk = 0;    // rows of a prefill step; 0: the best of the table's
  uint32_t depth = 1;    // of the pipeline, at most

  uint32_t context_or_least() const { return context > 0 ? context : prompt + generate; }
  Workload prefill(const Plan& plan) const;
  Workload decode(const Plan& plan) const;
  // Of the coordinator that would run the plan for it.
  CoordinatorShape shape(const CostTable& table, const Plan& plan) const;
};

struct Prediction {
  double prompt_us = 0, prompt_tokens_per_second = 0;
  double generate_us = 0, generate_tokens_per_second = 0;
  double cache_hand_over_us = 0;  // between the two, where devices change

  double us() const { return prompt_us + generate_us + cache_hand_over_us; }
};

// By simulation. Throws as segments_of().
Prediction predict(const CostTable& table, const Plan& plan, const PlanRequest& request);

// The fastest plan for the request over all devices of the table, within their memory. Throws
// kUnsupported when no device runs some node, kOutOfMemory when nothing fits.
Plan make_plan(const CostTable& table, const PlanRequest& request);

}  // namespace tandem

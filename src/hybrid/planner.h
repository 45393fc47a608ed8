// Chooses the devices of a plan by a cost table alone: the same table gives the same plan.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "hybrid/cost_table.h"
#include "hybrid/plan.h"
#include "hybrid/plan_check.h"
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
};

// Bytes, by the table: weights once on each device that has the node in either phase.
struct PlanMemory {
  std::vector<uint64_t> weights;        // per device of the table
  uint64_t cache = 0, activations = 0;  // host pages
};

struct Prediction {
  double prompt_us = 0, prompt_tokens_per_second = 0;
  double generate_us = 0, generate_tokens_per_second = 0;
  double cache_hand_over_us = 0;  // between the two, where devices change
  PlanMemory memory;

  double us() const { return prompt_us + generate_us + cache_hand_over_us; }
};

// The first of the table's memories that the plan does not fit into, by the memory's name.
std::optional<Shortfall> shortfall_of(const CostTable& table, const Plan& plan,
                                      const PlanRequest& request);

// By simulation. Throws as segments_of().
Prediction predict(const CostTable& table, const Plan& plan, const PlanRequest& request);

// The fastest plan for the request over all devices of the table, within their memory. Throws
// kUnsupported when no device runs some node, kOutOfMemory when nothing fits.
Plan make_plan(const CostTable& table, const PlanRequest& request);

}  // namespace tandem

// What --device and --plan ask for: a plan, with its devices open.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "hybrid/plan.h"
#include "model/config.h"
#include "model/weights.h"

namespace tandem {

struct EngineOptions;

struct OpenPlan {
  Plan plan;  // devices under the names they have here
  std::vector<std::unique_ptr<Backend>> backends;
  std::string source;  // for messages: a file's name, "--plan hybrid"
};

// Says on stderr which devices stand in for others. Throws what reading a plan and opening devices
// throws, with the place in the plan.
OpenPlan open_plan(const EngineOptions& options, const ModelConfig& config,
                   const ModelWeights& weights);

}  // namespace tandem

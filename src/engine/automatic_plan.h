// Measures the devices of this machine and plans by what was measured.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

#include "hybrid/measure_blocks.h"
#include "hybrid/plan.h"
#include "hybrid/planner.h"

namespace tandem {

// The devices a plan may use without being asked to: not software, not emulated.
std::vector<std::string> plannable_devices();

// Costs of a model's nodes on these devices, which are open only meanwhile. Where the request's
// prompt or context is shorter than the rows and positions of `options`, those are left out.
CostTable measure_this_machine(const ModelConfig& config, const ModelWeights& weights,
                               std::span<const std::string> devices, const PlanRequest& request,
                               BlockBenchOptions options);

// What `--plan auto` runs: on one device nothing is measured.
Plan plan_automatically(const ModelConfig& config, const ModelWeights& weights,
                        const PlanRequest& request, const BlockBenchOptions& options);

}  // namespace tandem

// What `tandem plan` prints: where nodes run, what they cost, and why not elsewhere.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "hybrid/planner.h"

namespace tandem {

// The nodes of both phases in ranges of layers, with time and bytes of one; `explain` adds what
// each other device would take, or why it cannot.
std::string plan_table(const CostTable& table, const Plan& plan, const PlanRequest& request,
                       bool explain);

// Predicted speeds beside their rooflines, those of each device alone, and memory by device.
std::string plan_summary(const CostTable& table, const Plan& plan, const PlanRequest& request);

}  // namespace tandem

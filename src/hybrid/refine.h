// Improves a plan whose steps overlap, with the simulator as the judge. How a pipeline fills and
// drains, where steps queue for a device, how devices slow each other down: none of it adds up over
// nodes, so that a shortest path cannot see it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "hybrid/cost_table.h"
#include "hybrid/plan.h"

namespace tandem {

// Microseconds of a plan; infinite for one that is not allowed.
using PlanJudge = std::function<double(const Plan&)>;

// Moves nodes of a kind, or of neighbouring kinds, of some layers to other devices for as long as
// that helps. The result's devices are all of the table's, in its order; every node's device
// supports it. Never worse than `start` by the judge.
Plan refine(const CostTable& table, const Plan& start, const PlanJudge& judge);

}  // namespace tandem

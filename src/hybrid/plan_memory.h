// What a plan takes of a machine's memories, by a cost table. It is counted as it is before the
// plan runs (plan_check.h), so that what is planned is not refused.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hybrid/coordinator.h"
#include "hybrid/cost_table.h"
#include "hybrid/plan.h"
#include "hybrid/plan_check.h"

namespace tandem {

// A memory of the table, or the part of one that a device can use.
struct MemoryGroup {
  std::string name;
  uint64_t size = 0;
  std::vector<uint32_t> devices;  // of the table, that share it

  bool contains(uint32_t device) const;
};
// All that have devices.
std::vector<MemoryGroup> memory_groups(const CostTable& table);

// Bytes that devices of the table need of a memory they share, in a coordinator of this shape.
DeviceMemory planned_need(const CostTable& table, const Plan& plan, const CoordinatorShape& shape,
                          const std::vector<uint32_t>& devices);

// The first memory that the plan does not fit into.
std::optional<Shortfall> planned_shortfall(const CostTable& table, const Plan& plan,
                                           const CoordinatorShape& shape);

}  // namespace tandem

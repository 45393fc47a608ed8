// SPDX-License-Identifier: Apache-2.0
#include "hybrid/plan_memory.h"

#include <algorithm>

namespace tandem {

bool MemoryGroup::contains(uint32_t device) const {
  return std::find(devices.begin(), devices.end(), device) != devices.end();
}

std::vector<MemoryGroup> memory_groups(const CostTable& table) {
  std::vector<MemoryGroup> groups;
  for (uint32_t pool = 0; pool < table.pools.size(); ++pool) {
    MemoryGroup group{table.pools[pool].name, table.pools[pool].size, {}};
    for (uint32_t device = 0; device < table.devices.size(); ++device)
      if (table.devices[device].pool == pool) group.devices.push_back(device);
    if (!group.devices.empty()) groups.push_back(std::move(group));
  }
  for (uint32_t device = 0; device < table.devices.size(); ++device) {
    const DeviceCost& cost = table.devices[device];
    if (cost.memory_size > 0) groups.push_back({cost.name, cost.memory_size, {device}});
  }
  return groups;
}

DeviceMemory planned_need(const CostTable& table, const Plan& plan, const CoordinatorShape& shape,
                          const std::vector<uint32_t>& devices) {
  std::vector<uint32_t> in_table, sharing;
  for (uint32_t i = 0; i < plan.devices.size(); ++i) {
    in_table.push_back(table.device(plan.devices[i]));
    if (std::find(devices.begin(), devices.end(), in_table.back()) != devices.end())
      sharing.push_back(i);
  }
  const std::vector<NodeKind> kinds = table.model.nodes();
  const ModelConfig config = table.model.config();
  const PlanSizes sizes{config, table.model.tied, [&](size_t node, uint32_t device) {
                          return table.devices[in_table[device]].node(kinds[node]).weight_bytes;
                        }};
  return shared_need(plan, sizes, shape, sharing);
}

std::optional<Shortfall> planned_shortfall(const CostTable& table, const Plan& plan,
                                           const CoordinatorShape& shape) {
  for (const MemoryGroup& group : memory_groups(table)) {
    const DeviceMemory need = planned_need(table, plan, shape, group.devices);
    if (need.total() == 0) continue;
    const uint64_t needed = need.total() + kMemoryMargin;
    if (needed > group.size) return Shortfall{group.name, needed, group.size};
  }
  return std::nullopt;
}

}  // namespace tandem

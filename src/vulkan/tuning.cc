// SPDX-License-Identifier: Apache-2.0
#include "vulkan/tuning.h"

#include <algorithm>
#include <array>
#include <limits>

namespace tandem::vulkan {
namespace {

enum class DeviceClass : uint8_t { kSoftware, kIntegrated, kDiscrete };

struct Row {
  DeviceClass device;
  uint32_t min_units;  // compute units at least
  Tuning tuning;
};

// The first row that fits is taken. docs/vulkan.md has what was tried.
constexpr std::array kRows = {
    Row{DeviceClass::kSoftware,
        0,
        {.name = "software",
         .subgroup = 0,
         .matvec_workgroup = 512,
         .matvec_per_unit = 2,
         .matvec_unroll = 2,
         .matvec_splits = 16,
         .attention_workgroup = 64,
         .attention_per_unit = 2,
         .norm_workgroup = 64,
         .chained = false,
         .spin_us = 0,
         .bytes_per_second = 2e9,
         .operations_per_second = 5e9}},
    Row{DeviceClass::kIntegrated,
        0,
        {.name = "integrated",
         .subgroup = 32,
         .matvec_workgroup = 512,
         .matvec_per_unit = 4,
         .matvec_unroll = 2,
         .matvec_splits = 16,
         .attention_workgroup = 128,
         .attention_per_unit = 4,
         .norm_workgroup = 256,
         .chained = false,
         .spin_us = 0,
         .bytes_per_second = 40e9,
         .operations_per_second = 1e12}},
    Row{DeviceClass::kDiscrete,
        100,
        {.name = "discrete, large",
         .subgroup = 32,
         .matvec_workgroup = 1024,
         .matvec_per_unit = 1,
         .matvec_unroll = 3,
         .matvec_splits = 16,
         .attention_workgroup = 128,
         .attention_per_unit = 4,
         .norm_workgroup = 512,
         .chained = true,
         .spin_us = 20000,
         .bytes_per_second = 1e12,
         .operations_per_second = 2e13}},
    Row{DeviceClass::kDiscrete,
        0,
        {.name = "discrete",
         .subgroup = 32,
         .matvec_workgroup = 64,
         .matvec_per_unit = 2,
         .matvec_unroll = 2,
         .matvec_splits = 16,
         .attention_workgroup = 128,
         .attention_per_unit = 4,
         .norm_workgroup = 256,
         .chained = false,
         .spin_us = 2000,
         .bytes_per_second = 100e9,
         .operations_per_second = 2e12}},
};

// Where no extension tells, enough to fill a common chip of the class.
constexpr uint32_t kUnitsUnknown[] = {1, 12, 64};

DeviceClass class_of(const VulkanDeviceInfo& info) {
  if (info.software) return DeviceClass::kSoftware;
  return info.discrete ? DeviceClass::kDiscrete : DeviceClass::kIntegrated;
}

uint32_t divide_up(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

}  // namespace

uint32_t compute_units(const VulkanDeviceInfo& info) {
  if (info.compute_units != 0) return info.compute_units;
  return kUnitsUnknown[static_cast<size_t>(class_of(info))];
}

const Tuning& tuning_for(const VulkanDeviceInfo& info) {
  const auto* row = std::find_if(kRows.begin(), kRows.end(), [&](const Row& r) {
    return r.device == class_of(info) && compute_units(info) >= r.min_units;
  });
  return row->tuning;
}

// Tries all layouts and takes the one in which the busiest invocation loads the fewest groups;
// among equals the one with fewer splits, then more loads in flight, then longer runs.
MatvecShape choose_shape(const Tuning& tuning, uint32_t subgroup, uint32_t outputs, uint32_t groups,
                         uint32_t workgroups) {
  constexpr uint32_t kLeastLanes = 4;
  constexpr uint32_t kMostPartials = 1024;  // outputs times splits of a workgroup
  const uint32_t subgroups = std::max(1u, tuning.matvec_workgroup / subgroup);
  const uint32_t count = divide_up(outputs, workgroups);
  MatvecShape best;
  uint64_t least = std::numeric_limits<uint64_t>::max();
  for (uint32_t splits = 1; splits <= tuning.matvec_splits; ++splits)
    for (uint32_t unroll = tuning.matvec_unroll; unroll >= 1; --unroll)
      for (uint32_t lanes = subgroup; lanes >= std::min(kLeastLanes, subgroup); lanes /= 2) {
        const uint32_t chunks = divide_up(groups, lanes * unroll);
        if (splits > chunks || (splits > 1 && count * splits > kMostPartials)) continue;
        const uint32_t units = divide_up(count, subgroup / lanes) * splits;
        const uint64_t loads =
            uint64_t{divide_up(units, subgroups)} * divide_up(chunks, splits) * unroll;
        if (loads < least) {
          least = loads;
          best = {lanes, unroll, splits};
        }
      }
  return best;
}

}  // namespace tandem::vulkan

// SPDX-License-Identifier: Apache-2.0
#include "vulkan/tuning.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <limits>

#include "base/error.h"

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
         .matvec_least = 512,
         .matvec_loads = 0,
         .matvec_per_unit = 2,
         .matvec_unroll = 2,
         .matvec_pair_unroll = 2,
         .matvec_splits = 16,
         .few_workgroup = 64,
         .few_per_unit = 2,
         .few_registers = 80,
         .few_staged = 16384,
         .attention_workgroup = 64,
         .attention_heads = 4,
         .attention_lanes = 32,
         .attention_ahead = 1,
         .attention_per_unit = 16,
         .attention_least_tiles = 2,
         .norm_workgroup = 64,
         .rounds = 1,
         .chained = false,
         .spin_us = 0,
         .bytes_per_second = 2e9,
         .operations_per_second = 5e9}},
    Row{DeviceClass::kIntegrated,
        0,
        {.name = "integrated",
         .subgroup = 32,
         .matvec_workgroup = 512,
         .matvec_least = 512,
         .matvec_loads = 0,
         .matvec_per_unit = 4,
         .matvec_unroll = 2,
         .matvec_pair_unroll = 2,
         .matvec_splits = 16,
         .few_workgroup = 256,
         .few_per_unit = 2,
         .few_registers = 64,
         .few_staged = 16384,
         .attention_workgroup = 128,
         .attention_heads = 4,
         .attention_lanes = 32,
         .attention_ahead = 2,
         .attention_per_unit = 4,
         .attention_least_tiles = 2,
         .norm_workgroup = 256,
         .rounds = 1,
         .chained = false,
         .spin_us = 0,
         .bytes_per_second = 40e9,
         .operations_per_second = 1e12}},
    Row{DeviceClass::kDiscrete,
        100,
        {.name = "discrete, large",
         .subgroup = 32,
         .matvec_workgroup = 1024,
         .matvec_least = 512,
         .matvec_loads = 1,
         .matvec_per_unit = 1,
         .matvec_unroll = 3,
         .matvec_pair_unroll = 1,
         .matvec_splits = 16,
         .few_workgroup = 512,
         .few_per_unit = 1,
         .few_registers = 100,
         .few_staged = 49152,
         .attention_workgroup = 256,
         .attention_heads = 1,
         .attention_lanes = 16,
         .attention_ahead = 8,
         .attention_per_unit = 4,
         .attention_least_tiles = 2,
         .norm_workgroup = 512,
         .rounds = 8,
         .chained = true,
         .spin_us = 20000,
         .bytes_per_second = 1e12,
         .operations_per_second = 2e13}},
    Row{DeviceClass::kDiscrete,
        0,
        {.name = "discrete",
         .subgroup = 32,
         .matvec_workgroup = 64,
         .matvec_least = 64,
         .matvec_loads = 0,
         .matvec_per_unit = 2,
         .matvec_unroll = 2,
         .matvec_pair_unroll = 2,
         .matvec_splits = 16,
         .few_workgroup = 128,
         .few_per_unit = 2,
         .few_registers = 64,
         .few_staged = 16384,
         .attention_workgroup = 128,
         .attention_heads = 4,
         .attention_lanes = 32,
         .attention_ahead = 2,
         .attention_per_unit = 4,
         .attention_least_tiles = 2,
         .norm_workgroup = 256,
         .rounds = 8,
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

constexpr uint32_t kMostColumns = 4;

// A layout, how many groups of weights its busiest invocation loads, and how long that takes.
struct Candidate {
  MatvecShape shape;
  uint64_t loads = std::numeric_limits<uint64_t>::max();
  uint64_t time = std::numeric_limits<uint64_t>::max();
};

// In instructions of 32 invocations times 10, for `loads` groups of weights in runs of `rows`: a
// group is loaded and unpacked, and multiplied by each row of x, whose groups are loaded once a
// run.
uint64_t estimated_time(uint64_t loads, uint32_t rows, uint32_t together) {
  constexpr uint64_t kLoad = 6, kMultiply = 1, kLoadX = 2;
  return loads * (kLoad + kMultiply * together) + loads / rows * kLoadX * together;
}

// Whether an invocation has registers for two chunks of its weights, a group of x and its sums.
bool has_registers(const Tuning& tuning, const MatvecSize& size, uint32_t rows, uint32_t unroll) {
  constexpr uint32_t kGroupOfX = 10, kMostSums = 32;  // as many as matvec.comp's sum_lanes() takes
  const uint32_t sums = std::bit_ceil(rows * size.together);
  const uint32_t needed = 2 * rows * unroll * size.group_words + sums + kGroupOfX;
  return size.together == 1 || (sums <= kMostSums && needed <= tuning.few_registers);
}

// Tries all layouts and takes the one that is done first; among equals the one with fewer splits,
// then more loads in flight, then longer runs, then more columns.
Candidate best_layout(const Tuning& tuning, uint32_t workgroup, uint32_t subgroup,
                      const MatvecSize& size, uint32_t workgroups) {
  constexpr uint32_t kLeastLanes = 4;
  const bool few = size.together > 1;
  const uint32_t most_partials = few ? 2048 : 1024;  // outputs times splits of a workgroup
  const uint32_t subgroups = std::max(1u, workgroup / subgroup);
  const uint32_t count = divide_up(size.outputs, workgroups);
  const uint32_t pair = size.pairs ? 2 : 1;
  const uint32_t most_unroll =
      size.pairs && !few ? tuning.matvec_pair_unroll : tuning.matvec_unroll;
  Candidate best;
  for (uint32_t splits = 1; splits <= tuning.matvec_splits; ++splits)
    for (uint32_t unroll = most_unroll; unroll >= 1; --unroll)
      for (uint32_t lanes = subgroup; lanes >= std::min(kLeastLanes, subgroup); lanes /= 2)
        for (uint32_t columns = few ? kMostColumns : 1; columns >= 1; columns /= 2) {
          const uint32_t chunks = divide_up(size.groups, lanes * unroll);
          const uint32_t rows = columns * pair;
          const bool least = unroll == 1 && columns == 1;
          if (splits > chunks || (splits > 1 && count * splits * size.together > most_partials) ||
              (!least && !has_registers(tuning, size, rows, unroll)))
            continue;
          const uint32_t units = divide_up(count, subgroup / lanes * columns) * splits;
          const uint64_t loads =
              uint64_t{divide_up(units, subgroups)} * divide_up(chunks, splits) * unroll * rows;
          const uint64_t time = estimated_time(loads, rows, size.together);
          if (time < best.time) best = {{workgroup, lanes, unroll, splits, columns}, loads, time};
        }
  return best;
}

}  // namespace

uint32_t compute_units(const VulkanDeviceInfo& info) {
  if (info.compute_units != 0) return info.compute_units;
  return kUnitsUnknown[static_cast<size_t>(class_of(info))];
}

Tuning tuning_for(const VulkanDeviceInfo& info) {
  const auto* row = std::find_if(kRows.begin(), kRows.end(), [&](const Row& r) {
    return r.device == class_of(info) && compute_units(info) >= r.min_units;
  });
  Tuning tuning = row->tuning;
  tuning.units = compute_units(info);
  return tuning;
}

// The smallest workgroup whose invocations load few groups, so that workgroups of the next
// dispatches have room beside it.
MatvecShape choose_shape(const Tuning& tuning, uint32_t subgroup, const MatvecSize& size,
                         uint32_t workgroups) {
  if (size.together > 1)
    return best_layout(tuning, tuning.few_workgroup, subgroup, size, workgroups).shape;
  for (uint32_t workgroup = tuning.matvec_least;; workgroup *= 2) {
    const Candidate best = best_layout(tuning, workgroup, subgroup, size, workgroups);
    if (workgroup >= tuning.matvec_workgroup || best.loads <= tuning.matvec_loads)
      return best.shape;
  }
}

void override_tuning(Tuning& tuning, std::string_view text) {
  struct Field {
    std::string_view name;
    uint32_t Tuning::*value;
  };
  constexpr std::array kFields = {
      Field{"matvec_workgroup", &Tuning::matvec_workgroup},
      Field{"matvec_least", &Tuning::matvec_least},
      Field{"matvec_loads", &Tuning::matvec_loads},
      Field{"matvec_per_unit", &Tuning::matvec_per_unit},
      Field{"matvec_unroll", &Tuning::matvec_unroll},
      Field{"matvec_pair_unroll", &Tuning::matvec_pair_unroll},
      Field{"matvec_splits", &Tuning::matvec_splits},
      Field{"few_workgroup", &Tuning::few_workgroup},
      Field{"few_per_unit", &Tuning::few_per_unit},
      Field{"few_registers", &Tuning::few_registers},
      Field{"few_staged", &Tuning::few_staged},
      Field{"attention_workgroup", &Tuning::attention_workgroup},
      Field{"attention_heads", &Tuning::attention_heads},
      Field{"attention_lanes", &Tuning::attention_lanes},
      Field{"attention_ahead", &Tuning::attention_ahead},
      Field{"attention_per_unit", &Tuning::attention_per_unit},
      Field{"attention_least_tiles", &Tuning::attention_least_tiles},
      Field{"units", &Tuning::units},
  };
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), item.size() + 1));
    const std::string_view name = item.substr(0, item.find('='));
    const std::string_view digits = item.substr(std::min(item.size(), name.size() + 1));
    uint32_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    const auto* field = std::find_if(kFields.begin(), kFields.end(),
                                     [&](const Field& f) { return f.name == name; });
    if (error != std::errc() || end != digits.data() + digits.size() ||
        (field == kFields.end() && name != "chained"))
      throw Error(ErrorCode::kUsage, fmt::format("'{}' sets no field of the tuning", item));
    if (field == kFields.end())
      tuning.chained = value != 0;
    else
      tuning.*(field->value) = value;
  }
}

}  // namespace tandem::vulkan

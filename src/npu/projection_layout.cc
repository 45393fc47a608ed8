// Activations in, sums out, by the diagrams of projection_layout.h. pack_activations and
// unpack_results run for every token.
// SPDX-License-Identifier: Apache-2.0
#include "npu/projection_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/error.h"

namespace tandem::npu {
namespace {

constexpr uint32_t kCoreRows = Int4Layout::kCoresPerColumn;
constexpr uint32_t kMaxDecodeRows = 4;
constexpr uint32_t kMaxPrefillRows = 256;
constexpr uint32_t kLanes = 16;
constexpr uint32_t kAlignment = 32;                // of a core's vector loads
constexpr uint32_t kOperandSize = 4 * kGroupSize;  // bytes of four rows of a group

bool is_exact(const ProjectionLayout& layout) { return layout.weights.scales == ScaleMode::kExact; }

// Where a group of one row goes: its unit, and its place there.
struct ActivationPlace {
  std::byte* unit;
  uint32_t row_group, group;
};

ActivationPlace place_of(const ProjectionLayout& layout, std::byte* activations, uint32_t row,
                         uint32_t group) {
  const uint32_t groups = layout.weights.groups_per_tile();
  const uint32_t step = group / groups;
  if (layout.phase == Phase::kDecode) {
    const size_t slot = size_t{step / layout.slot_units} * Int4Layout::kCoresPerStream;
    return {activations + slot * layout.weights.tile_size() +
                size_t{step % layout.slot_units} * layout.unit_size(),
            0, group % groups};
  }
  const uint32_t core_row = row / layout.rows_per_core();
  return {activations + (size_t{core_row} * layout.weights.steps + step) * layout.unit_size(),
          row % layout.rows_per_core() / 4, group % groups};
}

void store_group(const ProjectionLayout& layout, const ActivationPlace& place, uint32_t lane,
                 const int8_t* quants, const void* scale) {
  const uint32_t groups = layout.weights.groups_per_tile();
  const size_t index = size_t{place.row_group} * groups + place.group;
  for (size_t half = 0; half < 2; ++half)
    std::memcpy(place.unit + index * kOperandSize + half * 64 + lane * 16, quants + half * 16, 16);
  const uint32_t scale_size = layout.weights.scale_size();
  std::memcpy(place.unit + size_t{layout.row_groups} * groups * kOperandSize +
                  (index * 4 + lane) * scale_size,
              scale, scale_size);
}

// The largest magnitude of a group over 127: what one step is worth.
float step_of(const float* x) {
  float largest = 0;
  for (uint32_t i = 0; i < kGroupSize; ++i) largest = std::max(largest, std::abs(x[i]));
  return largest / 127;
}

// x = X * t * q. t is rounded up, so that the group fits in -127 .. 127 whatever X is.
float pack_row(const ProjectionLayout& layout, std::byte* activations, uint32_t row,
               const float* x) {
  const uint32_t groups = layout.weights.inputs / kGroupSize;
  float row_scale = 1;
  if (!is_exact(layout)) {
    float largest = 0;
    for (uint32_t g = 0; g < groups; ++g)
      largest = std::max(largest, step_of(x + size_t{g} * kGroupSize));
    row_scale = largest / 127;
  }
  for (uint32_t g = 0; g < groups; ++g) {
    const float* values = x + size_t{g} * kGroupSize;
    const float step = step_of(values);
    const float t = row_scale == 0 ? 0 : std::min(127.0f, std::ceil(step / row_scale));
    const float used = is_exact(layout) ? step : t * row_scale;
    const float inverse = used == 0 ? 0 : 1 / used;
    int8_t quants[kGroupSize];
    for (uint32_t i = 0; i < kGroupSize; ++i)
      quants[i] =
          static_cast<int8_t>(std::clamp(std::nearbyint(values[i] * inverse), -127.0f, 127.0f));
    const ActivationPlace place = place_of(layout, activations, row, g);
    const auto integer = static_cast<int8_t>(t);
    store_group(layout, place, row % 4, quants,
                is_exact(layout) ? static_cast<const void*>(&used) : &integer);
  }
  return row_scale;
}

// Bytes from the start of the results to the lanes of an output, and its lane there.
struct ResultPlace {
  size_t offset;
  uint32_t lane;
};

ResultPlace result_place(const ProjectionLayout& layout, uint32_t row, uint32_t output) {
  const Int4Layout& w = layout.weights;
  const uint32_t core = output / w.rows_per_core(), in_core = output % w.rows_per_core();
  const uint32_t block = in_core / w.tile_rows, tile_row = in_core % w.tile_rows;
  const uint32_t column = core / kCoreRows, core_in_column = core % kCoreRows;
  const bool decode = layout.phase == Phase::kDecode;
  // The column's objects in the order of sending: row blocks of its cores, or all its row blocks
  // for each of the four rows of cores.
  const size_t object =
      decode ? (size_t{column} * w.blocks + block) * kCoreRows + core_in_column
             : ((size_t{column} * kCoreRows + core_in_column) * w.blocks + block) * kCoreRows +
                   row / layout.rows_per_core();
  const uint32_t tile_lane = row % 4 * w.multiply_columns + tile_row % w.multiply_columns;
  const size_t tile =
      size_t{row % layout.rows_per_core() / 4} * (w.tile_rows / w.multiply_columns) +
      tile_row / w.multiply_columns;
  const size_t accumulator = tile * layout.accumulators + tile_lane / kLanes;
  return {object * layout.result_object_size() + accumulator * layout.accumulator_size(),
          tile_lane % kLanes};
}

int64_t load_integer(const std::byte* lanes, uint32_t lane) {
  uint32_t low;
  int32_t high;
  std::memcpy(&low, lanes + lane * 4, 4);
  std::memcpy(&high, lanes + (kLanes + lane) * 4, 4);
  return static_cast<int64_t>(static_cast<uint64_t>(static_cast<uint32_t>(high)) << 32 | low);
}

float load_float(const std::byte* lanes, uint32_t lane) {
  float value;
  std::memcpy(&value, lanes + lane * 4, 4);
  return value;
}

}  // namespace

uint32_t ProjectionLayout::accumulator_size() const {
  return kLanes * (weights.scales == ScaleMode::kExact ? 4 : 8);
}

uint32_t ProjectionLayout::unit_size() const {
  const uint32_t size =
      row_groups * weights.groups_per_tile() * (kOperandSize + 4 * weights.scale_size());
  return (size + kAlignment - 1) / kAlignment * kAlignment;
}

uint32_t ProjectionLayout::result_object_size() const {
  return row_groups * (weights.tile_rows / weights.multiply_columns) * accumulators *
         accumulator_size();
}

size_t ProjectionLayout::activations_size() const {
  if (phase == Phase::kDecode)
    return size_t{slots} * Int4Layout::kCoresPerStream * weights.tile_size();
  return size_t{kCoreRows} * weights.steps * unit_size();
}

size_t ProjectionLayout::results_size() const {
  const size_t objects = phase == Phase::kDecode
                             ? size_t{weights.cores()} * weights.blocks
                             : size_t{weights.cores()} * weights.blocks * kCoreRows;
  return objects * result_object_size();
}

ProjectionLayout projection_layout(const Int4Layout& weights, Phase phase, uint32_t rows) {
  ProjectionLayout layout;
  layout.weights = weights;
  layout.phase = phase;
  layout.rows = rows;
  if (phase == Phase::kDecode) {
    if (rows == 0 || rows > kMaxDecodeRows)
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("a decode design takes 1 to {} rows, not {}", kMaxDecodeRows, rows));
    layout.row_groups = 1;
    layout.slot_units = weights.tile_size() / layout.unit_size();
    TANDEM_CHECK(layout.slot_units > 0, "a unit of %u bytes in a tile of %u", layout.unit_size(),
                 weights.tile_size());
    layout.slots = (weights.steps + layout.slot_units - 1) / layout.slot_units;
    layout.accumulators = (rows * weights.multiply_columns + kLanes - 1) / kLanes;
    return layout;
  }
  if (rows == 0 || rows % (4 * kCoreRows) != 0 || rows > kMaxPrefillRows)
    throw Error(ErrorCode::kUnsupported,
                fmt::format("a prefill design takes a multiple of {} rows up to {}, not {}",
                            4 * kCoreRows, kMaxPrefillRows, rows));
  layout.row_groups = rows / (4 * kCoreRows);
  layout.accumulators = 4 * weights.multiply_columns / kLanes;
  return layout;
}

void pack_activations(const ProjectionLayout& layout, const std::byte* x, size_t stride,
                      uint32_t count, std::span<std::byte> activations,
                      std::span<float> row_scales) {
  TANDEM_CHECK(count <= layout.rows && row_scales.size() >= layout.rows &&
                   activations.size() == layout.activations_size(),
               "%u rows of %u, %zu bytes of %zu", count, layout.rows, activations.size(),
               layout.activations_size());
  std::fill(activations.begin(), activations.end(), std::byte{0});
  std::fill(row_scales.begin(), row_scales.end(), 0.0f);
  for (uint32_t row = 0; row < count; ++row)
    row_scales[row] =
        pack_row(layout, activations.data(), row, reinterpret_cast<const float*>(x + row * stride));
  if (layout.phase != Phase::kDecode) return;
  const size_t size = layout.weights.tile_size();
  for (uint32_t slot = 0; slot < layout.slots; ++slot) {
    std::byte* first = activations.data() + size_t{slot} * Int4Layout::kCoresPerStream * size;
    std::memcpy(first + size, first, size);
  }
}

int64_t result_integer(const ProjectionLayout& layout, std::span<const std::byte> results,
                       uint32_t row, uint32_t output) {
  const ResultPlace place = result_place(layout, row, output);
  return load_integer(results.data() + place.offset, place.lane);
}

float result_float(const ProjectionLayout& layout, std::span<const std::byte> results, uint32_t row,
                   uint32_t output) {
  const ResultPlace place = result_place(layout, row, output);
  return load_float(results.data() + place.offset, place.lane);
}

void unpack_results(const ProjectionLayout& layout, std::span<const std::byte> results,
                    std::span<const float> weight_scales, std::span<const float> row_scales,
                    uint32_t count, std::byte* y, size_t stride) {
  TANDEM_CHECK(results.size() == layout.results_size() && count <= layout.rows &&
                   weight_scales.size() == layout.weights.outputs,
               "%zu bytes of %zu, %u rows of %u", results.size(), layout.results_size(), count,
               layout.rows);
  const uint32_t run = layout.weights.multiply_columns;  // outputs side by side in the lanes
  for (uint32_t row = 0; row < count; ++row) {
    auto* out = reinterpret_cast<float*>(y + row * stride);
    const double row_scale = row_scales[row];
    for (uint32_t first = 0; first < layout.weights.outputs; first += run) {
      const ResultPlace place = result_place(layout, row, first);
      const std::byte* lanes = results.data() + place.offset;
      const uint32_t wanted = std::min(run, layout.weights.outputs - first);
      for (uint32_t i = 0; i < wanted; ++i) {
        if (is_exact(layout))
          out[first + i] = load_float(lanes, place.lane + i);
        else
          out[first + i] =
              static_cast<float>(static_cast<double>(load_integer(lanes, place.lane + i)) *
                                 weight_scales[first + i] * row_scale);
      }
    }
  }
}

}  // namespace tandem::npu

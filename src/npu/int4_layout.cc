// Packing and unpacking by the byte diagram of int4_layout.h. Runs once per loaded weight.
// SPDX-License-Identifier: Apache-2.0
#include "npu/int4_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "tensor/half.h"
#include "tensor/quant_q4_0.h"
#include "tensor/quantize.h"

namespace tandem::npu {
namespace {

constexpr uint32_t kTileAlignment = 64;
// Deep enough that lock and call overheads vanish, shallow enough that a prefill core holds its
// sums beside two tiles, and that a tile is one dimension of a shim descriptor (1023 words).
constexpr uint32_t kMaxTileDepth = 128;
constexpr uint32_t kMaxTileRows = 32;

uint32_t round_up(uint32_t value, uint32_t unit) { return (value + unit - 1) / unit * unit; }

// The largest depth of whole groups that divides K.
uint32_t choose_depth(uint32_t inputs) {
  for (uint32_t depth = std::min(kMaxTileDepth, inputs); depth > kGroupSize; depth -= kGroupSize)
    if (inputs % depth == 0) return depth;
  return kGroupSize;
}

// Where a nibble of (row of the tile, input of the tile) lies, as an index of nibbles.
size_t nibble_index(const Int4Layout& layout, uint32_t row, uint32_t input) {
  const uint32_t n = layout.multiply_columns;
  return (size_t{row / n} * layout.tile_depth + input) * n + row % n;
}

void set_nibble(std::byte* tile, size_t index, uint8_t value) {
  tile[index / 2] |= static_cast<std::byte>(value << (index % 2 * 4));
}

uint8_t get_nibble(const std::byte* tile, size_t index) {
  return static_cast<uint8_t>(static_cast<uint8_t>(tile[index / 2]) >> (index % 2 * 4)) & 0x0F;
}

size_t scale_offset(const Int4Layout& layout, uint32_t row, uint32_t group) {
  return size_t{layout.tile_rows} * layout.tile_depth / 2 +
         (size_t{group} * layout.tile_rows + row) * layout.scale_size();
}

// A row of the matrix: the core, block and row of the tiles that hold it.
struct RowPlace {
  uint32_t core, block, row;
};
RowPlace place_of(const Int4Layout& layout, uint32_t output) {
  const uint32_t in_core = output % layout.rows_per_core();
  return {output / layout.rows_per_core(), in_core / layout.tile_rows, in_core % layout.tile_rows};
}

// Sums of squares from which a PackReport is made.
struct ErrorSums {
  double weights = 0, requantization = 0, scales = 0;
};

// One row of Q4_0 blocks into its tiles. `row_scale` receives D, or 1 with exact scales.
void pack_row(const Int4Layout& layout, uint32_t output, const BlockQ4_0* blocks, std::byte* packed,
              float& row_scale, ErrorSums& errors) {
  const uint32_t groups = layout.inputs / kGroupSize;
  float largest = 0;
  for (uint32_t g = 0; g < groups; ++g)
    largest = std::max(largest, std::abs(f16_to_f32(blocks[g].scale)));
  const bool exact = layout.scales == ScaleMode::kExact;
  row_scale = exact ? 1 : largest / 127;
  const RowPlace place = place_of(layout, output);
  for (uint32_t g = 0; g < groups; ++g) {
    const uint32_t step = g / layout.groups_per_tile(), in_tile = g % layout.groups_per_tile();
    std::byte* tile = packed + layout.tile_offset(place.core, place.block, step);
    double squares = 0;
    for (uint32_t i = 0; i < kGroupSize; ++i) {
      const uint8_t pair = blocks[g].nibbles[i % 16];
      const uint8_t level = i < 16 ? pair & 0x0F : pair >> 4;  // 0 .. 15 stands for -8 .. 7
      squares += (level - 8) * (level - 8);
      set_nibble(tile, nibble_index(layout, place.row, in_tile * kGroupSize + i), level ^ 8);
    }
    const float scale = f16_to_f32(blocks[g].scale);
    std::byte* stored = tile + scale_offset(layout, place.row, in_tile);
    float used = scale;
    if (exact) {
      std::memcpy(stored, &scale, sizeof scale);
    } else {
      const auto s = static_cast<int8_t>(row_scale == 0 ? 0 : std::lround(scale / row_scale));
      *stored = static_cast<std::byte>(s);
      used = row_scale * static_cast<float>(s);
    }
    errors.weights += squares * scale * scale;
    errors.scales += squares * (used - scale) * (used - scale);
  }
}

// A row of any type as Q4_0 blocks, in `scratch` unless it is Q4_0 already.
class RowReader {
 public:
  RowReader(const TensorView& tensor, ErrorSums& errors)
      : tensor_(tensor),
        errors_(errors),
        values_(tensor.cols()),
        rounded_(tensor.cols()),
        blocks_(tensor.cols() / kGroupSize) {}

  const BlockQ4_0* read(uint32_t row) {
    const std::byte* bytes = tensor_.row(0, row);
    if (tensor_.dtype == DType::kQ4_0) return reinterpret_cast<const BlockQ4_0*>(bytes);
    dequantize_row(tensor_.dtype, bytes, values_.data(), values_.size());
    auto* out = reinterpret_cast<std::byte*>(blocks_.data());
    quantize_row(DType::kQ4_0, values_.data(), out, values_.size());
    dequantize_row(DType::kQ4_0, out, rounded_.data(), values_.size());
    for (size_t i = 0; i < values_.size(); ++i) {
      const double change = double{rounded_[i]} - double{values_[i]};
      errors_.requantization += change * change;
    }
    return blocks_.data();
  }

 private:
  TensorView tensor_;
  ErrorSums& errors_;
  std::vector<float> values_, rounded_;
  std::vector<BlockQ4_0> blocks_;
};

}  // namespace

uint32_t Int4Layout::tile_size() const {
  return round_up(tile_rows * tile_depth / 2 + tile_rows * groups_per_tile() * scale_size(),
                  kTileAlignment);
}

size_t Int4Layout::tile_offset(uint32_t core, uint32_t block, uint32_t step) const {
  const size_t tile = (size_t{block} * steps + step) * kCoresPerStream + core % kCoresPerStream;
  return core / kCoresPerStream * stream_size() + tile * tile_size();
}

Int4Layout choose_int4_layout(const Geometry& geometry, uint32_t columns, uint32_t outputs,
                              uint32_t inputs, ScaleMode scales) {
  if (inputs == 0 || inputs % kGroupSize != 0)
    throw Error(ErrorCode::kUnsupported,
                fmt::format("a projection of {} inputs cannot be tiled: K must be a multiple of {}",
                            inputs, kGroupSize));
  TANDEM_CHECK(columns >= 1 && columns <= geometry.columns && outputs > 0, "%u columns, %u outputs",
               columns, outputs);
  Int4Layout best;
  for (uint32_t rows = kMaxTileRows; rows > 0; rows -= geometry.int8_int4_mmul.n) {
    Int4Layout layout;
    layout.generation = geometry.generation;
    layout.scales = scales;
    layout.inputs = inputs;
    layout.outputs = outputs;
    layout.columns = columns;
    layout.multiply_columns = geometry.int8_int4_mmul.n;
    layout.tile_rows = rows;
    layout.tile_depth = choose_depth(inputs);
    layout.blocks = (outputs + layout.cores() * rows - 1) / (layout.cores() * rows);
    layout.steps = inputs / layout.tile_depth;
    if (best.tile_rows == 0 || layout.weights_size() < best.weights_size()) best = layout;
  }
  return best;
}

PackReport pack_weights(const Int4Layout& layout, std::span<const TensorView> tensors,
                        std::span<std::byte> packed, std::span<float> row_scales) {
  TANDEM_CHECK(packed.size() == layout.weights_size(), "%zu bytes for %zu", packed.size(),
               layout.weights_size());
  TANDEM_CHECK(row_scales.size() == layout.outputs, "%zu row scales for %u outputs",
               row_scales.size(), layout.outputs);
  std::fill(packed.begin(), packed.end(), std::byte{0});
  PackReport report;
  ErrorSums errors;
  uint32_t output = 0;
  for (const TensorView& tensor : tensors) {
    TANDEM_CHECK(tensor.cols() == layout.inputs && output + tensor.rows() <= layout.outputs,
                 "a tensor of %u x %u for a layout of %u x %u", tensor.rows(), tensor.cols(),
                 layout.outputs, layout.inputs);
    report.requantized |= tensor.dtype != DType::kQ4_0;
    RowReader reader(tensor, errors);
    for (uint32_t row = 0; row < tensor.rows(); ++row, ++output)
      pack_row(layout, output, reader.read(row), packed.data(), row_scales[output], errors);
  }
  TANDEM_CHECK(output == layout.outputs, "%u rows for %u outputs", output, layout.outputs);
  if (errors.weights > 0) {
    report.requantization_error = std::sqrt(errors.requantization / errors.weights);
    report.scale_error = std::sqrt(errors.scales / errors.weights);
  }
  return report;
}

void unpack_weights(const Int4Layout& layout, std::span<const std::byte> packed,
                    std::span<const float> row_scales, std::span<std::byte> q4_0) {
  const uint32_t groups = layout.inputs / kGroupSize;
  TANDEM_CHECK(packed.size() == layout.weights_size() &&
                   q4_0.size() == size_t{layout.outputs} * groups * sizeof(BlockQ4_0),
               "%zu packed bytes, room for %zu of Q4_0", packed.size(), q4_0.size());
  auto* blocks = reinterpret_cast<BlockQ4_0*>(q4_0.data());
  for (uint32_t output = 0; output < layout.outputs; ++output) {
    const RowPlace place = place_of(layout, output);
    for (uint32_t g = 0; g < groups; ++g) {
      const uint32_t in_tile = g % layout.groups_per_tile();
      const std::byte* tile =
          packed.data() + layout.tile_offset(place.core, place.block, g / layout.groups_per_tile());
      const std::byte* stored = tile + scale_offset(layout, place.row, in_tile);
      BlockQ4_0& block = blocks[size_t{output} * groups + g];
      float scale;
      if (layout.scales == ScaleMode::kExact)
        std::memcpy(&scale, stored, sizeof scale);
      else
        scale = row_scales[output] * static_cast<float>(static_cast<int8_t>(*stored));
      block.scale = f32_to_f16(scale);
      for (uint32_t i = 0; i < 16; ++i) {
        const auto level = [&](uint32_t input) {
          return get_nibble(tile, nibble_index(layout, place.row, in_tile * kGroupSize + input)) ^
                 8;
        };
        block.nibbles[i] = static_cast<uint8_t>(level(i) | level(i + 16) << 4);
      }
    }
  }
}

}  // namespace tandem::npu

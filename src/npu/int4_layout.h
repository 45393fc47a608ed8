// INT4 weights of a projection in the order in which the array consumes them, from GGUF and back.
//
// A weight matrix w[N, K] is cut into tiles of `tile_rows` outputs by `tile_depth` inputs. Output
// row n belongs to core n / rows_per_core; each shim stream feeds a pair of cores, and its bytes
// are one linear run: for each row block, for each depth step, the first core's tile, then the
// second's.
//
//   tile   | nibbles [row / n][group][half][16][n] | scales [group][tile_rows] | zeros to 64 B |
//
// n is the width of the array's multiply (8 on npu1, 16 on npu2); the innermost 16 x n nibbles are
// one B operand of aie::mmul: nibble k * n + column, the low nibble first, a signed weight q - 8.
// Group g holds inputs 32 g .. 32 g + 31 of its tile: half 0 the low nibbles of a Q4_0 block, half
// 1 the high ones.
//
//   Q4_0 block byte 2 + j:   low nibble = input j         high nibble = input j + 16
//   tile byte (n = 8), half h: byte 4 i + c / 2 = input 16 h + i of columns c (low), c + 1 (high)
//
// Scales are int8 with one float per output row (kInteger), or float32 (kExact). Rows past N and
// inputs past K have weight 0 and scale 0.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "npu/geometry.h"
#include "tensor/tensor_view.h"

namespace tandem::npu {

inline constexpr uint32_t kGroupSize = 32;  // weights that share a scale, as in Q4_0

// kInteger: weight = D[row] * s * (q - 8), s int8, D = max |d| of the row / 127; sums stay
// integers. kExact: weight = d * (q - 8), the file's scale; sums are float32.
enum class ScaleMode : uint8_t { kInteger, kExact };

struct Int4Layout {
  Generation generation = Generation::kNpu1;
  ScaleMode scales = ScaleMode::kInteger;
  uint32_t inputs = 0, outputs = 0;  // K, N
  uint32_t columns = 0;              // of the array
  uint32_t multiply_columns = 0;     // n of the B operand
  uint32_t tile_rows = 0;            // a multiple of n
  uint32_t tile_depth = 0;           // a multiple of kGroupSize that divides K
  uint32_t blocks = 0;               // row blocks of a core
  uint32_t steps = 0;                // depth steps: K / tile_depth

  static constexpr uint32_t kCoresPerColumn = 4;
  static constexpr uint32_t kCoresPerStream = 2;
  uint32_t cores() const { return columns * kCoresPerColumn; }
  uint32_t streams() const { return cores() / kCoresPerStream; }
  uint32_t rows_per_core() const { return blocks * tile_rows; }
  uint32_t padded_outputs() const { return cores() * rows_per_core(); }
  uint32_t groups_per_tile() const { return tile_depth / kGroupSize; }
  uint32_t scale_size() const { return scales == ScaleMode::kInteger ? 1 : 4; }
  uint32_t tile_size() const;  // bytes
  size_t stream_size() const { return size_t{blocks} * steps * kCoresPerStream * tile_size(); }
  size_t weights_size() const { return streams() * stream_size(); }
  // Byte offset of a tile; `core` counts through the columns, four each.
  size_t tile_offset(uint32_t core, uint32_t block, uint32_t step) const;
};

// The shape of tile for w[outputs, inputs] on the first `columns` of an array: the one that streams
// the fewest bytes. Throws kUnsupported when K is not a multiple of 32.
Int4Layout choose_int4_layout(const Geometry& geometry, uint32_t columns, uint32_t outputs,
                              uint32_t inputs, ScaleMode scales);

// What packing did to the values: root mean square of the change, relative to that of the weights.
struct PackReport {
  bool requantized = false;         // some tensor was not Q4_0
  double requantization_error = 0;  // from the file's values to Q4_0's
  double scale_error = 0;           // from Q4_0's values to the array's; 0 with exact scales
};

// Packs tensors of K columns whose rows, one tensor after the other, are the layout's N outputs.
// Q4_0 is taken as it is; other types are quantised to Q4_0 first, and the report says at what
// error. `packed` takes weights_size() bytes and `row_scales` N floats (all 1 with exact scales).
PackReport pack_weights(const Int4Layout& layout, std::span<const TensorView> tensors,
                        std::span<std::byte> packed, std::span<float> row_scales);

// Back to Q4_0 blocks, N rows of K / 32, 18 bytes each. The inverse of pack_weights with exact
// scales; with integer ones the nibbles are the same and a scale is D * s rounded to f16.
void unpack_weights(const Int4Layout& layout, std::span<const std::byte> packed,
                    std::span<const float> row_scales, std::span<std::byte> q4_0);

}  // namespace tandem::npu

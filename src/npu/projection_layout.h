// One projection y[M, N] = x[M, K] * w[N, K]^T on the array, for a phase: the shapes of its three
// host buffers, and the way of activations into and of sums out of them.
//
// Activations are int8 per group of 32 inputs, kept in units of one tile's depth. Four rows at a
// time make the A operand of the array's multiply, with their scales behind them:
//
//   unit   | int8 [row / 4][group][half][4][16] | scales [row / 4][group][4] | zeros to 32 B |
//
// Scales are int8 t with one float X per row, x = X * t * q (kInteger), or float32 (kExact).
//
// Decode (M <= 4): the units of 4 rows lie in slots of a tile's size, `slot_units` in each, every
// slot twice (once for each core of a stream); all streams send them before their weights. Prefill:
// for each of the four rows of cores, its M / 4 tokens in `steps` units.
//
// Sums come 16 lanes at a time in the order of the C operand (4 x n, row-major): with integer
// scales 16 low words, then 16 high words, of int64; with exact scales 16 float32. A core's object
// is [row / 4][tile row / n][lane / 16]; objects of a column's four cores lie side by side.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "backend/op.h"
#include "npu/int4_layout.h"

namespace tandem::npu {

struct ProjectionLayout {
  Int4Layout weights;
  Phase phase = Phase::kDecode;
  uint32_t rows = 1;          // M the design is made for
  uint32_t row_groups = 1;    // of 4 rows, on one core
  uint32_t slots = 0;         // decode: activation slots ahead of the weights
  uint32_t slot_units = 0;    // decode: units in a slot
  uint32_t accumulators = 0;  // of 16 lanes per 4 x n tile that hold wanted rows

  uint32_t rows_per_core() const { return 4 * row_groups; }
  uint32_t accumulator_size() const;    // bytes of 16 lanes
  uint32_t unit_size() const;           // bytes
  uint32_t result_object_size() const;  // bytes, one core's
  size_t activations_size() const;
  size_t results_size() const;
};

// Decode takes 1 to 4 rows; prefill a multiple of 16 up to 256 (fewer rows: pad with zeros). Throws
// kUnsupported otherwise.
ProjectionLayout projection_layout(const Int4Layout& weights, Phase phase, uint32_t rows);

// Quantises x[count, K] (count <= rows; the missing rows are zero) into the activation buffer.
// `stride` is bytes from row to row. `row_scales` takes `rows` floats. Does not allocate.
void pack_activations(const ProjectionLayout& layout, const std::byte* x, size_t stride,
                      uint32_t count, std::span<std::byte> activations,
                      std::span<float> row_scales);

// y[count, N] from the result buffer: sum * D[n] * X[m].
void unpack_results(const ProjectionLayout& layout, std::span<const std::byte> results,
                    std::span<const float> weight_scales, std::span<const float> row_scales,
                    uint32_t count, std::byte* y, size_t stride);

// The integer sum (or float32 sum) of one output, for checks.
int64_t result_integer(const ProjectionLayout& layout, std::span<const std::byte> results,
                       uint32_t row, uint32_t output);
float result_float(const ProjectionLayout& layout, std::span<const std::byte> results, uint32_t row,
                   uint32_t output);

}  // namespace tandem::npu

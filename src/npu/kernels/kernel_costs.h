// What a call of each core kernel costs in cycles of the array.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "npu/geometry.h"
#include "npu/kernels/w4a8_shape.h"

namespace tandem::npu {

// One tile of weights against shape.row_groups x 4 rows.
uint64_t w4a8_integer_cycles(W4A8Shape shape);
uint64_t w4a8_exact_cycles(W4A8Shape shape);
// Moving or clearing bytes with vector loads and stores.
uint64_t copy_cycles(uint64_t bytes);
// Int64 sums to high and low words.
uint64_t w4a8_flush_cycles(uint64_t bytes);

struct GemmCallShape {
  uint32_t m, k, n;       // tile
  uint32_t r, s, t;       // multiply
  double issue_cycles;    // of one multiply
  double block_overhead;  // cycles per 2 x 2 blocks of C: loading, storing, filling the pipeline
};
uint64_t gemm_cycles(const GemmCallShape& shape);

}  // namespace tandem::npu

// y = x w^T without matrix units: each invocation sums a small patch of y in registers, in f32,
// from tiles of x and of decoded w held as f16 in shared memory.
// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_GOOGLE_include_directive : require
#define BARRIERS_ONLY

#include "matmul.glsl"

// Rows of a tile in pairs of f16, of 32 k, padded by one pair against bank conflicts. The patch of
// an invocation takes every (tile / part)-th row and column, so that neighbours read neighbours.
const uint kPairs = 16;
const uint kPaddedRow = kPairs + 1;
shared uint x_tile[kTileM * kPaddedRow];
shared uint w_tile[kTileN * kPaddedRow];

const uint kStepM = kTileM / kPartM;
const uint kStepN = kTileN / kPartN;

void load_x(uint k, uint rows) {
  for (uint i = gl_LocalInvocationIndex; i < kTileM * 4; i += kWorkgroup) {
    const uint row = min(first_row() + i / 4, rows - 1);
    const uvec4 eight = WordQuad(p.x + 2 * (uint64_t(row) * p.k + k + 8 * (i % 4))).value;
    [[unroll]] for (uint j = 0; j < 4; ++j) x_tile[i / 4 * kPaddedRow + 4 * (i % 4) + j] = eight[j];
  }
}

// In each four weights the order is 0 2 1 3, as in x.
void load_w(uint k) {
  for (uint i = gl_LocalInvocationIndex; i < kTileN; i += kWorkgroup) {
    const Block block = load_block(weight_row(first_column() + i), k / 32);
    const BlockScale scale = block_scale(block);
    [[unroll]] for (uint j = 0; j < 4; ++j) {
      const Vec8 w = dequant8(block, scale, j);
      const uint at = i * kPaddedRow + 2 * j;
      w_tile[at] = packHalf2x16(w.low.xz);
      w_tile[at + 1] = packHalf2x16(w.low.yw);
      w_tile[at + 8] = packHalf2x16(w.high.xz);
      w_tile[at + 9] = packHalf2x16(w.high.yw);
    }
  }
}

void main() {
  const uint rows = row_count();
  if (first_row() >= rows) return;
  const uint m0 = gl_LocalInvocationIndex / kStepN;
  const uint n0 = gl_LocalInvocationIndex % kStepN;
  float sums[kPartM][kPartN];
  [[unroll]] for (uint m = 0; m < kPartM; ++m)
    [[unroll]] for (uint n = 0; n < kPartN; ++n) sums[m][n] = 0.0;

  for (uint k = first_k(); k < last_k(); k += 32) {
    barrier();
    load_x(k, rows);
    load_w(k);
    barrier();
    for (uint pair = 0; pair < kPairs; ++pair) {
      vec2 x[kPartM];
      [[unroll]] for (uint m = 0; m < kPartM; ++m)
        x[m] = unpackHalf2x16(x_tile[(m0 + m * kStepM) * kPaddedRow + pair]);
      [[unroll]] for (uint n = 0; n < kPartN; ++n) {
        const vec2 w = unpackHalf2x16(w_tile[(n0 + n * kStepN) * kPaddedRow + pair]);
        [[unroll]] for (uint m = 0; m < kPartM; ++m)
          sums[m][n] = fma(x[m].y, w.y, fma(x[m].x, w.x, sums[m][n]));
      }
    }
  }

  FloatArray y = result();
  [[unroll]] for (uint m = 0; m < kPartM; ++m) {
    const uint row = first_row() + m0 + m * kStepM;
    if (row < rows) {
      const float scale = FloatArray(p.scale).at[row];
      [[unroll]] for (uint n = 0; n < kPartN; ++n) {
        const uint column = first_column() + n0 + n * kStepN;
        if (column < p.n_end[2]) y.at[row * p.y_stride + column] = sums[m][n] * scale;
      }
    }
  }
}

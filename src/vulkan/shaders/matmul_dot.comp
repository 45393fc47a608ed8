// y = x w^T by packed dot products of int8 (VK_KHR_shader_integer_dot_product): x is quantised
// per 32, w taken as stored; each invocation sums a small patch of y in registers.
// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_GOOGLE_include_directive : require
#define BARRIERS_ONLY

#include "dot.glsl"
#include "matmul.glsl"

// One group of 32 k at a time. Rows in words of four int8, padded by one against bank conflicts.
const uint kWords = 8;
const uint kPaddedRow = kWords + 1;
shared uint x_tile[kTileM * kPaddedRow];
shared uint w_tile[kTileN * kPaddedRow];
shared vec2 x_scales[kTileM];  // scale, scaled sum
shared vec3 w_scales[kTileN];  // scales of both halves, offset

const uint kStepM = kTileM / kPartM;
const uint kStepN = kTileN / kPartN;

layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer Scales { vec2 at[]; };

void load_x(uint k, uint rows) {
  for (uint i = gl_LocalInvocationIndex; i < kTileM * 2; i += kWorkgroup) {
    const uint row = min(first_row() + i / 2, rows - 1);
    const uvec4 words = WordQuad(p.x + uint64_t(row) * p.k + k + 16 * (i % 2)).value;
    [[unroll]] for (uint j = 0; j < 4; ++j) x_tile[i / 2 * kPaddedRow + 4 * (i % 2) + j] = words[j];
    if (i % 2 == 0) x_scales[i / 2] = Scales(p.scale).at[row * (p.k / 32) + k / 32];
  }
}

void load_w(uint k) {
  for (uint i = gl_LocalInvocationIndex; i < kTileN; i += kWorkgroup) {
    const Block block = load_block(weight_row(first_column() + i), k / 32);
    const BlockScale scale = block_scale(block);
    w_scales[i] = vec3(scale.scale, scale.offset);
    [[unroll]] for (uint j = 0; j < 4; ++j) {
      const uvec2 q = load8(block, j);
      w_tile[i * kPaddedRow + j] = q.x;
      w_tile[i * kPaddedRow + 4 + j] = q.y;
    }
  }
}

int dot_half(uint x[kWords], uint w[kWords], uint first) {
  int sum = 0;
  [[unroll]] for (uint i = first; i < first + 4; ++i)
    sum += dot_packed(x[i], w[i], 0);
  return sum;
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
    uint x[kPartM][kWords];
    vec2 x_scale[kPartM];
    [[unroll]] for (uint m = 0; m < kPartM; ++m) {
      const uint row = m0 + m * kStepM;
      x_scale[m] = x_scales[row];
      [[unroll]] for (uint i = 0; i < kWords; ++i) x[m][i] = x_tile[row * kPaddedRow + i];
    }
    [[unroll]] for (uint n = 0; n < kPartN; ++n) {
      const uint column = n0 + n * kStepN;
      const vec3 w_scale = w_scales[column];
      uint w[kWords];
      [[unroll]] for (uint i = 0; i < kWords; ++i) w[i] = w_tile[column * kPaddedRow + i];
      [[unroll]] for (uint m = 0; m < kPartM; ++m) {
        const float low = w_scale.x * float(dot_half(x[m], w, 0));
        const float high = w_scale.y * float(dot_half(x[m], w, 4));
        sums[m][n] += x_scale[m].x * (low + high) + x_scale[m].y * w_scale.z;
      }
    }
  }

  FloatArray y = result();
  [[unroll]] for (uint m = 0; m < kPartM; ++m) {
    const uint row = first_row() + m0 + m * kStepM;
    if (row < rows)
      [[unroll]] for (uint n = 0; n < kPartN; ++n) {
        const uint column = first_column() + n0 + n * kStepN;
        if (column < p.n_end[2]) y.at[row * p.y_stride + column] = sums[m][n];
      }
  }
}

// y = x w^T for a few rows of x: weights are read once, for all rows together. Neighbouring
// invocations share a row of weights; x is read from memory, where prepare_rows.comp left it as
// int8, or as f32 where the weights are floats.
// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_GOOGLE_include_directive : require
#define BARRIERS_ONLY

#include "dot.glsl"
#include "matmul.glsl"

// kTileM counts rows of x, kTileN columns of y of a workgroup, kPartN those of an invocation.
layout(constant_id = 6) const uint kLanes = 8;
layout(constant_id = 7) const uint kUnroll = 2;

layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer Scales { vec2 at[]; };

// Sums of this invocation's columns, for each row of x.
float sums[kPartN * kTileM];

// Adds the products of a group of 32, or of none: `used` is 1 or 0. A branch instead would hold loops.
#ifdef WEIGHT_IS_FLOAT
void add_products(Block blocks[kPartN], uint group, float used) {
  [[unroll]] for (uint i = 0; i < 4; ++i) {
    Vec8 w[kPartN];
    [[unroll]] for (uint n = 0; n < kPartN; ++n)
      w[n] = dequant8(blocks[n], block_scale(blocks[n]), i);
    [[unroll]] for (uint m = 0; m < kTileM; ++m) {
      QuadArray x = QuadArray(p.x + 4 * (uint64_t(first_row() + m) * p.k + 32 * group));
      const vec4 low = used * x.at[i], high = used * x.at[4 + i];
      [[unroll]] for (uint n = 0; n < kPartN; ++n)
        sums[n * kTileM + m] += dot(w[n].low, low) + dot(w[n].high, high);
    }
  }
}
#else
void add_products(Block blocks[kPartN], uint group, float used) {
  [[unroll]] for (uint m = 0; m < kTileM; ++m) {
    const uint64_t x_row = uint64_t(first_row() + m) * p.k;
    const uvec4 x_low = WordQuad(p.x + x_row + 32 * group).value;
    const uvec4 x_high = WordQuad(p.x + x_row + 32 * group + 16).value;
    const vec2 x_scale = used * Scales(p.scale + x_row / 4).at[group];
    [[unroll]] for (uint n = 0; n < kPartN; ++n) {
      int low = 0, high = 0;
      [[unroll]] for (uint i = 0; i < 4; ++i) {
        const uvec2 q = load8(blocks[n], i);
        low += dot_packed(q.x, x_low[i], 0);
        high += dot_packed(q.y, x_high[i], 0);
      }
      const BlockScale w = block_scale(blocks[n]);
      sums[n * kTileM + m] +=
          x_scale.x * (w.scale.x * float(low) + w.scale.y * float(high)) + x_scale.y * w.offset;
    }
  }
}
#endif

// Grid: see matmul.glsl.
void main() {
  const uint rows = row_count();
  if (first_row() >= rows) return;
  const uint lane = gl_SubgroupInvocationID % kLanes;
  const uint column = first_column() + thread_index() / kLanes * kPartN;
  const uint groups = p.k / 32;
  [[unroll]] for (uint i = 0; i < kPartN * kTileM; ++i) sums[i] = 0.0;

  for (uint first = 0; first < groups; first += kLanes * kUnroll) {
    // Past the end of a row its last group is loaded again, and not used.
    Block blocks[kUnroll][kPartN];
    [[unroll]] for (uint u = 0; u < kUnroll; ++u)
      [[unroll]] for (uint n = 0; n < kPartN; ++n)
        blocks[u][n] =
            load_block(weight_row(column + n), min(first + u * kLanes + lane, groups - 1));
    [[unroll]] for (uint u = 0; u < kUnroll; ++u) {
      const uint group = first + u * kLanes + lane;
      add_products(blocks[u], min(group, groups - 1), group < groups ? 1.0 : 0.0);
    }
  }

  FloatArray y = result();
  [[unroll]] for (uint n = 0; n < kPartN; ++n)
    [[unroll]] for (uint m = 0; m < kTileM; ++m) {
      const float sum = add_lanes(sums[n * kTileM + m], kLanes);
      const uint row = first_row() + m;
      if (lane == 0 && row < rows && column + n < p.n_end[2])
        y.at[row * p.y_stride + column + n] = sum;
    }
}

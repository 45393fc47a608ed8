// The rows of x of matvec.comp: how they come to where they are read, a group of one, and its product
// with a group of weights. `x_row` is the first row's address.
// SPDX-License-Identifier: Apache-2.0

// A group of a row of x.
#ifdef WEIGHT_IS_FLOAT
struct Group {
  vec4 at[8];
};

Group load_group(uint64_t x_row, uint m, uint group) {
  QuadArray x = QuadArray(x_row + 4 * uint64_t(m) * p.x_stride + 128 * uint64_t(group));
  Group x_group;
  [[unroll]] for (uint i = 0; i < 8; ++i) x_group.at[i] = x.at[i];
  return x_group;
}

float group_dot(Block block, Group x) {
  const BlockScale scale = block_scale(block);
  float sum = 0.0;
  [[unroll]] for (uint i = 0; i < 4; ++i) {
    const Vec8 w = dequant8(block, scale, i);
    sum += dot(w.low, x.at[i]) + dot(w.high, x.at[4 + i]);
  }
  return sum;
}
#else
struct Group {
  uvec4 low, high;
  vec2 scale;
};

layout(buffer_reference, scalar, buffer_reference_align = 16) nonprivate buffer WordQuads {
  uvec4 at[];
};
layout(buffer_reference, scalar, buffer_reference_align = 8) nonprivate buffer Scales { vec2 at[]; };

uint64_t prepared_row(uint64_t x_row, uint m) { return x_row + 4 * uint64_t(m) * p.x_stride; }

Group load_group(uint64_t x_row, uint m, uint group) {
  if (kStaged)
    return Group(x_quads[m * 2 * kGroups + group], x_quads[(m * 2 + 1) * kGroups + group],
                 x_scales[m * kGroups + group]);
  const uint64_t row = prepared_row(x_row, m);
  return Group(WordQuads(row).at[group], WordQuads(row).at[kGroups + group],
               Scales(row + 32 * kGroups).at[group]);
}

float group_dot(Block block, Group x) {
  const BlockScale scale = block_scale(block);
  int low = 0, high = 0;
  [[unroll]] for (uint i = 0; i < 4; ++i) {
    const uvec2 q = load8(block, i);
    low += dot_packed(q.x, x.low[i], 0);
    high += dot_packed(q.y, x.high[i], 0);
  }
  return x.scale.x * (scale.scale.x * float(low) + scale.scale.y * float(high)) +
         x.scale.y * scale.offset;
}

#include "prepare_x.glsl"

uint first_quad() { return 0; }
void keep(uint i, vec4 a, vec4 b) { quantise(i, a, b); }
void keep_words(uint group, uint word, uvec2 words) {
  const uint at = word / 4 * kGroups + group;
  x_quads[at][word % 4] = words.x;
  x_quads[at][word % 4 + 1] = words.y;
}
void keep_scale(uint group, vec2 scale) { x_scales[group] = scale; }

// Rows that prepare.comp left, to shared memory. All loads are issued before one is waited for; past
// the end the last is made again.
void stage(uint64_t x_row) {
  const uint kAllGroups = kTogether * kGroups;
  const uint kQuadLoads = (2 * kAllGroups + kWorkgroup - 1) / kWorkgroup;
  const uint kScaleLoads = (kAllGroups + kWorkgroup - 1) / kWorkgroup;
  uvec4 quads[kQuadLoads];
  vec2 scales[kScaleLoads];
  [[unroll]] for (uint j = 0; j < kQuadLoads; ++j) {
    const uint i = min(gl_LocalInvocationIndex + j * kWorkgroup, 2 * kAllGroups - 1);
    quads[j] = WordQuads(prepared_row(x_row, i / (2 * kGroups))).at[i % (2 * kGroups)];
  }
  [[unroll]] for (uint j = 0; j < kScaleLoads; ++j) {
    const uint i = min(gl_LocalInvocationIndex + j * kWorkgroup, kAllGroups - 1);
    scales[j] = Scales(prepared_row(x_row, i / kGroups) + 32 * kGroups).at[i % kGroups];
  }
  [[unroll]] for (uint j = 0; j < kQuadLoads; ++j)
    x_quads[min(gl_LocalInvocationIndex + j * kWorkgroup, 2 * kAllGroups - 1)] = quads[j];
  [[unroll]] for (uint j = 0; j < kScaleLoads; ++j)
    x_scales[min(gl_LocalInvocationIndex + j * kWorkgroup, kAllGroups - 1)] = scales[j];
}
#endif

void make_x(uint64_t x_row, uint row) {
#ifndef WEIGHT_IS_FLOAT
  if (kPrologue != kPrologueReady)
    prepare_x(x_row, row);
  else if (kStaged)
    stage(x_row);
  if (kStaged) barrier();
#endif
}

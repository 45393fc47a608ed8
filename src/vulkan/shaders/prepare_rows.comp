// Makes the rows that a product in tiles reads: norm, copy or gated GELU of f32 rows, to scaled f16 or
// int8. A sum that is still to be made into the rows comes first. One workgroup per row.
// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_GOOGLE_include_directive : require
#define BARRIERS_ONLY

#include "common.glsl"
#include "batch.glsl"
#include "prefill_params.h"
#include "reduce.glsl"

layout(constant_id = 0) const uint kWorkgroup = 256;
layout(constant_id = 1) const uint kSource = kSourceNorm;
layout(constant_id = 2) const uint kTarget = kTargetF16;
layout(constant_id = 9) const uint kRowKind = kRowsAll;
layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { PrepareRowsParams p; };

const uint kRowSums = 2, kMostBlocks = kWidestNorm / 64;  // subgroups of 8 invocations at least
#include "row_sum.glsl"

layout(buffer_reference, scalar, buffer_reference_align = 8) nonprivate buffer UintPairArray {
  uvec2 at[];
};
layout(buffer_reference, scalar, buffer_reference_align = 8) nonprivate buffer PairArray {
  vec2 at[];
};

vec4 gelu_tanh(vec4 x) {
  return vec4(gelu_tanh(x.x), gelu_tanh(x.y), gelu_tanh(x.z), gelu_tanh(x.w));
}

uint quads() { return p.width / 4; }

float inverse_rms_of(QuadArray x, uint which) {
  const uint rounds = (quads() + 2 * kWorkgroup - 1) / (2 * kWorkgroup);
  for (uint round = 0; round < rounds; ++round) {
    const uint i = 2 * (round * kWorkgroup + thread_index());
    const vec4 a = i < quads() ? x.at[i] : vec4(0.0), b = i < quads() ? x.at[i + 1] : vec4(0.0);
    add_octet(which, round, squares_of(a, b));
  }
  return inverse_rms(row_sum(which, rounds), p.inverse_width, p.epsilon);
}

// sum = x + add / rms(add) * add_norm.
void make_sum(QuadArray x, QuadArray add, QuadArray sum) {
  const float scale = inverse_rms_of(add, 0);
  for (uint i = gl_LocalInvocationIndex; i < quads(); i += kWorkgroup)
    sum.at[i] = residual_sum(x.at[i], add.at[i], QuadArray(p.add_norm).at[i], scale);
  workgroup_barrier();
}

// Elements 4i .. 4i+3 of the row.
vec4 source(QuadArray x, uint i, float scale) {
  if (kSource == kSourceNorm || kSource == kSourceAddNorm)
    return x.at[i] * scale * QuadArray(p.weight).at[i];
  if (kSource == kSourceGeglu) return gelu_tanh(x.at[i]) * x.at[p.width / 4 + i];
  return x.at[i];
}

float largest(vec4 v) {
  v = abs(v);
  return max(max(v.x, v.y), max(v.z, v.w));
}

// A row is scaled so that its largest value lies in [2^14, 2^15): nothing overflows f16 however
// large the activations are, and 2^-29 of the largest value is still a normal number. In each four
// elements the order is 0 2 1 3, in which the matrix shaders unpack weights.
void write_f16(uint row, QuadArray x, float scale) {
  float row_max = 0.0;
  for (uint i = gl_LocalInvocationIndex; i < p.width / 4; i += kWorkgroup)
    row_max = max(row_max, largest(source(x, i, scale)));
  const uint exponent = floatBitsToUint(workgroup_max(row_max)) >> 23;
  const uint scale_exponent = max(exponent, 15u) - 14u;
  const float inverse = uintBitsToFloat((254u - scale_exponent) << 23);
  UintPairArray y = UintPairArray(p.y + 2 * uint64_t(row) * p.width);
  for (uint i = gl_LocalInvocationIndex; i < p.width / 4; i += kWorkgroup) {
    const vec4 v = source(x, i, scale) * inverse;
    y.at[i] = uvec2(packHalf2x16(v.xz), packHalf2x16(v.yw));
  }
  if (gl_LocalInvocationIndex == 0) FloatArray(p.scale).at[row] = uintBitsToFloat(scale_exponent << 23);
}

// One invocation quantises 32 elements: round to nearest of v / d, d = max / 127.
void write_q8(uint row, QuadArray x, float scale) {
  const uint groups = p.width / 32;
  UintArray y = UintArray(p.y + uint64_t(row) * p.width);
  PairArray scales = PairArray(p.scale + 8 * uint64_t(row) * groups);
  for (uint g = gl_LocalInvocationIndex; g < groups; g += kWorkgroup) {
    vec4 v[8];
    float group_max = 0.0;
    [[unroll]] for (uint i = 0; i < 8; ++i) {
      v[i] = source(x, g * 8 + i, scale);
      group_max = max(group_max, largest(v[i]));
    }
    const float d = group_max / 127.0;
    const float inverse = group_max > 0.0 ? 127.0 / group_max : 0.0;
    int sum = 0;
    [[unroll]] for (uint i = 0; i < 8; ++i) {
      const ivec4 q = ivec4(roundEven(v[i] * inverse));
      sum += q.x + q.y + q.z + q.w;
      y.at[g * 8 + i] = (uint(q.x) & 0xffu) | (uint(q.y) & 0xffu) << 8 | (uint(q.z) & 0xffu) << 16 |
                        uint(q.w) << 24;
    }
    scales.at[g] = vec2(d, d * float(sum));
  }
}

void main() {
  const uint row = gl_WorkGroupID.x;
  Batch batch = Batch(p.batch);
  if (row >= (kRowKind == kRowsAll ? batch.rows : batch.outputs)) return;
  const uint from = kRowKind == kRowsGathered ? batch.row[row].output_row : row;
  QuadArray x = QuadArray(p.x + 4 * uint64_t(from) * p.x_stride);
  if (kSource == kSourceAddNorm) {
    QuadArray sum = QuadArray(p.sum + 4 * uint64_t(from) * p.x_stride);
    make_sum(x, QuadArray(p.add + 4 * uint64_t(from) * p.x_stride), sum);
    x = sum;
  }
  const bool normed = kSource == kSourceNorm || kSource == kSourceAddNorm;
  const float scale = normed ? inverse_rms_of(x, 1) : 1.0;
  if (kTarget == kTargetF16)
    write_f16(row, x, scale);
  else
    write_q8(row, x, scale);
}

// target = x / rms(x) * w, or that added to a base, or x as it is. One workgroup per row.
// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "batch.glsl"

layout(constant_id = 0) const uint kWorkgroup = 256;
layout(constant_id = 1) const uint kNormMode = kNormPlain;
layout(constant_id = 2) const bool kOnOutputs = false;
layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { RmsNormParams p; };

const uint kRowSums = 1, kMostBlocks = kWidestNorm / 64;  // subgroups of 8 invocations at least
#include "row_sum.glsl"

// Rows may begin anywhere.
vec4 quad(FloatArray x, uint first) {
  vec4 v;
  [[unroll]] for (uint i = 0; i < 4; ++i)
    v[i] = first + i < p.width ? x.at[first + i] : 0.0;
  return v;
}

float inverse_rms_of(FloatArray x) {
  const uint rounds = (p.width + 8 * kWorkgroup - 1) / (8 * kWorkgroup);
  for (uint round = 0; round < rounds; ++round) {
    const uint first = 8 * (round * kWorkgroup + thread_index());
    add_octet(0, round, squares_of(quad(x, first), quad(x, first + 4)));
  }
  return inverse_rms(row_sum(0, rounds), p.inverse_width, p.epsilon);
}

void main() {
  const uint row = gl_WorkGroupID.x;
  Batch batch = Batch(p.batch);
  if (row >= (kOnOutputs ? batch.outputs : batch.rows)) return;
  FloatArray x = FloatArray(p.x + 4 * uint64_t(row) * p.x_stride);
  FloatArray base = FloatArray(p.base + 4 * uint64_t(row) * p.base_stride);
  FloatArray target = FloatArray(p.target + 4 * uint64_t(row) * p.target_stride);
  FloatArray weight = FloatArray(p.weight);
  const float scale = kNormMode == kNormCopy ? 1.0 : inverse_rms_of(x);
  for (uint i = gl_LocalInvocationIndex; i < p.width; i += kWorkgroup) {
    float y = x.at[i];
    if (kNormMode == kNormPlain) y *= scale * weight.at[i];
    if (kNormMode == kNormAdd)
      y = residual_sum(vec4(base.at[i]), vec4(y), vec4(weight.at[i]), scale).x;
    target.at[i] = y;
  }
  for (uint i = p.width + gl_LocalInvocationIndex; i < p.target_width; i += kWorkgroup)
    target.at[i] = 0.0;
}

// target = x / rms(x) * w, or that added to a base, or x as it is. One workgroup per row.
// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "batch.glsl"
#include "reduce.glsl"

layout(constant_id = 0) const uint kWorkgroup = 256;
layout(constant_id = 1) const uint kNormMode = kNormPlain;
layout(constant_id = 2) const bool kOnOutputs = false;
layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { RmsNormParams p; };

void main() {
  const uint row = gl_WorkGroupID.x;
  Batch batch = Batch(p.batch);
  if (row >= (kOnOutputs ? batch.outputs : batch.rows)) return;
  FloatArray x = FloatArray(p.x + 4 * uint64_t(row) * p.x_stride);
  FloatArray base = FloatArray(p.base + 4 * uint64_t(row) * p.base_stride);
  FloatArray target = FloatArray(p.target + 4 * uint64_t(row) * p.target_stride);
  FloatArray weight = FloatArray(p.weight);
  float inverse_rms = 1.0;
  if (kNormMode != kNormCopy) {
    float squares = 0.0;
    for (uint i = gl_LocalInvocationIndex; i < p.width; i += kWorkgroup)
      squares += x.at[i] * x.at[i];
    inverse_rms = inversesqrt(workgroup_add(squares) / float(p.width) + p.epsilon);
  }
  for (uint i = gl_LocalInvocationIndex; i < p.width; i += kWorkgroup) {
    float y = x.at[i];
    if (kNormMode != kNormCopy) y *= inverse_rms * weight.at[i];
    target.at[i] = kNormMode == kNormAdd ? base.at[i] + y : y;
  }
  for (uint i = p.width + gl_LocalInvocationIndex; i < p.target_width; i += kWorkgroup)
    target.at[i] = 0.0;
}

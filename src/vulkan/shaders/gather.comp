// target[i] = x[output_row[i]] for the outputs of the step. One workgroup per output.
// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "batch.glsl"

layout(constant_id = 0) const uint kWorkgroup = 64;
layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { GatherParams p; };

void main() {
  const uint i = gl_WorkGroupID.x;
  Batch batch = Batch(p.batch);
  if (i >= batch.outputs) return;
  FloatArray x = FloatArray(p.x + 4 * uint64_t(batch.row[i].output_row) * p.x_stride);
  FloatArray target = FloatArray(p.target + 4 * uint64_t(i) * p.target_stride);
  for (uint k = gl_LocalInvocationIndex; k < p.width; k += kWorkgroup) target.at[k] = x.at[k];
}

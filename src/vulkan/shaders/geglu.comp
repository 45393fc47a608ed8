// h = gelu_tanh(gate) * up, gate and up side by side in gu. Grid: x over columns, y over rows.
// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "batch.glsl"

layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { GegluParams p; };

void main() {
  const uint i = gl_GlobalInvocationID.x;
  const uint row = gl_WorkGroupID.y;
  if (row >= Batch(p.batch).rows || i >= p.width) return;
  FloatArray gu = FloatArray(p.gu + 4 * uint64_t(row) * p.gu_stride);
  FloatArray(p.h + 4 * uint64_t(row) * p.h_stride).at[i] = gelu_tanh(gu.at[i]) * gu.at[p.width + i];
}

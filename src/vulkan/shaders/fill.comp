// Writes one word into a range: clears counters, poisons buffers in tests.
// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { FillParams p; };

void main() {
  const uint i = gl_GlobalInvocationID.x;
  if (i < p.count) UintArray(p.target).at[i] = p.value;
}

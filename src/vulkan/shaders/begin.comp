// Takes the host's batch buffer into device memory and clears the counters: the first dispatch of
// every submission.
// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { BeginParams p; };

void main() {
  const uint i = gl_GlobalInvocationID.x;
  if (i < p.batch_words) UintArray(p.target).at[i] = UintArray(p.source).at[i];
  if (i < p.counter_words) UintArray(p.counters).at[i] = 0;
}

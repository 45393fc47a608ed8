// One step of the check that chained dispatches wait for each other: every workgroup reads what
// another workgroup wrote in the step before, and adds one.
// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { ChainCheckParams p; };

void main() {
  chain_wait(p.chain);
  const uint count = gl_NumWorkGroups.x;
  if (gl_LocalInvocationIndex == 0) {
    const uint other = (gl_WorkGroupID.x + count / 2 + 1) % count;
    UintArray(p.target).at[gl_WorkGroupID.x] = UintArray(p.source).at[other] + 1;
  }
  chain_signal(p.chain);
}

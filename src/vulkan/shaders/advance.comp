// Between two rounds of a submission: each chosen id becomes the token of its row, the row's
// position grows by one, and the counters are cleared. One workgroup.
// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(constant_id = 0) const uint kWorkgroup = 64;
layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { AdvanceParams p; };

// The batch as words: rows, outputs, round, reserved, then token, sequence, position, output_row.
void main() {
  UintArray batch = UintArray(p.batch);
  const uint outputs = batch.at[1];
  const uint round = batch.at[2];
  for (uint i = gl_LocalInvocationIndex; i < outputs; i += kWorkgroup) {
    const uint row = batch.at[4 + 4 * i + 3];
    batch.at[4 + 4 * row] = UintArray(p.ids).at[round * p.round_stride + i * p.output_stride];
    batch.at[4 + 4 * row + 2] += 1;
  }
  // Word 0, the failure flag, is the host's to clear.
  for (uint i = gl_LocalInvocationIndex + 1; i < p.counter_words; i += kWorkgroup)
    UintArray(p.counters).at[i] = 0;
  workgroup_barrier();
  if (gl_LocalInvocationIndex == 0) batch.at[2] = round + 1;
}

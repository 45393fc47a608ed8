// Norms and residual sums of rows, the same bits whatever the workgroup and the shader: a model that is
// cut between two layers makes at the cut, for another device of the kind, what a program of both
// layers makes on its way. So values are `precise`, and sums are made in one order: an octet (eight
// neighbouring elements) by an invocation, the octets of a subgroup's invocations, all of those. In
// round j invocation t has octet t + j * kWorkgroup; whoever has none takes part with zeros.
// SPDX-License-Identifier: Apache-2.0
#ifndef TANDEM_ROW_SUM_GLSL
#define TANDEM_ROW_SUM_GLSL

// Of the includer, before: kRowSums that are made, of so many rounds times subgroups: kMostBlocks.
shared float block_sums[kRowSums * kMostBlocks];

// The same in every invocation of the subgroup.
float sum_of_lanes(float value) {
  precise float sum = value;
  [[unroll]] for (uint i = 0; i < 7; ++i)
    if ((1u << i) < gl_SubgroupSize) sum += subgroupShuffleXor(sum, 1u << i);
  return sum;
}

float squares_of(vec4 a, vec4 b) {
  precise const vec4 squares = a * a + b * b;
  precise const float sum = (squares.x + squares.y) + (squares.z + squares.w);
  return sum;
}

// Of an octet in a round, for the row sum number `which`. To be called by all invocations.
void add_octet(uint which, uint round, float value) {
  const float sum = sum_of_lanes(value);
  if (gl_SubgroupInvocationID == 0)
    block_sums[which * kMostBlocks + round * gl_NumSubgroups + gl_SubgroupID] = sum;
}

// What so many rounds added. To be called by all invocations.
float row_sum(uint which, uint rounds) {
  barrier();
  const uint count = rounds * gl_NumSubgroups;
  precise float rest = 0.0;
  // All invocations loop equally often: see attention_decode.comp.
  for (uint base = 0; base < count; base += gl_SubgroupSize) {
    const uint at = base + gl_SubgroupInvocationID;
    rest += at < count ? block_sums[which * kMostBlocks + min(at, count - 1)] : 0.0;
  }
  return sum_of_lanes(rest);
}

float inverse_rms(float squares, float inverse_width, float epsilon) {
  precise const float mean = squares * inverse_width;
  precise const float shifted = mean + epsilon;
  return inversesqrt(shifted);
}

// x + y / rms(y) * weight.
vec4 residual_sum(vec4 x, vec4 y, vec4 weight, float inverse_rms_of_y) {
  precise const vec4 normed = y * weight * inverse_rms_of_y;
  precise const vec4 sum = x + normed;
  return sum;
}

#endif

// The k largest of each row of values, in descending order, the lower index first on a tie; k = 1
// is argmax. Every workgroup finds the k largest of its part, the one that finishes last those of
// all candidates. Grid: x over parts, y over outputs.
// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "batch.glsl"

layout(constant_id = 0) const uint kWorkgroup = 256;
layout(constant_id = 1) const uint kCount = 1;
layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { TopKParams p; };

// A value and where it was; ordered by `before`.
struct Candidate {
  float value;
  uint index;
};
const float kNever = -3.4028234e38;
const uint kNowhere = 0xffffffffu;

shared Candidate of_subgroup[kWorkgroup];
shared uint arrived_before;

layout(buffer_reference, scalar, buffer_reference_align = 8) nonprivate buffer Candidates {
  Candidate at[];
};

// NaN comes before nothing, so that it is never chosen over a number.
bool before(Candidate a, Candidate b) {
  return a.value > b.value || (a.value == b.value && a.index < b.index) ||
         (b.index == kNowhere && a.index != kNowhere && a.value == a.value);
}

// The first of all invocations' candidates, known to all.
Candidate first_of_workgroup(Candidate best) {
  for (uint offset = gl_SubgroupSize / 2; offset > 0; offset /= 2) {
    const Candidate other = Candidate(subgroupShuffleXor(best.value, offset),
                                      subgroupShuffleXor(best.index, offset));
    if (before(other, best)) best = other;
  }
  if (gl_SubgroupInvocationID == 0) of_subgroup[gl_SubgroupID] = best;
  barrier();
  for (uint i = 0; i < gl_NumSubgroups; ++i)
    if (before(of_subgroup[i], best)) best = of_subgroup[i];
  barrier();
  return best;
}

void main() {
  const uint output_row = gl_WorkGroupID.y;
  Batch batch = Batch(p.batch);
  if (output_row >= batch.outputs) return;
  const uint parts = gl_NumWorkGroups.x;
  FloatArray values = FloatArray(p.values + 4 * uint64_t(output_row) * p.stride);
  Candidates candidates = Candidates(p.scratch + 8 * uint64_t(output_row) * parts * kCount);
  const uint first = uint(uint64_t(p.n) * gl_WorkGroupID.x / parts);
  const uint last = uint(uint64_t(p.n) * (gl_WorkGroupID.x + 1) / parts);

  // Each round takes the first that comes after the one taken before.
  Candidate taken = Candidate(uintBitsToFloat(0x7f800000u), 0);
  [[unroll]] for (uint k = 0; k < kCount; ++k) {
    Candidate best = Candidate(kNever, kNowhere);
    for (uint i = first + gl_LocalInvocationIndex; i < last; i += kWorkgroup) {
      const Candidate c = Candidate(values.at[i], i);
      if ((k == 0 || before(taken, c)) && before(c, best)) best = c;
    }
    taken = first_of_workgroup(best);
    if (gl_LocalInvocationIndex == 0) candidates.at[gl_WorkGroupID.x * kCount + k] = taken;
  }

  workgroup_barrier();
  UintArray counter =
      UintArray(p.scratch + 8 * uint64_t(gl_NumWorkGroups.y) * parts * kCount + 4 * output_row);
  if (gl_LocalInvocationIndex == 0) {
    arrived_before = count_arrival(counter);
    if (arrived_before == parts - 1) counter.at[0] = 0;
  }
  workgroup_barrier();
  if (arrived_before != parts - 1) return;

  const uint ids = batch.round * p.round_stride + output_row * p.output_stride;
  [[unroll]] for (uint k = 0; k < kCount; ++k) {
    Candidate best = Candidate(kNever, kNowhere);
    for (uint i = gl_LocalInvocationIndex; i < parts * kCount; i += kWorkgroup) {
      const Candidate c = candidates.at[i];
      if ((k == 0 || before(taken, c)) && before(c, best)) best = c;
    }
    taken = first_of_workgroup(best);
    if (gl_LocalInvocationIndex == 0) {
      UintArray(p.ids).at[ids + k] = taken.index == kNowhere ? 0 : taken.index;
      if (p.largest != 0)
        FloatArray(p.largest).at[output_row * p.largest_stride + k] = taken.value;
    }
  }
}

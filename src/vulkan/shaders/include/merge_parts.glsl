// The end of attention_decode.comp: the parts of a KV length become one.
// SPDX-License-Identifier: Apache-2.0

// part_weights: what each part's sums count for in the end. A subgroup does a head.
void weigh_parts(FloatArray partials, uint parts) {
  for (uint base = 0; base < kHeads; base += kSubgroups) {
    const uint h = min(base + gl_SubgroupID, kHeads - 1);
    const uint stats = kHeads * kHeadSize + 2 * h;
    float top = kNever, sum = 0.0;
    for (uint s = gl_SubgroupInvocationID; s < kMostParts; s += gl_SubgroupSize)
      top = max(top, partials.at[min(s, parts - 1) * kPartialSize + stats]);
    top = subgroupMax(top);
    for (uint s = gl_SubgroupInvocationID; s < kMostParts; s += gl_SubgroupSize) {
      const uint at = min(s, parts - 1) * kPartialSize + stats;
      sum += s < parts ? exp(partials.at[at] - top) * partials.at[at + 1] : 0.0;
    }
    sum = subgroupAdd(sum);
    for (uint s = gl_SubgroupInvocationID; s < kMostParts; s += gl_SubgroupSize) {
      const float part_top = partials.at[min(s, parts - 1) * kPartialSize + stats];
      part_weights[h * kMostParts + s] = s < parts ? exp(part_top - top) / sum : 0.0;
    }
  }
  workgroup_barrier();
}

void merge_parts(FloatArray partials, uint parts, FloatArray target) {
  const uint kTogether = 8;  // loads in flight
  weigh_parts(partials, parts);
  for (uint base = 0; base < kHeads * kHeadSize; base += kWorkgroup) {
    const uint i = min(base + gl_LocalInvocationIndex, kHeads * kHeadSize - 1);
    float total = 0.0;
    for (uint first = 0; first < parts; first += kTogether) {
      float values[kTogether];
      [[unroll]] for (uint s = 0; s < kTogether; ++s)
        values[s] = partials.at[min(first + s, parts - 1) * kPartialSize + i];
      [[unroll]] for (uint s = 0; s < kTogether; ++s)
        total += part_weights[i / kHeadSize * kMostParts + first + s] * values[s];
    }
    if (i == base + gl_LocalInvocationIndex) target.at[i] = total;
  }
}

// Where there are several parts, the last of them to arrive adds them up.
void finish(Place place) {
  const uint slot = place.row * gl_NumWorkGroups.x + gl_WorkGroupID.x;
  const uint slots = gl_NumWorkGroups.x * gl_NumWorkGroups.z;
  const uint64_t partials = p.scratch + 4 * uint64_t(slot) * gl_NumWorkGroups.y * kPartialSize;
  FloatArray target = FloatArray(p.target + 4 * (uint64_t(place.row) * p.target_stride +
                                                 place.first_head * kHeadSize));
  merge_subgroups(place, target, FloatArray(partials + 4 * gl_WorkGroupID.y * kPartialSize));
  if (place.parts == 1) return;
  workgroup_barrier();
  UintArray counter =
      UintArray(p.scratch + 4 * (uint64_t(slots) * gl_NumWorkGroups.y * kPartialSize + slot));
  if (gl_LocalInvocationIndex == 0) {
    arrived_before = count_arrival(counter);
    // For the next token.
    if (arrived_before == place.parts - 1) counter.at[0] = 0;
  }
  workgroup_barrier();
  if (arrived_before == place.parts - 1) merge_parts(FloatArray(partials), place.parts, target);
}

// Matrix times vector for decode, or times the vectors of a few rows. For one row, what comes before
// the product is done by every workgroup for itself: residual add, norm and quantisation of x to int8
// (32 per scale), then packed dot products; for more, prepare.comp has done it. Each workgroup owns a
// run of outputs; in it kLanes invocations share kColumns outputs' weights, a subgroup holds several
// such runs, and kSplits subgroups may share the length of a row.
//
// Weights are loaded one chunk ahead, the first before waiting for x: memory is busy while the
// dispatch before ends and while x is prepared. They are read once for kTogether rows of x.
// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "batch.glsl"
#include "dequant.glsl"
#include "dot.glsl"

layout(constant_id = 0) const uint kWorkgroup = 256;
layout(constant_id = 1) const uint kGroups = 32;
layout(constant_id = 2) const uint kPrologue = kPrologueCopy;
layout(constant_id = 3) const bool kPairs = false;
layout(constant_id = 4) const uint kLanes = 8;
layout(constant_id = 5) const uint kUnroll = 2;
layout(constant_id = 6) const uint kSplits = 1;
layout(constant_id = 7) const uint kQuads = 4;
layout(constant_id = 8) const uint kPartials = 1;
layout(constant_id = 9) const uint kRowKind = kRowsAll;
layout(constant_id = 10) const uint kRun = 1;
layout(constant_id = 11) const uint kLongerRuns = 0;
layout(constant_id = 12) const uint kTogether = 1;
layout(constant_id = 13) const uint kColumns = 1;
layout(constant_id = 14) const bool kStaged = true;
layout(constant_id = 15) const bool kChained = false;
layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { MatvecParams p; };

const uint kRows = kPairs ? 2 : 1;  // of weights, per output
const uint kWeights = kRows * kColumns;  // rows of them, of an invocation
const uint kMostOutputs = kPartials / (kSplits * kRows * kTogether);  // of a workgroup
const uint kChunk = kLanes * kUnroll;
const uint kChunks = (kGroups + kChunk - 1) / kChunk;
const uint kSteps = (kChunks + kSplits - 1) / kSplits;  // chunks of a unit

// An invocation's sums: for each row of weights of an output, then for each output, then for each
// row of x, padded to powers of two. Of the places of an output's first row so many are used.
const uint kUsed = kColumns * kTogether;
const uint kPlaces = kUsed <= 1   ? 1
                     : kUsed <= 2 ? 2
                     : kUsed <= 4 ? 4
                     : kUsed <= 8 ? 8
                     : kUsed <= 16 ? 16
                                   : 32;
const uint kSums = kRows * kPlaces;
const uint kSumsLeft = kSums > kLanes ? kSums / kLanes : 1;  // of an invocation, see sum_lanes()

// x as int8: elements 0-15 of each group, then elements 16-31 of each, so that neighbours read
// neighbouring 16 bytes.
const uint kStagedGroups = kStaged ? kTogether * kGroups : 1;
shared uvec4 x_quads[2 * kStagedGroups];
shared vec2 x_scales[kStagedGroups];  // scale, scale times the sum of the int8
shared float partials[kPartials];

// This invocation's parts of two chunks of its outputs' weights, and the sums.
Block blocks[kWeights * kUnroll], ahead[kWeights * kUnroll];
float sums[kSums];

uint64_t weight_row(uint output_index, uint r) {
  if (kPairs) return p.w[r] + uint64_t(output_index) * p.row_size;
  if (output_index < p.n_end[0]) return p.w[0] + uint64_t(output_index) * p.row_size;
  if (output_index < p.n_end[1])
    return p.w[1] + uint64_t(output_index - p.n_end[0]) * p.row_size;
  return p.w[2] + uint64_t(output_index - p.n_end[1]) * p.row_size;
}

uint lane() { return gl_SubgroupInvocationID % kLanes; }
uint group_of(uint chunk, uint u) { return chunk * kChunk + u * kLanes + lane(); }

// The outputs of a workgroup.
struct Run {
  uint first, count;
};

// Past the end of a row its last group is loaded again, past the end of the run its last output, and
// not used.
void load_ahead(Run run, uint local, uint chunk) {
  [[unroll]] for (uint c = 0; c < kColumns; ++c)
    [[unroll]] for (uint r = 0; r < kRows; ++r) {
      const uint64_t row = weight_row(run.first + min(local + c, run.count - 1), r);
      [[unroll]] for (uint u = 0; u < kUnroll; ++u)
        ahead[(c * kRows + r) * kUnroll + u] =
            load_block(row, min(group_of(chunk, u), kGroups - 1));
    }
}

#include "group_of_x.glsl"

// Adds a group's products to the sums of all rows, if `used`.
void add_products(uint u, uint64_t x_row, uint group, bool used) {
  [[unroll]] for (uint m = 0; m < kTogether; ++m) {
    const Group x = load_group(x_row, m, group);
    [[unroll]] for (uint c = 0; c < kColumns; ++c)
      [[unroll]] for (uint r = 0; r < kRows; ++r) {
        const float v = group_dot(blocks[(c * kRows + r) * kUnroll + u], x);
        sums[r * kPlaces + c * kTogether + m] += used ? v : 0.0;
      }
  }
}

void clear_sums() {
  [[unroll]] for (uint i = 0; i < kSums; ++i) sums[i] = 0.0;
}

// The sums over the lanes of a row of weights. At each step an invocation hands on half of its sums
// and keeps the other half, until it has one: the first kSumsLeft remain, in the first kSums lanes.
// The inner loop's bound is literal, so that every compiler unrolls it and keeps the sums in
// registers: see docs/vulkan.md for what a bound that depended on the outer loop may have cost.
void sum_lanes() {
  [[unroll]] for (uint s = 0; s < 6; ++s) {
    const uint half_sums = (kSums >> s) / 2;
    const bool high = (gl_SubgroupInvocationID >> s & 1u) != 0;
    if ((1u << s) < kLanes && half_sums == 0) sums[0] += subgroupShuffleXor(sums[0], 1u << s);
    [[unroll]] for (uint i = 0; i < 16; ++i)
      if ((1u << s) < kLanes && i < half_sums) {
        const float handed = high ? sums[i] : sums[half_sums + i];
        const float kept = high ? sums[half_sums + i] : sums[i];
        sums[i] = kept + subgroupShuffleXor(handed, 1u << s);
      }
  }
}

// Which sum is the first that sum_lanes() left here.
uint first_sum() {
  uint first = 0;
  [[unroll]] for (uint s = 0; s < 6; ++s)
    if ((1u << s) < kLanes) first += (gl_SubgroupInvocationID >> s & 1u) * ((kSums >> s) / 2);
  return first;
}

float finish(float first, float second) { return kPairs ? gelu_tanh(first) * second : first; }

uint partial_of(uint r, uint m, uint split, uint local) {
  return ((r * kTogether + m) * kSplits + split) * kMostOutputs + local;
}

// Where the workgroup's results go: its rows, and where the first of them begins.
struct Target {
  uint64_t address;
  uint rows;
};

void store(Target target, uint m, uint output_index, float v) {
  FloatArray(target.address + 4 * uint64_t(m) * p.target_stride).at[output_index] = v;
}

// Where a subgroup is in the outputs of its workgroup. A unit is the outputs it works on at a time,
// in one split.
struct Place {
  uint unit, chunk, local;
};

uint outputs_together() { return gl_SubgroupSize / kLanes * kColumns; }

Place begin_unit(uint unit) {
  return Place(unit, unit % kSplits,
               unit / kSplits * outputs_together() + gl_SubgroupInvocationID / kLanes * kColumns);
}

// As emit(), of one output and one row of x at a time, whose sums stay in all lanes.
void emit_one(Place place, bool valid, Run run, Target target) {
  [[unroll]] for (uint r = 0; r < kRows; ++r) sums[r] = add_lanes(sums[r], kLanes);
  const bool stores = valid && place.local < run.count && lane() == 0;
  if (stores && kSplits == 1) {
    store(target, 0, run.first + place.local, finish(sums[0], sums[kRows - 1]));
  } else if (stores) {
    [[unroll]] for (uint r = 0; r < kRows; ++r)
      partials[partial_of(r, 0, place.unit % kSplits, place.local)] = sums[r];
  }
}

// Sums over the lanes of a row, then stores, or leaves the sums to sum_partials().
void emit(Place place, bool valid, Run run, Target target) {
  sum_lanes();
  const bool stores = valid && lane() < kSums;
  [[unroll]] for (uint i = 0; i < kSumsLeft; ++i) {
    // The sums of a pair are one shuffle apart.
    const float other = kPairs ? subgroupShuffleXor(sums[i], 1) : 0.0;
    const uint sum = first_sum() + i;
    const uint r = sum / kPlaces, m = sum % kPlaces % kTogether;
    const uint local = place.local + sum % kPlaces / kTogether;
    const bool used = stores && sum % kPlaces < kUsed && local < run.count && m < target.rows;
    if (used && kSplits > 1)
      partials[partial_of(r, m, place.unit % kSplits, local)] = sums[i];
    else if (used && r == 0)
      store(target, m, run.first + local, finish(sums[i], other));
  }
}

void sum_partials(Run run, Target target) {
  barrier();
  // All invocations loop equally often: see attention_decode.comp.
  [[unroll]] for (uint m = 0; m < kTogether; ++m)
    for (uint base = 0; base < run.count; base += kWorkgroup) {
      const uint i = min(base + gl_LocalInvocationIndex, run.count - 1);
      float totals[kRows];
      [[unroll]] for (uint r = 0; r < kRows; ++r) {
        totals[r] = 0.0;
        for (uint s = 0; s < kSplits; ++s) totals[r] += partials[partial_of(r, m, s, i)];
      }
      if (i == base + gl_LocalInvocationIndex && m < target.rows)
        store(target, m, run.first + i, finish(totals[0], totals[kRows - 1]));
    }
}

// Grid: x over runs of outputs, y over rows.
void main() {
  // Without a division of 64 bits, for which the first loads would wait half a microsecond.
  const Run run = Run(gl_WorkGroupID.x * kRun + min(gl_WorkGroupID.x, kLongerRuns),
                      kRun + (gl_WorkGroupID.x < kLongerRuns ? 1 : 0));
  const uint units = (run.count + outputs_together() - 1) / outputs_together() * kSplits;
  Place next = begin_unit(gl_SubgroupID);
  load_ahead(run, next.local, next.chunk);
#ifndef WEIGHT_IS_FLOAT
  if (kPrologue != kPrologueReady) load_norm_weights();
#endif
  // Of no round's own making, so there is no need to wait for it.
  Batch batch = Batch(p.batch);
  const uint row = gl_WorkGroupID.y * kTogether;
  const uint rows = kRowKind == kRowsAll ? batch.rows : batch.outputs;
  const uint from = kRowKind == kRowsGathered ? batch.row[row].output_row : row;
  if (kChained) chain_wait(p.chain);

  if (row < rows) {
    const uint64_t x_row = p.x + 4 * uint64_t(from) * p.x_stride;
    const Target target = Target(p.target + 4 * uint64_t(row) * p.target_stride, rows - row);
    make_x(x_row, from);
    // Every subgroup takes as many steps, so that barriers and loops stay even.
    const uint rounds = (units + gl_NumSubgroups - 1) / gl_NumSubgroups;
    const uint steps = rounds * kSteps;
    clear_sums();
    for (uint i = 0; i < steps; ++i) {
      const Place now = next;
      [[unroll]] for (uint b = 0; b < kWeights * kUnroll; ++b) blocks[b] = ahead[b];
      next.chunk += kSplits;
      const bool ends = (i + 1) % kSteps == 0;
      if (ends) next = begin_unit(next.unit + gl_NumSubgroups);
      if (i + 1 < steps) load_ahead(run, next.local, next.chunk);
      [[unroll]] for (uint u = 0; u < kUnroll; ++u) {
        const uint group = group_of(now.chunk, u);
        add_products(u, x_row, min(group, kGroups - 1), group < kGroups);
      }
      if (ends) {
        if (kUsed == 1)
          emit_one(now, now.unit < units, run, target);
        else
          emit(now, now.unit < units, run, target);
        clear_sums();
      }
    }
    if (kSplits > 1) sum_partials(run, target);
  }
  if (kChained) chain_signal(p.chain);
}

// Matrix times vector for decode, with what comes before it done by every workgroup for itself:
// residual add, norm and quantisation of x to int8 (32 per scale), then packed dot products. Each
// workgroup owns a run of outputs; in it kLanes invocations share a row of weights, a subgroup
// holds several rows, and kSplits subgroups may share the length of a row.
//
// Weights are loaded one chunk ahead, the first before waiting for x: memory is busy while the
// dispatch before ends and while x is prepared.
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
layout(constant_id = 15) const bool kChained = false;
layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { MatvecParams p; };

const uint kRows = kPairs ? 2 : 1;  // of weights, per output
const uint kMostOutputs = kPartials / (kSplits * kRows);  // of a workgroup
const uint kChunk = kLanes * kUnroll;
const uint kChunks = (kGroups + kChunk - 1) / kChunk;
const uint kSteps = (kChunks + kSplits - 1) / kSplits;  // chunks of a unit

#ifdef WEIGHT_IS_FLOAT
const uint kStaged = 1;
#else
const uint kStaged = kGroups;
#endif
// x as int8: elements 0-15 of each group, then elements 16-31 of each, so that neighbours read
// neighbouring 16 bytes.
shared uvec4 x_quads[2 * kStaged];
shared vec2 x_scales[kStaged];  // scale, scale times the sum of the int8
shared float partials[kPartials];

// This invocation's part of a chunk of one output's weights, and the sums of its rows.
Block ahead[kRows * kUnroll];
float sums[kRows];

uint64_t weight_row(uint output_index, uint r) {
  if (kPairs) return p.w[r] + uint64_t(output_index) * p.row_size;
  if (output_index < p.n_end[0]) return p.w[0] + uint64_t(output_index) * p.row_size;
  if (output_index < p.n_end[1])
    return p.w[1] + uint64_t(output_index - p.n_end[0]) * p.row_size;
  return p.w[2] + uint64_t(output_index - p.n_end[1]) * p.row_size;
}

uint lane() { return gl_SubgroupInvocationID % kLanes; }
uint group_of(uint chunk, uint u) { return chunk * kChunk + u * kLanes + lane(); }

// Past the end of a row its last group is loaded again, and not used.
void load_ahead(uint output_index, uint chunk) {
  [[unroll]] for (uint r = 0; r < kRows; ++r) {
    const uint64_t row = weight_row(output_index, r);
    [[unroll]] for (uint u = 0; u < kUnroll; ++u)
      ahead[r * kUnroll + u] = load_block(row, min(group_of(chunk, u), kGroups - 1));
  }
}

#ifdef WEIGHT_IS_FLOAT
float group_dot(Block block, uint group, uint64_t x_row) {
  QuadArray x = QuadArray(x_row + 128 * uint64_t(group));
  const BlockScale scale = block_scale(block);
  float sum = 0.0;
  [[unroll]] for (uint i = 0; i < 4; ++i) {
    const Vec8 w = dequant8(block, scale, i);
    sum += dot(w.low, x.at[i]) + dot(w.high, x.at[4 + i]);
  }
  return sum;
}
#else
float group_dot(Block block, uint group, uint64_t x_row) {
  const uvec4 x_low = x_quads[group], x_high = x_quads[kGroups + group];
  const BlockScale scale = block_scale(block);
  int low = 0, high = 0;
  [[unroll]] for (uint i = 0; i < 4; ++i) {
    const uvec2 q = load8(block, i);
    low += dot_packed(q.x, x_low[i], 0);
    high += dot_packed(q.y, x_high[i], 0);
  }
  const vec2 x_scale = x_scales[group];
  return x_scale.x * (scale.scale.x * float(low) + scale.scale.y * float(high)) +
         x_scale.y * scale.offset;
}
#endif

#include "prepare_x.glsl"

float finish(float first, float second) { return kPairs ? gelu_tanh(first) * second : first; }

// Sums over the lanes of a row, then stores, or leaves the sum to sum_partials().
void emit(uint local, uint split, bool valid, FloatArray target, uint first) {
  [[unroll]] for (uint r = 0; r < kRows; ++r)
    sums[r] = add_lanes(sums[r], kLanes);
  const bool stores = valid && lane() == 0;
  if (stores && kSplits == 1) {
    target.at[first + local] = finish(sums[0], sums[kRows - 1]);
  } else if (stores) {
    [[unroll]] for (uint r = 0; r < kRows; ++r)
      partials[(r * kSplits + split) * kMostOutputs + local] = sums[r];
  }
}

void sum_partials(FloatArray target, uint first, uint count) {
  barrier();
  // All invocations loop equally often: see attention_decode.comp.
  for (uint base = 0; base < count; base += kWorkgroup) {
    const uint i = min(base + gl_LocalInvocationIndex, count - 1);
    [[unroll]] for (uint r = 0; r < kRows; ++r) {
      sums[r] = 0.0;
      for (uint s = 0; s < kSplits; ++s) sums[r] += partials[(r * kSplits + s) * kMostOutputs + i];
    }
    if (i == base + gl_LocalInvocationIndex)
      target.at[first + i] = finish(sums[0], sums[kRows - 1]);
  }
}

// Where a subgroup is in the outputs of its workgroup. A unit is the outputs it works on at a time,
// in one split.
struct Place {
  uint unit, chunk, local;
};

uint outputs_together() { return gl_SubgroupSize / kLanes; }

Place begin_unit(uint unit) {
  return Place(unit, unit % kSplits,
               unit / kSplits * outputs_together() + gl_SubgroupInvocationID / kLanes);
}

// Grid: x over runs of outputs, y over rows.
void main() {
  // Without a division of 64 bits, for which the first loads would wait half a microsecond.
  const uint first = gl_WorkGroupID.x * kRun + min(gl_WorkGroupID.x, kLongerRuns);
  const uint count = kRun + (gl_WorkGroupID.x < kLongerRuns ? 1 : 0);
  const uint units = (count + outputs_together() - 1) / outputs_together() * kSplits;
  Place next = begin_unit(gl_SubgroupID);
  load_ahead(first + min(next.local, count - 1), next.chunk);
#ifndef WEIGHT_IS_FLOAT
  load_norm_weights();
#endif
  // Of no round's own making, so there is no need to wait for it.
  Batch batch = Batch(p.batch);
  const uint row = gl_WorkGroupID.y;
  const bool works = row < (kRowKind == kRowsAll ? batch.rows : batch.outputs);
  const uint from = kRowKind == kRowsGathered ? batch.row[row].output_row : row;
  if (kChained) chain_wait(p.chain);

  if (works) {
    const uint64_t x_row = p.x + 4 * uint64_t(from) * p.x_stride;
    FloatArray target = FloatArray(p.target + 4 * uint64_t(row) * p.target_stride);
    prepare_x(x_row, from);
    // Every subgroup takes as many steps, so that barriers and loops stay even.
    const uint rounds = (units + gl_NumSubgroups - 1) / gl_NumSubgroups;
    const uint steps = rounds * kSteps;
    [[unroll]] for (uint r = 0; r < kRows; ++r) sums[r] = 0.0;
    for (uint i = 0; i < steps; ++i) {
      const Place now = next;
      Block blocks[kRows * kUnroll];
      [[unroll]] for (uint b = 0; b < kRows * kUnroll; ++b) blocks[b] = ahead[b];
      next.chunk += kSplits;
      const bool ends = (i + 1) % kSteps == 0;
      if (ends) next = begin_unit(next.unit + gl_NumSubgroups);
      if (i + 1 < steps) load_ahead(first + min(next.local, count - 1), next.chunk);
      [[unroll]] for (uint u = 0; u < kUnroll; ++u) {
        const uint group = group_of(now.chunk, u);
        [[unroll]] for (uint r = 0; r < kRows; ++r) {
          const float v = group_dot(blocks[r * kUnroll + u], min(group, kGroups - 1), x_row);
          sums[r] += group < kGroups ? v : 0.0;
        }
      }
      if (ends) {
        emit(now.local, now.unit % kSplits, now.unit < units && now.local < count, target, first);
        [[unroll]] for (uint r = 0; r < kRows; ++r) sums[r] = 0.0;
      }
    }
    if (kSplits > 1) sum_partials(target, first, count);
  }
  if (kChained) chain_signal(p.chain);
}

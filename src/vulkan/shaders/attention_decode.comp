// Attention of single rows: QK-norm, RoPE, the KV write and attention over one part of the past,
// merged by the workgroup that finishes last. Grid: x over KV heads (times groups of query heads),
// y over parts of the KV length, z over rows.
//
// A position's K is shared by kPositionLanes invocations (a cluster), each with kSpan elements;
// softmax is kept running per cluster: m the largest score, l the sum of exp(score - m), acc that
// of exp(score - m) v. All that does not depend on qkv is loaded before waiting for it: weights,
// angles, the first positions of the past. The new position never comes from the cache.
// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "batch.glsl"
#include "kv.glsl"
#include "turns.glsl"

layout(constant_id = 0) const uint kWorkgroup = 64;
layout(constant_id = 1) const uint kHeadSize = 256;
layout(constant_id = 3) const uint kHeads = 2;  // query heads of this workgroup
layout(constant_id = 4) const uint kMode = kModeFused;
layout(constant_id = 5) const uint kPositionLanes = 8;
layout(constant_id = 6) const uint kSubgroups = 8;
layout(constant_id = 7) const uint kLeastTiles = 1;
layout(constant_id = 8) const uint kAhead = 4;  // positions a cluster loads at a time
layout(constant_id = 15) const bool kChained = false;
layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { AttentionDecodeParams p; };

layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer Facts {
  AttentionFacts facts;
};

const uint kSpan = kHeadSize / kPositionLanes;
const uint kEights = kSpan / 8;
const uint kClusters = kWorkgroup / kPositionLanes;
const uint kTile = kAhead * kClusters;
const uint kLeastPart = kLeastTiles * kTile;
const uint kHalf = kHeadSize / 2;
const uint kPairs = (kHalf + kWorkgroup / kSubgroups - 1) / (kWorkgroup / kSubgroups);
const uint kPartialSize = kHeads * (kHeadSize + 2);
const float kNever = -3.0e38;

// In quads, since invocations read runs of eight: words so far apart would share a bank.
shared vec4 q_shared[kHeads * kHeadSize / 4];
shared vec4 k_shared[kHeadSize / 4], v_shared[kHeadSize / 4];  // of the new position
shared float norms_shared[2 * kHeadSize];               // the norms' weights, of q and of k
shared vec2 rotations[kHalf];                           // (cos, sin)
shared vec4 acc_shared[kSubgroups * kHeadSize / 4];     // of one head
shared vec2 stats_shared[kHeads * kSubgroups];          // (m, l)
shared float part_weights[kHeads * kMostParts];
shared uint arrived_before;

// All subgroups run loops equally often, and only stores are conditional: in Mesa 22's llvmpipe a
// subgroup that skips a loop or a branch with a loop in it does nothing after.

// What the workgroup works on.
struct Place {
  uint row, kv_head, first_head;
  bool first_block;  // of the query heads of this KV head
  uint position, cache_row;  // cache_row: of position 0 of the ring
  uint begin, end;           // positions of the part
  uint parts;                // that have work
};

Place find_place() {
  Facts f = Facts(p.facts);
  const BatchRow record = Batch(p.batch).row[gl_WorkGroupID.z];
  Place place;
  const uint blocks = gl_NumWorkGroups.x / f.facts.kv_heads;
  place.row = gl_WorkGroupID.z;
  place.kv_head = gl_WorkGroupID.x / blocks;
  place.first_head = gl_WorkGroupID.x * kHeads;
  place.first_block = gl_WorkGroupID.x % blocks == 0;
  place.position = record.position;
  place.cache_row = (record.sequence * f.facts.kv_heads + place.kv_head) * p.capacity;
  const uint window = f.facts.window;
  const uint first = window != 0 && place.position >= window ? place.position + 1 - window : 0;
  const uint length = place.position + 1 - first;
  // Whole tiles, since a part of one takes as long as all of it. Merging two least parts takes longer
  // than doing both.
  const uint least = gl_NumWorkGroups.y * kLeastPart;
  const uint part =
      length <= 2 * kLeastPart ? 2 * kLeastPart : (length + least - 1) / least * kLeastPart;
  place.parts = (length + part - 1) / part;
  place.begin = first + gl_WorkGroupID.y * part;
  place.end = min(place.begin + part, place.position + 1);
  return place;
}

#include "prepare_heads.glsl"

float m[kHeads], l[kHeads];
float q[kHeads * kSpan], acc[kHeads * kSpan];
Stored k_ahead[kAhead * kEights], v_ahead[kAhead * kEights];

uint lane() { return gl_SubgroupInvocationID % kPositionLanes; }
uint cluster() { return thread_index() / kPositionLanes; }

// Element e of this invocation's span, within the head.
uint element(uint e) { return e / 8 * kPositionLanes * 8 + lane() * 8 + e % 8; }

// Positions of the part that come from the cache.
uint past_end(Place place) { return has_new(place) ? place.end - 1 : place.end; }

// A tile's k or v. Past the end the last position is loaded again, and not used.
void load_tile(Place place, uint tile, uint64_t cache, uint64_t scales, bool keys) {
  const uint last = max(past_end(place), place.begin + 1) - 1;
  const uint ring_begin = place.begin % p.capacity;
  [[unroll]] for (uint i = 0; i < kAhead; ++i) {
    const uint position = min(place.begin + tile * kTile + i * kClusters + cluster(), last);
    uint ring = ring_begin + (position - place.begin);
    ring = ring >= p.capacity ? ring - p.capacity : ring;
    const uint at = place.cache_row + ring;
    [[unroll]] for (uint s = 0; s < kEights; ++s) {
      const Stored stored =
          load_stored(cache + kCacheBytes * (uint64_t(at) * p.cache_stride + element(8 * s)),
                      scales + 2 * (uint64_t(at) * p.scale_stride + element(8 * s) / 32));
      if (keys)
        k_ahead[i * kEights + s] = stored;
      else
        v_ahead[i * kEights + s] = stored;
    }
  }
}

void load_first_tile(Place place) {
  load_tile(place, 0, p.k, p.k_scale, true);
  load_tile(place, 0, p.v, p.v_scale, false);
}

// The sums of one position, the new one, for the first cluster; of none for the others.
void begin_attend(Place place) {
  const bool mine = has_new(place) && cluster() == 0;
  [[unroll]] for (uint h = 0; h < kHeads; ++h) {
    float score = 0.0;
    [[unroll]] for (uint e = 0; e < kSpan; e += 4) {
      const vec4 q4 = q_shared[(h * kHeadSize + element(e)) / 4];
      const vec4 k4 = k_shared[element(e) / 4], v4 = v_shared[element(e) / 4];
      [[unroll]] for (uint i = 0; i < 4; ++i) {
        q[h * kSpan + e + i] = q4[i];
        score += q4[i] * as_cached(k4[i]);
        acc[h * kSpan + e + i] = mine ? as_cached(v4[i]) : 0.0;
      }
    }
    score = add_lanes(score, kPositionLanes);
    m[h] = mine ? score : kNever;
    l[h] = mine ? 1.0 : 0.0;
  }
}

void attend(Place place) {
  begin_attend(place);
  const uint tiles = (past_end(place) - place.begin + kTile - 1) / kTile;
  for (uint tile = 0; tile < tiles; ++tile) {
    const uint first = place.begin + tile * kTile + cluster();
    float scores[kAhead * kHeads];
    [[unroll]] for (uint i = 0; i < kAhead * kHeads; ++i) scores[i] = 0.0;
    [[unroll]] for (uint i = 0; i < kAhead; ++i)
      [[unroll]] for (uint s = 0; s < kEights; ++s) {
        const Eight k = decode(k_ahead[i * kEights + s]);
        [[unroll]] for (uint h = 0; h < kHeads; ++h)
          [[unroll]] for (uint e = 0; e < 8; ++e)
            scores[i * kHeads + h] += q[h * kSpan + 8 * s + e] * k.at[e];
      }
    if (tile + 1 < tiles) load_tile(place, tile + 1, p.k, p.k_scale, true);
    [[unroll]] for (uint h = 0; h < kHeads; ++h) {
      float top = m[h];
      [[unroll]] for (uint i = 0; i < kAhead; ++i) {
        float score = add_lanes(scores[i * kHeads + h], kPositionLanes);
        score = first + i * kClusters < past_end(place) ? score : kNever;
        scores[i * kHeads + h] = score;
        top = max(top, score);
      }
      const float shrink = exp(m[h] - top);
      m[h] = top;
      l[h] *= shrink;
      [[unroll]] for (uint e = 0; e < kSpan; ++e) acc[h * kSpan + e] *= shrink;
      [[unroll]] for (uint i = 0; i < kAhead; ++i) {
        scores[i * kHeads + h] = exp(scores[i * kHeads + h] - top);
        l[h] += scores[i * kHeads + h];
      }
    }
    [[unroll]] for (uint i = 0; i < kAhead; ++i)
      [[unroll]] for (uint s = 0; s < kEights; ++s) {
        const Eight v = decode(v_ahead[i * kEights + s]);
        [[unroll]] for (uint h = 0; h < kHeads; ++h)
          [[unroll]] for (uint e = 0; e < 8; ++e)
            acc[h * kSpan + 8 * s + e] += scores[i * kHeads + h] * v.at[e];
      }
    if (tile + 1 < tiles) load_tile(place, tile + 1, p.v, p.v_scale, false);
  }
}

// The clusters of a subgroup become one: (m, l) in stats_shared, acc shrunk to the workgroup's top.
// Gives that top and the workgroup's l.
vec2 merge_clusters(uint h) {
  const float subgroup_top = subgroupMax(m[h]);
  const float shrink = exp(m[h] - subgroup_top);
  l[h] *= shrink;
  [[unroll]] for (uint e = 0; e < kSpan; ++e) acc[h * kSpan + e] *= shrink;
  for (uint offset = kPositionLanes; offset < gl_SubgroupSize; offset *= 2) {
    l[h] += subgroupShuffleXor(l[h], offset);
    [[unroll]] for (uint e = 0; e < kSpan; ++e)
      acc[h * kSpan + e] += subgroupShuffleXor(acc[h * kSpan + e], offset);
  }
  if (gl_SubgroupInvocationID == 0)
    stats_shared[h * kSubgroups + gl_SubgroupID] = vec2(subgroup_top, l[h]);
  barrier();
  float top = kNever, sum = 0.0;
  [[unroll]] for (uint s = 0; s < kSubgroups; ++s)
    top = max(top, stats_shared[h * kSubgroups + s].x);
  [[unroll]] for (uint s = 0; s < kSubgroups; ++s) {
    const vec2 stats = stats_shared[h * kSubgroups + s];
    sum += stats.y * exp(stats.x - top);
  }
  const float rest = exp(subgroup_top - top);
  [[unroll]] for (uint e = 0; e < kSpan; e += 4) {
    const uint at = h * kSpan + e;
    if (gl_SubgroupInvocationID < kPositionLanes)
      acc_shared[(gl_SubgroupID * kHeadSize + element(e)) / 4] =
          vec4(acc[at], acc[at + 1], acc[at + 2], acc[at + 3]) * rest;
  }
  barrier();
  return vec2(top, sum);
}

// Sums up the subgroups; the result goes to `target`, or undivided and with (m, l) to `partial`.
void merge_subgroups(Place place, FloatArray target, FloatArray partial) {
  [[unroll]] for (uint h = 0; h < kHeads; ++h) {
    const vec2 stats = merge_clusters(h);
    for (uint base = 0; base < kHeadSize; base += kWorkgroup) {
      const uint i = min(base + gl_LocalInvocationIndex, kHeadSize - 1);
      float total = 0.0;
      [[unroll]] for (uint s = 0; s < kSubgroups; ++s)
        total += acc_shared[(s * kHeadSize + i) / 4][i % 4];
      if (i == base + gl_LocalInvocationIndex) {
        if (place.parts == 1)
          target.at[h * kHeadSize + i] = total / stats.y;
        else
          partial.at[h * kHeadSize + i] = total;
      }
    }
    if (place.parts > 1 && gl_LocalInvocationIndex == 0) {
      partial.at[kHeads * kHeadSize + 2 * h] = stats.x;
      partial.at[kHeads * kHeadSize + 2 * h + 1] = stats.y;
    }
  }
}

#include "merge_parts.glsl"

void work(Place place) {
  FloatArray qkv = FloatArray(p.qkv + 4 * uint64_t(place.row) * p.qkv_stride);
  const float scale = Facts(p.facts).facts.scale;
  if (kMode == kModeWrite || kMode == kModeRotate) {
    prepare_heads(place, qkv, 1.0, place.first_block);
    write_cache(place, place.first_block);
    return;
  }
  if (kMode == kModeReady) take_q(place, qkv, scale);
  if (kMode != kModeReady) prepare_heads(place, qkv, scale, has_new(place));
  if (kMode == kModeFused) write_cache(place, has_new(place));
  attend(place);
  finish(place);
}

void main() {
  if (gl_WorkGroupID.z < Batch(p.batch).rows) {
    const Place place = find_place();
    // Parts without work count themselves at once: those with work wait for what is before.
    if (place.begin < place.end) {
      if (kMode != kModeReady) load_norms_and_rotations(place);
      if (kMode == kModeFused) load_first_tile(place);
      workgroup_barrier();
      if (kChained) chain_wait(p.chain);
      if (kMode == kModeAttend || kMode == kModeReady) load_first_tile(place);
      work(place);
    }
  }
  if (kChained) chain_signal(p.chain);
}

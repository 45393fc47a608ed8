// Attention of single rows: QK-norm, RoPE, the KV write and attention over one part of the past,
// merged by the workgroup that finishes last. Grid: x over parts of the KV length, y over KV heads
// (times groups of query heads), z over rows.
//
// A position's K is shared by kPositionLanes invocations, each with kSpan elements; softmax is
// kept running per such cluster: m the largest score, l the sum of exp(score - m), acc that of
// exp(score - m) v.
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
layout(constant_id = 15) const bool kChained = false;
layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { AttentionDecodeParams p; };

layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer Facts {
  AttentionFacts facts;
};

const uint kSpan = kHeadSize / kPositionLanes;
const uint kAhead = 4;  // positions a cluster loads at a time
const uint kPartialSize = kHeads * (kHeadSize + 2);
const float kNever = -3.0e38;

shared float q_shared[kHeads * kHeadSize];
shared float k_shared[kHeadSize];
shared float acc_shared[kHeads * kHeadSize];
shared vec2 stats_shared[kHeads * kWorkgroup / 8];  // (m, l) of each subgroup
shared uint arrived_before;

uint lane() { return gl_SubgroupInvocationID % kPositionLanes; }
uint clusters() { return kWorkgroup / kPositionLanes; }
uint cluster() { return thread_index() / kPositionLanes; }

// Loops that hold loops run equally often in all subgroups, and only stores are conditional: in
// Mesa 22's llvmpipe a subgroup that does not take a branch with a loop in it does nothing after.

// One head's norm and rotation, by one subgroup; the result times `scale` goes to q_shared or, for
// `key`, to k_shared, if `stores`.
void norm_and_rotate(FloatArray x, FloatArray weight, uint position, bool key, uint head,
                     float scale, bool stores) {
  Facts f = Facts(p.facts);
  float squares = 0.0;
  for (uint i = gl_SubgroupInvocationID; i < kHeadSize; i += gl_SubgroupSize)
    squares += x.at[i] * x.at[i];
  const float inverse_rms =
      inversesqrt(subgroupAdd(squares) / float(kHeadSize) + f.facts.epsilon);
  const uint half_size = kHeadSize / 2;
  for (uint i = gl_SubgroupInvocationID; i < half_size; i += gl_SubgroupSize) {
    const vec2 v = vec2(x.at[i] * weight.at[i], x.at[i + half_size] * weight.at[i + half_size]) *
                   inverse_rms;
    const vec2 r = cos_sin(uint64_t(position) * f.facts.turns[i]);
    const vec2 rotated = vec2(v.x * r.x - v.y * r.y, v.x * r.y + v.y * r.x) * scale;
    if (!stores) continue;
    if (kMode == kModeRotate) {
      x.at[i] = rotated.x;
      x.at[i + half_size] = rotated.y;
    }
    if (key) {
      k_shared[i] = rotated.x;
      k_shared[i + half_size] = rotated.y;
    } else {
      q_shared[head * kHeadSize + i] = rotated.x;
      q_shared[head * kHeadSize + i + half_size] = rotated.y;
    }
  }
}

// What the workgroup works on.
struct Place {
  uint row, kv_head, first_head;
  bool first_block;  // of the query heads of this KV head
  uint position, cache_row;  // cache_row: of position 0 of the ring
  uint begin, end;           // positions attended to
  uint parts;                // that have work
};

Place find_place() {
  Facts f = Facts(p.facts);
  const BatchRow record = Batch(p.batch).row[gl_WorkGroupID.z];
  Place place;
  const uint blocks = gl_NumWorkGroups.y / f.facts.kv_heads;
  place.row = gl_WorkGroupID.z;
  place.kv_head = gl_WorkGroupID.y / blocks;
  place.first_head = gl_WorkGroupID.y * kHeads;
  place.first_block = gl_WorkGroupID.y % blocks == 0;
  place.position = record.position;
  place.cache_row = (record.sequence * f.facts.kv_heads + place.kv_head) * p.capacity;
  const uint window = f.facts.window;
  const uint first = window != 0 && place.position >= window ? place.position + 1 - window : 0;
  const uint length = place.position + 1 - first;
  const uint part = max(kSplitPositions, (length + gl_NumWorkGroups.x - 1) / gl_NumWorkGroups.x);
  place.parts = (length + part - 1) / part;
  place.begin = first + gl_WorkGroupID.x * part;
  place.end = min(place.begin + part, place.position + 1);
  return place;
}

// The query heads go to q_shared and, if `with_key`, the key to k_shared: a subgroup each.
void prepare_heads(Place place, FloatArray qkv, float scale, bool with_key) {
  Facts f = Facts(p.facts);
  for (uint base = 0; base <= kHeads; base += gl_NumSubgroups) {
    const uint item = min(base + gl_SubgroupID, kHeads);
    const bool key = item == kHeads;
    const uint head = key ? f.facts.heads + place.kv_head : place.first_head + item;
    norm_and_rotate(FloatArray(uint64_t(qkv) + 4 * head * kHeadSize),
                    FloatArray(key ? p.k_norm : p.q_norm), place.position, key, item,
                    key ? 1.0 : scale,
                    base + gl_SubgroupID == item && (!key || with_key));
  }
  workgroup_barrier();
}

// The new k, from k_shared, and v go to the cache. Every workgroup that reads them writes them
// itself: the values are the same, and no other workgroup need be awaited.
void write_cache(Place place, FloatArray qkv, bool writes) {
  Facts f = Facts(p.facts);
  const uint v_head = f.facts.heads + f.facts.kv_heads + place.kv_head;
  FloatArray v = FloatArray(uint64_t(qkv) + 4 * v_head * kHeadSize);
  const uint64_t cache_row = place.cache_row + place.position % p.capacity;
  const uint64_t k_row = p.k + kCacheBytes * (cache_row * p.cache_stride);
  const uint64_t v_row = p.v + kCacheBytes * (cache_row * p.cache_stride);
  if (kCache == kCacheQ8) {
    const uint groups = writes ? kHeadSize / 32 : 0;
    for (uint i = gl_LocalInvocationIndex; i < groups; i += kWorkgroup) {
      const uint64_t scale = 2 * (cache_row * p.scale_stride + i);
      float values[32];
      [[unroll]] for (uint j = 0; j < 32; ++j) values[j] = k_shared[32 * i + j];
      store_group(k_row + 32 * i, p.k_scale + scale, values);
      [[unroll]] for (uint j = 0; j < 32; ++j) values[j] = v.at[32 * i + j];
      store_group(v_row + 32 * i, p.v_scale + scale, values);
    }
  } else {
    const uint pairs = writes ? kHeadSize / 2 : 0;
    for (uint i = gl_LocalInvocationIndex; i < pairs; i += kWorkgroup) {
      store_pair(k_row, i, vec2(k_shared[2 * i], k_shared[2 * i + 1]));
      store_pair(v_row, i, vec2(v.at[2 * i], v.at[2 * i + 1]));
    }
  }
  workgroup_barrier();
}

// Query heads that are ready, to q_shared.
void take_q(Place place, FloatArray qkv, float scale) {
  FloatArray q = FloatArray(uint64_t(qkv) + 4 * place.first_head * kHeadSize);
  for (uint i = gl_LocalInvocationIndex; i < kHeads * kHeadSize; i += kWorkgroup)
    q_shared[i] = q.at[i] * scale;
  barrier();
}

float m[kHeads], l[kHeads];
float q[kHeads * kSpan], acc[kHeads * kSpan];

// Element e of this invocation's span, within the head.
uint element(uint e) { return e / 8 * kPositionLanes * 8 + lane() * 8 + e % 8; }

void attend(Place place) {
  [[unroll]] for (uint h = 0; h < kHeads; ++h) {
    m[h] = kNever;
    l[h] = 0.0;
    [[unroll]] for (uint e = 0; e < kSpan; ++e) {
      q[h * kSpan + e] = q_shared[h * kHeadSize + element(e)];
      acc[h * kSpan + e] = 0.0;
    }
  }
  const uint ring_begin = place.begin % p.capacity;
  for (uint base = place.begin + cluster(); base < place.end; base += kAhead * clusters()) {
    uint64_t at[kAhead];
    [[unroll]] for (uint i = 0; i < kAhead; ++i) {
      const uint position = min(base + i * clusters(), place.end - 1);
      uint ring = ring_begin + (position - place.begin);
      ring = ring >= p.capacity ? ring - p.capacity : ring;
      at[i] = place.cache_row + ring;
    }
    float scores[kAhead * kHeads];
    [[unroll]] for (uint i = 0; i < kAhead * kHeads; ++i) scores[i] = 0.0;
    [[unroll]] for (uint s = 0; s < kSpan / 8; ++s)
      [[unroll]] for (uint i = 0; i < kAhead; ++i) {
        const Eight k = load_eight(p.k + kCacheBytes * (at[i] * p.cache_stride + element(8 * s)),
                                   p.k_scale + 2 * (at[i] * p.scale_stride + element(8 * s) / 32));
        [[unroll]] for (uint h = 0; h < kHeads; ++h)
          [[unroll]] for (uint e = 0; e < 8; ++e)
            scores[i * kHeads + h] += q[h * kSpan + 8 * s + e] * k.at[e];
      }
    [[unroll]] for (uint h = 0; h < kHeads; ++h) {
      float top = m[h];
      [[unroll]] for (uint i = 0; i < kAhead; ++i) {
        float score = add_lanes(scores[i * kHeads + h], kPositionLanes);
        score = base + i * clusters() < place.end ? score : kNever;
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
    [[unroll]] for (uint s = 0; s < kSpan / 8; ++s)
      [[unroll]] for (uint i = 0; i < kAhead; ++i) {
        const Eight v = load_eight(p.v + kCacheBytes * (at[i] * p.cache_stride + element(8 * s)),
                                   p.v_scale + 2 * (at[i] * p.scale_stride + element(8 * s) / 32));
        [[unroll]] for (uint h = 0; h < kHeads; ++h)
          [[unroll]] for (uint e = 0; e < 8; ++e)
            acc[h * kSpan + 8 * s + e] += scores[i * kHeads + h] * v.at[e];
      }
  }
}

// The clusters' sums become the workgroup's: acc_shared, and (m, l) in stats_shared[h].
void merge_clusters() {
  [[unroll]] for (uint h = 0; h < kHeads; ++h) {
    const float top = subgroupMax(m[h]);
    const float shrink = exp(m[h] - top);
    l[h] *= shrink;
    [[unroll]] for (uint e = 0; e < kSpan; ++e) acc[h * kSpan + e] *= shrink;
    for (uint offset = kPositionLanes; offset < gl_SubgroupSize; offset *= 2) {
      l[h] += subgroupShuffleXor(l[h], offset);
      [[unroll]] for (uint e = 0; e < kSpan; ++e)
        acc[h * kSpan + e] += subgroupShuffleXor(acc[h * kSpan + e], offset);
    }
    m[h] = top;
    if (gl_SubgroupInvocationID == 0) stats_shared[h * gl_NumSubgroups + gl_SubgroupID] = vec2(m[h], l[h]);
  }
  barrier();
  float top[kHeads], sum[kHeads];
  [[unroll]] for (uint h = 0; h < kHeads; ++h) {
    top[h] = kNever;
    for (uint s = 0; s < gl_NumSubgroups; ++s)
      top[h] = max(top[h], stats_shared[h * gl_NumSubgroups + s].x);
    sum[h] = 0.0;
    for (uint s = 0; s < gl_NumSubgroups; ++s) {
      const vec2 stats = stats_shared[h * gl_NumSubgroups + s];
      sum[h] += stats.y * exp(stats.x - top[h]);
    }
  }
  for (uint s = 0; s < gl_NumSubgroups; ++s) {
    if (gl_SubgroupID == s && gl_SubgroupInvocationID < kPositionLanes)
      [[unroll]] for (uint h = 0; h < kHeads; ++h)
        [[unroll]] for (uint e = 0; e < kSpan; ++e) {
          const uint at = h * kHeadSize + element(e);
          const float part = acc[h * kSpan + e] * exp(m[h] - top[h]);
          acc_shared[at] = s == 0 ? part : acc_shared[at] + part;
        }
    barrier();
  }
  if (gl_LocalInvocationIndex == 0)
    [[unroll]] for (uint h = 0; h < kHeads; ++h) stats_shared[h] = vec2(top[h], sum[h]);
  barrier();
}

void store_partial(FloatArray partial) {
  for (uint i = gl_LocalInvocationIndex; i < kHeads * kHeadSize; i += kWorkgroup)
    partial.at[i] = acc_shared[i];
  if (gl_LocalInvocationIndex < kHeads) {
    const vec2 stats = stats_shared[gl_LocalInvocationIndex];
    partial.at[kHeads * kHeadSize + 2 * gl_LocalInvocationIndex] = stats.x;
    partial.at[kHeads * kHeadSize + 2 * gl_LocalInvocationIndex + 1] = stats.y;
  }
}

void merge_parts(FloatArray partials, uint parts, FloatArray target) {
  for (uint base = 0; base < kHeads * kHeadSize; base += kWorkgroup) {
    const uint i = min(base + gl_LocalInvocationIndex, kHeads * kHeadSize - 1);
    const uint stats = kHeads * kHeadSize + 2 * (i / kHeadSize);
    float top = kNever;
    for (uint s = 0; s < parts; ++s) top = max(top, partials.at[s * kPartialSize + stats]);
    float sum = 0.0, total = 0.0;
    for (uint s = 0; s < parts; ++s) {
      const float weight = exp(partials.at[s * kPartialSize + stats] - top);
      sum += weight * partials.at[s * kPartialSize + stats + 1];
      total += weight * partials.at[s * kPartialSize + i];
    }
    if (i == base + gl_LocalInvocationIndex) target.at[i] = total / sum;
  }
}

// The last of the parts to arrive adds them all up.
void finish(Place place) {
  FloatArray target = FloatArray(p.target + 4 * (uint64_t(place.row) * p.target_stride +
                                                 place.first_head * kHeadSize));
  if (place.parts == 1) {
    for (uint i = gl_LocalInvocationIndex; i < kHeads * kHeadSize; i += kWorkgroup)
      target.at[i] = acc_shared[i] / stats_shared[i / kHeadSize].y;
    return;
  }
  const uint slot = place.row * gl_NumWorkGroups.y + gl_WorkGroupID.y;
  const uint slots = gl_NumWorkGroups.y * gl_NumWorkGroups.z;
  const uint64_t partials =
      p.scratch + 4 * uint64_t(slot) * gl_NumWorkGroups.x * kPartialSize;
  store_partial(FloatArray(partials + 4 * gl_WorkGroupID.x * kPartialSize));
  workgroup_barrier();
  UintArray counter =
      UintArray(p.scratch + 4 * (uint64_t(slots) * gl_NumWorkGroups.x * kPartialSize + slot));
  if (gl_LocalInvocationIndex == 0) {
    arrived_before = count_arrival(counter);
    // For the next token.
    if (arrived_before == place.parts - 1) counter.at[0] = 0;
  }
  workgroup_barrier();
  if (arrived_before == place.parts - 1) merge_parts(FloatArray(partials), place.parts, target);
}

void work() {
  if (gl_WorkGroupID.z >= Batch(p.batch).rows) return;
  const Place place = find_place();
  FloatArray qkv = FloatArray(p.qkv + 4 * uint64_t(place.row) * p.qkv_stride);
  if (kMode == kModeWrite || kMode == kModeRotate) {
    prepare_heads(place, qkv, 1.0, place.first_block);
    write_cache(place, qkv, place.first_block);
    return;
  }
  if (place.begin >= place.end) return;
  const float scale = Facts(p.facts).facts.scale;
  if (kMode == kModeReady) take_q(place, qkv, scale);
  const bool writes = kMode == kModeFused && place.end == place.position + 1;
  if (kMode != kModeReady) prepare_heads(place, qkv, scale, writes);
  if (kMode == kModeFused) write_cache(place, qkv, writes);
  attend(place);
  merge_clusters();
  finish(place);
}

void main() {
  if (kChained) chain_wait(p.chain);
  work();
  if (kChained) chain_signal(p.chain);
}

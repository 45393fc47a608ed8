// Attention of many rows: for each KV head a workgroup takes 32 queries (consecutive rows times the
// query heads that share the KV head) and walks over the positions that any of them attends to, 32
// or 16 at a time, with running softmax. Grid: x over tiles of rows, y over KV heads.
//
// Rows of a tile may belong to any sequences: each run of rows of one sequence walks over that
// sequence's positions, while the others' scores are masked. Tiles come in reverse, since later
// rows have longer pasts.
// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_GOOGLE_include_directive : require
#define BARRIERS_ONLY
#include "common.glsl"
#include "batch.glsl"
#include "kv.glsl"
#include "prefill_params.h"
#include "turns.glsl"

layout(constant_id = 1) const uint kHeadSize = 256;
layout(constant_id = 3) const uint kGroup = 2;
layout(constant_id = 4) const uint kMode = kModeAttend;
layout(local_size_x = 128) in;
layout(push_constant, scalar) uniform Push { AttentionParams p; };

layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer Facts {
  AttentionFacts facts;
};

const uint kWorkgroup = 128;
const uint kQueries = 32;
const uint kPositions = kHeadSize > 128 ? 16 : 32;  // shared memory of 32 KiB must do
const uint kLanePositions = kPositions / 16;
const uint kRows = kQueries / kGroup;
const uint kEights = kHeadSize / 8;
const uint kPaddedRow = kEights + 1;
const uint kOutputs = kHeadSize / 32;  // pairs of output elements of an invocation
const float kNever = -3.0e38;
const uint kNoRow = 0xffffffffu;

shared uvec4 q_tile[kQueries * kPaddedRow];    // f16
shared uvec4 kv_tile[kPositions * kPaddedRow];  // f16; k, then v
shared float scores[kQueries * (kPositions + 1)];
shared vec2 softmax_shared[kQueries];  // what the sums shrink by; then the sum of weights
shared uint sequences[kRows];          // kNoRow past the last row
shared uint positions[kRows];

uint first_row() { return (gl_NumWorkGroups.x - 1 - gl_WorkGroupID.x) * kRows; }

uvec4 pack_eight(Eight v) {
  return uvec4(packHalf2x16(vec2(v.at[0], v.at[1])), packHalf2x16(vec2(v.at[2], v.at[3])),
               packHalf2x16(vec2(v.at[4], v.at[5])), packHalf2x16(vec2(v.at[6], v.at[7])));
}

void load_records(uint rows) {
  const uint t = thread_index();
  if (t < kRows) {
    const bool inside = first_row() + t < rows;
    const BatchRow record = Batch(p.batch).row[inside ? first_row() + t : 0];
    sequences[t] = inside ? record.sequence : kNoRow;
    positions[t] = record.position;
  }
}

void store_quad(uint query, uint element, vec4 v) {
  const uint at = query * kPaddedRow + element / 8;
  q_tile[at][element % 8 / 2] = packHalf2x16(v.xy);
  q_tile[at][element % 8 / 2 + 1] = packHalf2x16(v.zw);
}

// Four invocations per query: norm, rotation of elements i and i + half, the attention's scale.
void load_query(uint rows) {
  Facts f = Facts(p.facts);
  const uint half_size = kHeadSize / 2;
  const uint query = thread_index() / 4;
  const uint first = thread_index() % 4 * 4;
  const uint row = min(query / kGroup, kRows - 1);
  const uint head = gl_WorkGroupID.y * kGroup + query % kGroup;
  const uint64_t source =
      p.qkv + 4 * (uint64_t(min(first_row() + row, rows - 1)) * p.qkv_stride + head * kHeadSize);
  QuadArray low = QuadArray(source), high = QuadArray(source + 4 * half_size);
  float squares = 0.0;
  [[unroll]] for (uint i = first; i < half_size; i += 16)
    squares += dot(low.at[i / 4], low.at[i / 4]) + dot(high.at[i / 4], high.at[i / 4]);
  squares += subgroupShuffleXor(squares, 1);
  squares += subgroupShuffleXor(squares, 2);
  const float inverse_rms = inversesqrt(squares / float(kHeadSize) + f.facts.epsilon);
  QuadArray weight = QuadArray(p.q_norm);
  for (uint i = first; i < half_size; i += 16) {
    vec4 x = low.at[i / 4], y = high.at[i / 4];
    if (kMode != kModeReady) {
      x *= inverse_rms * weight.at[i / 4];
      y *= inverse_rms * weight.at[(half_size + i) / 4];
      vec4 c, s;
      [[unroll]] for (uint j = 0; j < 4; ++j) {
        const vec2 r = cos_sin(uint64_t(positions[row]) * f.facts.turns[i + j]);
        c[j] = r.x;
        s[j] = r.y;
      }
      const vec4 rotated = x * c - y * s;
      y = x * s + y * c;
      x = rotated;
    }
    store_quad(query, i, x * f.facts.scale);
    store_quad(query, half_size + i, y * f.facts.scale);
  }
}

// Rows [first, last) of the tile are of one sequence and attend to positions [begin, end).
struct Run {
  uint first, last;
  uint begin, end;
  uint cache_row;  // of position 0 of the ring
};

Run find_run(uint first) {
  Facts f = Facts(p.facts);
  Run run;
  run.first = first;
  run.begin = kNoRow;
  run.end = 0;
  uint row = first;
  for (; row < kRows && sequences[row] == sequences[first]; ++row) {
    const uint window = f.facts.window, position = positions[row];
    const uint begin = window != 0 && position >= window ? position + 1 - window : 0;
    run.begin = min(run.begin, begin);
    run.end = max(run.end, position + 1);
  }
  run.last = row;
  run.cache_row = (sequences[first] * f.facts.kv_heads + gl_WorkGroupID.y) * p.capacity;
  return run;
}

void load_positions(Run run, uint base, uint64_t cache, uint64_t scales) {
  for (uint i = thread_index(); i < kPositions * kEights; i += kWorkgroup) {
    const uint position = min(base + i / kEights, run.end - 1);
    const uint64_t cache_row = run.cache_row + position % p.capacity;
    const uint element = i % kEights * 8;
    const Eight v = load_eight(cache + kCacheBytes * (cache_row * p.cache_stride + element),
                               scales + 2 * (cache_row * p.scale_stride + element / 32));
    kv_tile[i / kEights * kPaddedRow + i % kEights] = pack_eight(v);
  }
}

// Of four queries by positions lane, lane + 16, over 16 invocations.
void compute_scores(Run run, uint base) {
  const uint query = thread_index() / 16 * 4;
  const uint lane = thread_index() % 16;
  float sums[4][kLanePositions];
  [[unroll]] for (uint a = 0; a < 4; ++a)
    [[unroll]] for (uint b = 0; b < kLanePositions; ++b) sums[a][b] = 0.0;
  for (uint e = 0; e < kEights; ++e) {
    uvec4 k[kLanePositions];
    [[unroll]] for (uint b = 0; b < kLanePositions; ++b) k[b] = kv_tile[(lane + 16 * b) * kPaddedRow + e];
    [[unroll]] for (uint a = 0; a < 4; ++a) {
      const uvec4 q = q_tile[(query + a) * kPaddedRow + e];
      [[unroll]] for (uint b = 0; b < kLanePositions; ++b)
        [[unroll]] for (uint i = 0; i < 4; ++i) {
          const vec2 x = unpackHalf2x16(q[i]), y = unpackHalf2x16(k[b][i]);
          sums[a][b] = fma(x.y, y.y, fma(x.x, y.x, sums[a][b]));
        }
    }
  }
  const uint window = Facts(p.facts).facts.window;
  [[unroll]] for (uint a = 0; a < 4; ++a) {
    const uint row = (query + a) / kGroup;
    const bool inside = row >= run.first && row < run.last;
    const uint newest = positions[min(row, kRows - 1)];
    [[unroll]] for (uint b = 0; b < kLanePositions; ++b) {
      const uint position = base + lane + 16 * b;
      const bool seen = inside && position <= newest && (window == 0 || position + window > newest);
      scores[(query + a) * (kPositions + 1) + lane + 16 * b] = seen ? sums[a][b] : kNever;
    }
  }
}

// Four invocations per query turn scores into weights; `top` and `sum` are of that query.
void weigh_scores(inout float top, inout float sum) {
  const uint at = thread_index() / 4 * (kPositions + 1) + thread_index() % 4;
  float new_top = top;
  [[unroll]] for (uint i = 0; i < kPositions; i += 4) new_top = max(new_top, scores[at + i]);
  new_top = max(new_top, subgroupShuffleXor(new_top, 1));
  new_top = max(new_top, subgroupShuffleXor(new_top, 2));
  const float shrink = exp(top - new_top);
  float added = 0.0;
  [[unroll]] for (uint i = 0; i < kPositions; i += 4) {
    // A query outside the run keeps top = kNever, for which the difference would be 0.
    const float weight = scores[at + i] == kNever ? 0.0 : exp(scores[at + i] - new_top);
    scores[at + i] = weight;
    added += weight;
  }
  added += subgroupShuffleXor(added, 1);
  added += subgroupShuffleXor(added, 2);
  top = new_top;
  sum = sum * shrink + added;
  if (thread_index() % 4 == 0) softmax_shared[thread_index() / 4] = vec2(shrink, sum);
}

// Four queries by the pairs of elements lane, lane + 16, ..., over 16 invocations.
vec2 outputs[4 * kOutputs];

void add_values() {
  const uint query = thread_index() / 16 * 4;
  const uint lane = thread_index() % 16;
  [[unroll]] for (uint a = 0; a < 4; ++a) {
    const float shrink = softmax_shared[query + a].x;
    [[unroll]] for (uint i = 0; i < kOutputs; ++i) outputs[a * kOutputs + i] *= shrink;
  }
  for (uint position = 0; position < kPositions; ++position) {
    float weights[4];
    [[unroll]] for (uint a = 0; a < 4; ++a)
      weights[a] = scores[(query + a) * (kPositions + 1) + position];
    [[unroll]] for (uint i = 0; i < kOutputs; ++i) {
      const uint pair = lane + 16 * i;
      const vec2 v = unpackHalf2x16(kv_tile[position * kPaddedRow + pair / 4][pair % 4]);
      [[unroll]] for (uint a = 0; a < 4; ++a)
        outputs[a * kOutputs + i] = fma(vec2(weights[a]), v, outputs[a * kOutputs + i]);
    }
  }
}

void store_outputs(uint rows) {
  const uint query = thread_index() / 16 * 4;
  const uint lane = thread_index() % 16;
  [[unroll]] for (uint a = 0; a < 4; ++a) {
    const uint row = first_row() + (query + a) / kGroup;
    if ((query + a) / kGroup < kRows && row < rows) {
      const uint head = gl_WorkGroupID.y * kGroup + (query + a) % kGroup;
      const float inverse = 1.0 / softmax_shared[query + a].y;
      FloatArray target =
          FloatArray(p.target + 4 * (uint64_t(row) * p.target_stride + head * kHeadSize));
      [[unroll]] for (uint i = 0; i < kOutputs; ++i) {
        target.at[2 * (lane + 16 * i)] = outputs[a * kOutputs + i].x * inverse;
        target.at[2 * (lane + 16 * i) + 1] = outputs[a * kOutputs + i].y * inverse;
      }
    }
  }
}

void main() {
  const uint rows = Batch(p.batch).rows;
  if (first_row() >= rows) return;
  load_records(rows);
  barrier();
  load_query(rows);
  [[unroll]] for (uint i = 0; i < 4 * kOutputs; ++i) outputs[i] = vec2(0.0);
  float top = kNever, sum = 0.0;
  barrier();
  for (uint first = 0; first < kRows && sequences[first] != kNoRow;) {
    const Run run = find_run(first);
    for (uint base = run.begin; base < run.end; base += kPositions) {
      barrier();
      load_positions(run, base, p.k, p.k_scale);
      barrier();
      compute_scores(run, base);
      barrier();
      load_positions(run, base, p.v, p.v_scale);
      weigh_scores(top, sum);
      barrier();
      add_values();
    }
    first = run.last;
  }
  store_outputs(rows);
}

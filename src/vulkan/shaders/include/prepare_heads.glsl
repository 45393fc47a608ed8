// The beginning of attention_decode.comp: QK-norm and RoPE, and the write of the new k and v.
// SPDX-License-Identifier: Apache-2.0

// Whether the new position is of this part, and comes from shared memory.
bool has_new(Place place) { return kMode == kModeFused && place.end == place.position + 1; }

void load_norms_and_rotations(Place place) {
  Facts f = Facts(p.facts);
  for (uint base = 0; base < kHeadSize; base += kWorkgroup) {
    const uint i = min(base + gl_LocalInvocationIndex, kHeadSize - 1);
    norms_shared[i] = FloatArray(p.q_norm).at[i];
    norms_shared[kHeadSize + i] = FloatArray(p.k_norm).at[i];
  }
  for (uint base = 0; base < kHalf; base += kWorkgroup) {
    const uint i = min(base + gl_LocalInvocationIndex, kHalf - 1);
    rotations[i] = cos_sin(uint64_t(place.position) * f.facts.turns[i]);
  }
}

// One head's norm and rotation, by one subgroup; the result times `scale` goes to q_shared or, for
// `key`, to k_shared, if `stores`.
void norm_and_rotate(FloatArray x, bool key, uint head, float scale, bool stores) {
  vec2 v[kPairs];
  float squares = 0.0;
  [[unroll]] for (uint j = 0; j < kPairs; ++j) {
    const uint i = gl_SubgroupInvocationID + j * gl_SubgroupSize;
    v[j] = i < kHalf ? vec2(x.at[min(i, kHalf - 1)], x.at[min(i, kHalf - 1) + kHalf]) : vec2(0.0);
    squares += dot(v[j], v[j]);
  }
  const float inverse_rms =
      inversesqrt(subgroupAdd(squares) / float(kHeadSize) + Facts(p.facts).facts.epsilon);
  const uint norm = key ? kHeadSize : 0;
  [[unroll]] for (uint j = 0; j < kPairs; ++j) {
    const uint at = gl_SubgroupInvocationID + j * gl_SubgroupSize, i = min(at, kHalf - 1);
    const vec2 w = v[j] * inverse_rms * vec2(norms_shared[norm + i], norms_shared[norm + kHalf + i]);
    const vec2 r = rotations[i];
    const vec2 rotated = vec2(w.x * r.x - w.y * r.y, w.x * r.y + w.y * r.x) * scale;
    if (stores && at < kHalf) {
      if (kMode == kModeRotate) {
        x.at[i] = rotated.x;
        x.at[kHalf + i] = rotated.y;
      }
      if (key) {
        k_shared[i / 4][i % 4] = rotated.x;
        k_shared[(kHalf + i) / 4][i % 4] = rotated.y;
      } else {
        q_shared[(head * kHeadSize + i) / 4][i % 4] = rotated.x;
        q_shared[(head * kHeadSize + kHalf + i) / 4][i % 4] = rotated.y;
      }
    }
  }
}

// Elements of a head that an invocation copies; past the end the last one again.
const uint kValues = (kHeadSize + kWorkgroup - 1) / kWorkgroup;
uint value_of(uint j) { return min(gl_LocalInvocationIndex + j * kWorkgroup, kHeadSize - 1); }

// The query heads go to q_shared and, if `with_key`, the key to k_shared, a subgroup each; the value
// to v_shared.
void prepare_heads(Place place, FloatArray qkv, float scale, bool with_key) {
  Facts f = Facts(p.facts);
  FloatArray v = FloatArray(
      uint64_t(qkv) + 4 * (f.facts.heads + f.facts.kv_heads + place.kv_head) * kHeadSize);
  // Loaded first and stored last, so that nothing waits for it.
  float values[kValues];
  [[unroll]] for (uint j = 0; j < kValues; ++j) values[j] = v.at[value_of(j)];
  for (uint base = 0; base <= kHeads; base += kSubgroups) {
    const uint item = min(base + gl_SubgroupID, kHeads);
    const bool key = item == kHeads;
    const uint head = key ? f.facts.heads + place.kv_head : place.first_head + item;
    norm_and_rotate(FloatArray(uint64_t(qkv) + 4 * head * kHeadSize), key, item,
                    key ? 1.0 : scale, base + gl_SubgroupID == item && (!key || with_key));
  }
  [[unroll]] for (uint j = 0; j < kValues; ++j)
    v_shared[value_of(j) / 4][value_of(j) % 4] = values[j];
  workgroup_barrier();
}

// Elements 2i and 2i+1, of their quad.
vec2 pair_of(vec4 quad, uint i) { return i % 2 == 0 ? quad.xy : quad.zw; }

// The new k and v, from shared memory, go to the cache if `writes`, and to shared memory as a reader
// of the cache gets them.
void write_cache(Place place, bool writes) {
  const uint64_t cache_row = place.cache_row + place.position % p.capacity;
  const uint64_t k_row = p.k + kCacheBytes * (cache_row * p.cache_stride);
  const uint64_t v_row = p.v + kCacheBytes * (cache_row * p.cache_stride);
  if (kCache == kCacheQ8) {
    // Each invocation has one element of k and of v, a group has 32.
    for (uint base = 0; base < kHeadSize; base += kWorkgroup) {
      const uint i = min(base + gl_LocalInvocationIndex, kHeadSize - 1);
      const uint first = i & ~31u;
      float k_largest = 0.0, v_largest = 0.0;
      [[unroll]] for (uint j = 0; j < 32; ++j) {
        k_largest = max(k_largest, abs(k_shared[first / 4 + j / 4][j % 4]));
        v_largest = max(v_largest, abs(v_shared[first / 4 + j / 4][j % 4]));
      }
      const Quantised k = quantise(k_shared[i / 4][i % 4], k_largest);
      const Quantised v = quantise(v_shared[i / 4][i % 4], v_largest);
      barrier();
      if (i == base + gl_LocalInvocationIndex) {
        k_shared[i / 4][i % 4] = k.value;
        v_shared[i / 4][i % 4] = v.value;
        if (writes) {
          Byte(k_row + i).value = int8_t(k.q);
          Byte(v_row + i).value = int8_t(v.q);
          if (i == first) {
            const uint64_t scale = 2 * (cache_row * p.scale_stride + i / 32);
            Half(p.k_scale + scale).value = uint16_t(k.scale);
            Half(p.v_scale + scale).value = uint16_t(v.scale);
          }
        }
      }
    }
    workgroup_barrier();
    return;
  }
  for (uint base = 0; base < kHalf; base += kWorkgroup) {
    const uint i = min(base + gl_LocalInvocationIndex, kHalf - 1);
    if (writes && i == base + gl_LocalInvocationIndex) {
      store_pair(k_row, i, pair_of(k_shared[i / 2], i));
      store_pair(v_row, i, pair_of(v_shared[i / 2], i));
    }
  }
}

// A value of the new position as a reader of the cache gets it.
float as_cached(float v) {
  return kCache == kCacheF16 ? unpackHalf2x16(packHalf2x16(vec2(v, 0.0))).x : v;
}

// Query heads that are ready, to q_shared.
void take_q(Place place, FloatArray qkv, float scale) {
  FloatArray q = FloatArray(uint64_t(qkv) + 4 * place.first_head * kHeadSize);
  for (uint base = 0; base < kHeads * kHeadSize; base += kWorkgroup) {
    const uint i = min(base + gl_LocalInvocationIndex, kHeads * kHeadSize - 1);
    q_shared[i / 4][i % 4] = q.at[i] * scale;
  }
  workgroup_barrier();
}

// Softmax-weighted sums of values, by blocks of keys that are widened to float once for all
// queries of the call. Included once per instruction set, inside its namespace.
// SPDX-License-Identifier: Apache-2.0

// Keys of a block: with head_dim 256 they fill two thirds of a 48 KiB first-level cache.
constexpr uint32_t kKeyBlock = 32;

size_t attention_scratch(uint32_t heads, uint32_t head_dim) {
  return size_t{kKeyBlock} * head_dim + size_t{kAttentionRows} * heads * kKeyBlock;
}

// Elements of one position as floats.
TANDEM_INLINE void widen_row(float* out, const AttentionCall& call, const KvPlane& plane,
                             uint32_t row) {
  const uint8_t* data = static_cast<const uint8_t*>(plane.data) + row * plane.stride;
  if (call.kind == KvKind::kF32) {
    const float* in = reinterpret_cast<const float*>(data);
    for (uint32_t i = 0; i < call.head_dim; i += kLanes) store(out + i, load(in + i));
  } else if (call.kind == KvKind::kF16) {
    const uint16_t* in = reinterpret_cast<const uint16_t*>(data);
    for (uint32_t i = 0; i < call.head_dim; i += kLanes) store(out + i, load_f16(in + i));
  } else {
    const int8_t* in = reinterpret_cast<const int8_t*>(data);
    const uint16_t* scales = reinterpret_cast<const uint16_t*>(
        reinterpret_cast<const uint8_t*>(plane.scales) + row * plane.scale_stride);
    for (uint32_t i = 0; i < call.head_dim; i += kLanes)
      store(out + i, mul(load_i8(in + i), broadcast(from_f16(scales[i / kBlock]))));
  }
}

// Positions [key, key + kKeyBlock) of a plane; zero where they are outside the call's keys, so that
// a weight of zero times what lies there is zero.
inline void widen_block(float* out, const AttentionCall& call, const KvPlane& plane, uint32_t key) {
  uint32_t row = key % call.capacity;
  for (uint32_t k = 0; k < kKeyBlock; ++k, out += call.head_dim) {
    if (key + k >= call.first_key && key + k < call.last_key) {
      widen_row(out, call, plane, row);
    } else {
      for (uint32_t i = 0; i < call.head_dim; i += kLanes) store(out + i, zero());
    }
    if (++row == call.capacity) row = 0;
  }
}

TANDEM_INLINE const float* query_at(const AttentionCall& call, uint32_t index) {
  return call.queries + index / call.heads * call.query_stride +
         size_t{index % call.heads} * call.head_dim;
}
TANDEM_INLINE float* state_at(const AttentionCall& call, uint32_t index) {
  return call.states + index * attention_state_size(call.head_dim);
}

// scores[q, k] = query . key for kQueries queries and the block's keys.
template <uint32_t kQueries>
void score_queries(const AttentionCall& call, const float* keys, uint32_t first, float* scores) {
  const float* queries[kQueries];
  TANDEM_UNROLL
  for (uint32_t q = 0; q < kQueries; ++q) queries[q] = query_at(call, first + q);
  for (uint32_t k = 0; k < kKeyBlock; k += 4) {
    VF sums[kQueries][4];
    TANDEM_UNROLL
    for (uint32_t q = 0; q < kQueries; ++q)
      sums[q][0] = sums[q][1] = sums[q][2] = sums[q][3] = zero();
    const float* key = keys + size_t{k} * call.head_dim;
    for (uint32_t i = 0; i < call.head_dim; i += kLanes) {
      VF four[4];
      TANDEM_UNROLL
      for (uint32_t j = 0; j < 4; ++j) four[j] = load(key + j * call.head_dim + i);
      TANDEM_UNROLL
      for (uint32_t q = 0; q < kQueries; ++q) {
        const VF query = load(queries[q] + i);
        TANDEM_UNROLL
        for (uint32_t j = 0; j < 4; ++j) sums[q][j] = fma(query, four[j], sums[q][j]);
      }
    }
    TANDEM_UNROLL
    for (uint32_t q = 0; q < kQueries; ++q)
      store_sums(scores + (first + q) * kKeyBlock + k, sums[q]);
  }
}

// Scores of one query become weights e^(score - largest); the state moves to the new largest.
// `from` and `to` bound the keys of the block that the query attends to.
inline void weigh(const AttentionCall& call, float* scores, float* state, uint32_t from,
                  uint32_t to) {
  VF block_max = broadcast(kMinusInfinity);
  for (uint32_t k = 0; k < kKeyBlock; k += kLanes) {
    const VF scaled = mul(load(scores + k), broadcast(call.scale));
    const VF kept = keep_range(scaled, k, from, to, broadcast(kMinusInfinity));
    store(scores + k, kept);
    block_max = max(block_max, kept);
  }
  const float before = state[0];
  const float block_largest = max_of(block_max);
  const float largest = block_largest > before ? block_largest : before;
  if (block_largest == kMinusInfinity) {  // nothing attended to: e^(-inf + inf) is no number
    for (uint32_t k = 0; k < kKeyBlock; k += kLanes) store(scores + k, zero());
    return;
  }
  VF sum = zero();
  for (uint32_t k = 0; k < kKeyBlock; k += kLanes) {
    const VF weight = exp(sub(load(scores + k), broadcast(largest)));
    store(scores + k, weight);
    sum = add(sum, weight);
  }
  if (largest > before) {
    const float rescale = first_of(exp(broadcast(before - largest)));
    state[0] = largest;
    state[1] *= rescale;
    for (uint32_t i = 0; i < call.head_dim; i += kLanes)
      store(state + kStateHeader + i, mul(load(state + kStateHeader + i), broadcast(rescale)));
  }
  state[1] += sum_of(sum);
}

// state += weights * values, for kQueries queries.
template <uint32_t kQueries>
void add_values(const AttentionCall& call, const float* values, uint32_t first,
                const float* weights) {
  constexpr uint32_t kVectors = kAttentionVectors;
  float* states[kQueries];
  const float* weight[kQueries];
  TANDEM_UNROLL
  for (uint32_t q = 0; q < kQueries; ++q) {
    states[q] = state_at(call, first + q) + kStateHeader;
    weight[q] = weights + (first + q) * kKeyBlock;
  }
  for (uint32_t i = 0; i < call.head_dim; i += kVectors * kLanes) {
    VF sums[kQueries][kVectors];
    TANDEM_UNROLL
    for (uint32_t q = 0; q < kQueries; ++q) {
      TANDEM_UNROLL
      for (uint32_t v = 0; v < kVectors; ++v) sums[q][v] = load(states[q] + i + v * kLanes);
    }
    for (uint32_t k = 0; k < kKeyBlock; ++k) {
      VF value[kVectors];
      TANDEM_UNROLL
      for (uint32_t v = 0; v < kVectors; ++v)
        value[v] = load(values + size_t{k} * call.head_dim + i + v * kLanes);
      TANDEM_UNROLL
      for (uint32_t q = 0; q < kQueries; ++q) {
        TANDEM_UNROLL
        for (uint32_t v = 0; v < kVectors; ++v)
          sums[q][v] = fma(broadcast(weight[q][k]), value[v], sums[q][v]);
      }
    }
    TANDEM_UNROLL
    for (uint32_t q = 0; q < kQueries; ++q) {
      TANDEM_UNROLL
      for (uint32_t v = 0; v < kVectors; ++v) store(states[q] + i + v * kLanes, sums[q][v]);
    }
  }
}

// The part [from, to) of the block at `key` that the query's row attends to.
TANDEM_INLINE void weigh_row(const AttentionCall& call, uint32_t index, uint32_t key,
                             float* scores) {
  const uint32_t position = call.first_position + index / call.heads;
  uint32_t begin = call.first_key, end = call.last_key;
  if (call.window != 0 && position + 1 > call.window && position + 1 - call.window > begin)
    begin = position + 1 - call.window;
  if (position + 1 < end) end = position + 1;
  weigh(call, scores + index * kKeyBlock, state_at(call, index), begin > key ? begin - key : 0,
        end > key ? end - key : 0);
}

// Blocks start at multiples of kKeyBlock and a block without a key for a query leaves its state as
// it is, so what a query gets does not depend on the other rows of the call.
void attend(const AttentionCall& call) {
  float* block = call.scratch;
  float* scores = block + size_t{kKeyBlock} * call.head_dim;
  const uint32_t count = call.rows * call.heads;
  for (uint32_t q = 0; q < count; ++q) {
    float* state = state_at(call, q);
    for (uint32_t i = 0; i < attention_state_size(call.head_dim); i += kLanes)
      store(state + i, zero());
    state[0] = kMinusInfinity;
  }
  for (uint32_t key = call.first_key / kKeyBlock * kKeyBlock; key < call.last_key;
       key += kKeyBlock) {
    widen_block(block, call, call.keys, key);
    uint32_t q = 0;
    for (; q + 4 <= count; q += 4) score_queries<4>(call, block, q, scores);
    for (; q < count; ++q) score_queries<1>(call, block, q, scores);
    for (q = 0; q < count; ++q) weigh_row(call, q, key, scores);
    widen_block(block, call, call.values, key);
    for (q = 0; q + 4 <= count; q += 4) add_values<4>(call, block, q, scores);
    for (; q < count; ++q) add_values<1>(call, block, q, scores);
  }
}

TANDEM_INLINE float weight_of(const float* state, float largest) {
  return first_of(exp(broadcast(state[0] - largest)));
}

void combine(float* out, const float* states, size_t stride, uint32_t count, uint32_t head_dim) {
  float largest = kMinusInfinity;
  for (uint32_t s = 0; s < count; ++s)
    largest = states[s * stride] > largest ? states[s * stride] : largest;
  float sum = 0;
  for (uint32_t s = 0; s < count; ++s)
    sum += weight_of(states + s * stride, largest) * states[s * stride + 1];
  for (uint32_t i = 0; i < head_dim; i += kLanes) store(out + i, zero());
  for (uint32_t s = 0; s < count; ++s) {
    const float* state = states + s * stride;
    const VF share = broadcast(weight_of(state, largest) / sum);
    for (uint32_t i = 0; i < head_dim; i += kLanes)
      store(out + i, fma(share, load(state + kStateHeader + i), load(out + i)));
  }
}

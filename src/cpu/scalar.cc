// The reference kernels: what "correct" means for every other kernel. Sums are in double and in
// the order of the formula; nothing here is tuned.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>

#include "cpu/kernels.h"
#include "tensor/bf16.h"
#include "tensor/half.h"
#include "tensor/quantize.h"

namespace tandem::cpu {
namespace {

DType dtype_of(WeightKind kind) {
  switch (kind) {
    case WeightKind::kF32: return DType::kF32;
    case WeightKind::kF16: return DType::kF16;
    case WeightKind::kBF16: return DType::kBF16;
    case WeightKind::kQ4_0: return DType::kQ4_0;
    case WeightKind::kQ4_1: return DType::kQ4_1;
    case WeightKind::kQ5_0: return DType::kQ5_0;
    case WeightKind::kQ5_1: return DType::kQ5_1;
    case WeightKind::kQ8_0: return DType::kQ8_0;
    case WeightKind::kQ4K: return DType::kQ4K;
    case WeightKind::kQ5K: return DType::kQ5K;
    case WeightKind::kQ6K: return DType::kQ6K;
  }
  return DType::kF32;
}

double dot(const float* a, const float* b, uint32_t count) {
  double sum = 0;
  for (uint32_t i = 0; i < count; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

double dot_quantized(const MatmulCall& call, uint32_t row, const float* weight) {
  const int8_t* quants = call.quantized.quants + size_t{row} * call.inputs;
  const float* scales = call.quantized.scales + size_t{row} * (call.inputs / kBlock);
  double sum = 0;
  for (uint32_t block = 0; block < call.inputs / kBlock; ++block) {
    double in_block = 0;
    for (uint32_t i = block * kBlock; i < (block + 1) * kBlock; ++i)
      in_block += quants[i] * static_cast<double>(weight[i]);
    sum += static_cast<double>(scales[block]) * in_block;
  }
  return sum;
}

// A tile is one row, as it is in the file.
void matmul(const MatmulCall& call, uint32_t first_tile, uint32_t count) {
  const DType dtype = dtype_of(call.kind);
  const size_t row_size = dtype_size(dtype, call.inputs);
  for (uint32_t n = first_tile; n < first_tile + count; ++n) {
    dequantize_row(dtype, static_cast<const std::byte*>(call.weights) + n * row_size, call.scratch,
                   call.inputs);
    for (uint32_t r = 0; r < call.rows; ++r) {
      const double y = takes_floats(call.kind)
                           ? dot(call.floats + r * call.floats_stride, call.scratch, call.inputs)
                           : dot_quantized(call, r, call.scratch);
      call.out[r * call.out_stride + n] = static_cast<float>(y);
    }
  }
}

float largest_magnitude(const float* x, uint32_t count) {
  float largest = 0;
  for (uint32_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(x[i]));
  return largest;
}

void quantize(const QuantizedRows& at, const float* x, uint32_t count) {
  std::fill_n(at.minus_halves, count / 16, 0);
  for (uint32_t block = 0; block < count / kBlock; ++block) {
    const float largest = largest_magnitude(x + block * kBlock, kBlock);
    const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
    at.scales[block] = largest / 127.0f;
    for (uint32_t i = block * kBlock; i < (block + 1) * kBlock; ++i) {
      at.quants[i] = static_cast<int8_t>(std::nearbyint(x[i] * inverse));  // ties to even
      at.minus_halves[i / 16] -= at.quants[i];
    }
    at.minus_sums[block] = at.minus_halves[2 * block] + at.minus_halves[2 * block + 1];
    at.scaled_sums[block] = at.scales[block] * -static_cast<float>(at.minus_sums[block]);
  }
}

double inverse_rms(const float* x, uint32_t count, float epsilon) {
  return 1.0 / std::sqrt(dot(x, x, count) / count + static_cast<double>(epsilon));
}

void rms_norm(float* y, const float* x, const float* weight, uint32_t count, float epsilon) {
  const double inverse = inverse_rms(x, count, epsilon);
  for (uint32_t i = 0; i < count; ++i)
    y[i] = static_cast<float>(x[i] * inverse * static_cast<double>(weight[i]));
}

void rms_norm_add(float* x, const float* y, const float* weight, uint32_t count, float epsilon) {
  const double inverse = inverse_rms(y, count, epsilon);
  for (uint32_t i = 0; i < count; ++i)
    x[i] = static_cast<float>(x[i] + y[i] * inverse * static_cast<double>(weight[i]));
}

void rotate(float* x, const float* cosine, const float* sine, uint32_t half) {
  for (uint32_t i = 0; i < half; ++i) {
    const double a = x[i], b = x[i + half], c = cosine[i], s = sine[i];
    x[i] = static_cast<float>(a * c - b * s);
    x[i + half] = static_cast<float>(a * s + b * c);
  }
}

void store_f16(uint16_t* out, const float* x, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) out[i] = f32_to_f16(x[i]);
}

void store_i8(int8_t* out, uint16_t* scales, const float* x, uint32_t count) {
  for (uint32_t block = 0; block < count / kBlock; ++block) {
    const float largest = largest_magnitude(x + block * kBlock, kBlock);
    const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
    scales[block] = f32_to_f16(largest / 127.0f);
    for (uint32_t i = block * kBlock; i < (block + 1) * kBlock; ++i)
      out[i] = static_cast<int8_t>(std::nearbyint(x[i] * inverse));
  }
}

// gelu_tanh(g) = g / 2 * (1 + tanh(sqrt(2 / pi) * (g + 0.044715 g^3))) (arXiv 1606.08415).
void geglu(float* out, const float* gate, const float* up, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    const double g = gate[i];
    const double inner = std::sqrt(2.0) * std::numbers::inv_sqrtpi * (g + 0.044715 * g * g * g);
    out[i] = static_cast<float>(0.5 * g * (1.0 + std::tanh(inner)) * static_cast<double>(up[i]));
  }
}

// One element of a plane of the cache.
double element(KvKind kind, const KvPlane& plane, uint32_t row, uint32_t i) {
  const std::byte* data = static_cast<const std::byte*>(plane.data) + row * plane.stride;
  switch (kind) {
    case KvKind::kF32: return reinterpret_cast<const float*>(data)[i];
    case KvKind::kF16: return f16_to_f32(reinterpret_cast<const uint16_t*>(data)[i]);
    case KvKind::kI8: break;
  }
  const std::byte* scales =
      reinterpret_cast<const std::byte*>(plane.scales) + row * plane.scale_stride;
  return reinterpret_cast<const int8_t*>(data)[i] *
         static_cast<double>(f16_to_f32(reinterpret_cast<const uint16_t*>(scales)[i / kBlock]));
}

double score(const AttentionCall& call, const float* query, uint32_t key) {
  double sum = 0;
  for (uint32_t i = 0; i < call.head_dim; ++i)
    sum += static_cast<double>(query[i]) * element(call.kind, call.keys, key % call.capacity, i);
  return sum * static_cast<double>(call.scale);
}

// One query over the keys [first, last).
void attend_one(const AttentionCall& call, const float* query, uint32_t first, uint32_t last,
                float* state) {
  double largest = -std::numeric_limits<double>::infinity();
  for (uint32_t key = first; key < last; ++key)
    largest = std::max(largest, score(call, query, key));
  double sum = 0;
  double* values = reinterpret_cast<double*>(call.scratch);
  std::fill_n(values, call.head_dim, 0.0);
  for (uint32_t key = first; key < last; ++key) {
    const double weight = std::exp(score(call, query, key) - largest);
    sum += weight;
    for (uint32_t i = 0; i < call.head_dim; ++i)
      values[i] += weight * element(call.kind, call.values, key % call.capacity, i);
  }
  state[0] = static_cast<float>(largest);
  state[1] = static_cast<float>(sum);
  for (uint32_t i = 0; i < call.head_dim; ++i)
    state[kStateHeader + i] = static_cast<float>(values[i]);
}

void attend(const AttentionCall& call) {
  const size_t state_size = attention_state_size(call.head_dim);
  for (uint32_t row = 0; row < call.rows; ++row) {
    const uint32_t position = call.first_position + row;
    const uint32_t last = std::min(call.last_key, position + 1);
    uint32_t first = call.first_key;
    if (call.window != 0 && position + 1 > call.window)
      first = std::max(first, position + 1 - call.window);
    for (uint32_t head = 0; head < call.heads; ++head) {
      const float* query = call.queries + row * call.query_stride + size_t{head} * call.head_dim;
      float* state = call.states + (size_t{row} * call.heads + head) * state_size;
      attend_one(call, query, first, last, state);
    }
  }
}

size_t attention_scratch(uint32_t, uint32_t head_dim) { return 2 * size_t{head_dim}; }  // doubles

void combine(float* out, const float* states, size_t stride, uint32_t count, uint32_t head_dim) {
  float largest = -std::numeric_limits<float>::infinity();
  for (uint32_t s = 0; s < count; ++s) largest = std::max(largest, states[s * stride]);
  const auto weight = [&](uint32_t s) {
    return std::exp(static_cast<double>(states[s * stride]) - static_cast<double>(largest));
  };
  double sum = 0;
  for (uint32_t s = 0; s < count; ++s)
    sum += weight(s) * static_cast<double>(states[s * stride + 1]);
  for (uint32_t i = 0; i < head_dim; ++i) {
    double value = 0;
    for (uint32_t s = 0; s < count; ++s)
      value += weight(s) * static_cast<double>(states[s * stride + kStateHeader + i]);
    out[i] = static_cast<float>(value / sum);
  }
}

uint32_t argmax(const float* x, uint32_t count) {
  return static_cast<uint32_t>(std::max_element(x, x + count) - x);
}

}  // namespace

const Kernels& scalar_kernels() {
  static constexpr Kernels kTable = {
      "scalar",
      1,
      {matmul, matmul, matmul, matmul, matmul, matmul, matmul, matmul, matmul, matmul, matmul},
      quantize,
      rms_norm,
      rms_norm_add,
      rotate,
      store_f16,
      store_i8,
      geglu,
      attend,
      attention_scratch,
      combine,
      argmax};
  return kTable;
}

}  // namespace tandem::cpu

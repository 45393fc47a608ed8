// Norms, rotation, rounding to int8 and f16, the gate of the FFN, argmax: the kernels that pass
// over rows of floats. Included once per instruction set, inside its namespace.
// SPDX-License-Identifier: Apache-2.0

// e^x by 2^n * e^r, |r| <= ln(2) / 2, e^r by a minimax polynomial of degree 6. 0 below -87, never
// infinite; NaN stays NaN. Relative error below 1.3e-7 (kernels_test.cc measures it).
TANDEM_INLINE VF exp(VF x) {
  const VF clamped = min(broadcast(88.0f), max(broadcast(-87.0f), x));
  const VF n = round(mul(clamped, broadcast(1.44269504f)));
  // ln(2) in two parts, the first with few bits so that n times it is exact.
  const VF r = fnma(n, broadcast(-2.12194440e-4f), fnma(n, broadcast(0.693359375f), clamped));
  VF p = broadcast(kExpCoefficients[4]);
  TANDEM_UNROLL
  for (int i = 3; i >= 0; --i) p = fma(p, r, broadcast(kExpCoefficients[i]));
  p = fma(mul(r, r), p, add(r, broadcast(1.0f)));
  return zero_where_below(x, -87.0f, scale_by_power(p, n));
}

inline float inverse_rms(const float* x, uint32_t count, float epsilon) {
  VF even = zero(), odd = zero();
  uint32_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    const VF a = load(x + i), b = load(x + i + kLanes);
    even = fma(a, a, even);
    odd = fma(b, b, odd);
  }
  for (; i < count; i += kLanes) {
    const VF a = load_first(x + i, left(i, count));
    even = fma(a, a, even);
  }
  return 1.0f / __builtin_sqrtf(sum_of(add(even, odd)) / static_cast<float>(count) + epsilon);
}

void rms_norm(float* y, const float* x, const float* weight, uint32_t count, float epsilon) {
  const VF inverse = broadcast(inverse_rms(x, count, epsilon));
  for (uint32_t i = 0; i < count; i += kLanes) {
    const uint32_t n = left(i, count);
    const VF scaled = mul(load_first(x + i, n), inverse);
    store_first(y + i, mul(scaled, load_first(weight + i, n)), n);
  }
}

void rms_norm_add(float* x, const float* y, const float* weight, uint32_t count, float epsilon) {
  const VF inverse = broadcast(inverse_rms(y, count, epsilon));
  for (uint32_t i = 0; i < count; i += kLanes) {
    const uint32_t n = left(i, count);
    const VF scaled = mul(load_first(y + i, n), inverse);
    store_first(x + i, fma(scaled, load_first(weight + i, n), load_first(x + i, n)), n);
  }
}

void rotate(float* x, const float* cosine, const float* sine, uint32_t half) {
  for (uint32_t i = 0; i < half; i += kLanes) {
    const uint32_t n = left(i, half);
    const VF a = load_first(x + i, n), b = load_first(x + half + i, n);
    const VF c = load_first(cosine + i, n), s = load_first(sine + i, n);
    store_first(x + i, fnma(b, s, mul(a, c)), n);
    store_first(x + half + i, fma(b, c, mul(a, s)), n);
  }
}

void store_row_f16(uint16_t* out, const float* x, uint32_t count) {
  for (uint32_t i = 0; i < count; i += kLanes) store_f16(out + i, load(x + i));
}

constexpr uint32_t kBlockVectors = kBlock / kLanes;

// 32 floats as int8; returns the largest magnitude. sums: of the first and the last 16.
TANDEM_INLINE float quantize_block(const float* x, int8_t* out, float* sums) {
  VF v[kBlockVectors];
  VF largest = zero();
  TANDEM_UNROLL
  for (uint32_t i = 0; i < kBlockVectors; ++i) {
    v[i] = load(x + i * kLanes);
    largest = max(largest, abs(v[i]));
  }
  const float magnitude = max_of(largest);
  const VF inverse = broadcast(magnitude > 0 ? 127.0f / magnitude : 0.0f);
  TANDEM_UNROLL
  for (uint32_t i = 0; i < kBlockVectors; ++i) {
    v[i] = round(mul(v[i], inverse));
    store_i8(out + i * kLanes, v[i]);
  }
  if constexpr (kBlockVectors == 2) {
    sums[0] = sum_of(v[0]);
    sums[1] = sum_of(v[1]);
  } else {
    sums[0] = sum_of(add(v[0], v[1]));
    sums[1] = sum_of(add(v[2], v[3]));
  }
  return magnitude;
}

void quantize(const QuantizedRows& at, const float* x, uint32_t count) {
  for (uint32_t block = 0; block < count / kBlock; ++block) {
    float sums[2];
    const float magnitude = quantize_block(x + block * kBlock, at.quants + block * kBlock, sums);
    const float scale = magnitude / 127.0f;
    at.scales[block] = scale;
    at.scaled_sums[block] = scale * (sums[0] + sums[1]);
    at.minus_halves[2 * block] = -static_cast<int32_t>(sums[0]);
    at.minus_halves[2 * block + 1] = -static_cast<int32_t>(sums[1]);
    at.minus_sums[block] = at.minus_halves[2 * block] + at.minus_halves[2 * block + 1];
  }
}

void store_row_i8(int8_t* out, uint16_t* scales, const float* x, uint32_t count) {
  for (uint32_t block = 0; block < count / kBlock; ++block) {
    float sums[2];
    scales[block] = to_f16(quantize_block(x + block * kBlock, out + block * kBlock, sums) / 127.0f);
  }
}

// gelu_tanh(g) = g / (1 + e^(-2u)), u = sqrt(2 / pi) * (g + 0.044715 g^3): the form with tanh
// rewritten, which loses no digits where 1 + tanh(u) is near 0.
void geglu(float* out, const float* gate, const float* up, uint32_t count) {
  constexpr float kLinear = -1.59576912f;   // -2 sqrt(2 / pi)
  constexpr float kCubic = -0.0713548163f;  // 0.044715 times that
  for (uint32_t i = 0; i < count; i += kLanes) {
    const uint32_t n = left(i, count);
    const VF g = load_first(gate + i, n);
    const VF u = mul(g, fma(mul(g, g), broadcast(kCubic), broadcast(kLinear)));
    const VF gelu = div(g, add(broadcast(1.0f), exp(u)));
    store_first(out + i, mul(gelu, load_first(up + i, n)), n);
  }
}

uint32_t argmax(const float* x, uint32_t count) {
  VF largest = broadcast(x[0]);
  uint32_t i = 0;
  for (; i + kLanes <= count; i += kLanes) largest = max(largest, load(x + i));
  float value = max_of(largest);
  for (; i < count; ++i) value = x[i] > value ? x[i] : value;
  for (i = 0; i + kLanes <= count && !any_equal(load(x + i), broadcast(value));) i += kLanes;
  while (i < count && x[i] != value) ++i;
  return i < count ? i : 0;  // nothing equals a NaN
}

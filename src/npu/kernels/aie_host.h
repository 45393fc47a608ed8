// The part of AMD's AIE API that the core kernels use, for the host: the same names, so that one
// source is compiled for the cores and for the emulator. Integer results are exact, bit for bit.
// Float results are IEEE single precision with one rounding per operation, which a core (products
// of bf16 pieces) only approximates. Include it in kernel sources alone: the element types are
// global, as the core compiler has them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

using int8 = int8_t;
using int16 = int16_t;
using int32 = int32_t;
struct int4;  // two to a byte, the low nibble first; only ever pointed to
struct bfloat16 {
  uint16_t bits = 0;
};
struct acc32 {};
struct acc64 {};
struct accfloat {};

namespace aie {

enum class saturation_mode { none, saturate };
enum class rounding_mode { floor, conv_even };

namespace host {

inline thread_local saturation_mode saturation = saturation_mode::none;

template <typename Tag>
struct Lane {
  using type = int32_t;
};
template <>
struct Lane<acc64> {
  using type = int64_t;
};
template <>
struct Lane<accfloat> {
  using type = float;
};

inline float widen(bfloat16 value) { return std::bit_cast<float>(uint32_t{value.bits} << 16); }
inline int32_t widen(int8_t value) { return value; }

// To the nearest bf16, ties to even; NaN stays NaN.
inline bfloat16 to_bfloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (value != value) return {static_cast<uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)};
}

// A lane of an accumulator to an element: shift rounding down, then saturate or wrap.
template <typename T, typename L>
T narrow(L lane, int shift) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    return to_bfloat16(lane);
  } else if constexpr (std::is_same_v<T, float>) {
    return lane;
  } else {
    const L shifted = lane >> shift;
    using Limits = std::numeric_limits<T>;
    if (saturation == saturation_mode::saturate) {
      if (shifted > L{Limits::max()}) return Limits::max();
      if (shifted < L{Limits::min()}) return Limits::min();
    }
    return static_cast<T>(shifted);
  }
}

}  // namespace host

inline void set_saturation(saturation_mode mode) { host::saturation = mode; }
// Integers are rounded down and bf16 to nearest even, the modes the kernels set.
inline void set_rounding(rounding_mode) {}

template <typename T, unsigned kSize>
struct vector {
  T data[kSize];

  template <unsigned kPart>
  vector<T, kPart> extract(unsigned index) const {
    vector<T, kPart> part;
    std::memcpy(part.data, data + index * kPart, sizeof part.data);
    return part;
  }
  template <unsigned kOut>
  vector<T, kOut> grow_replicate() const {
    vector<T, kOut> out;
    for (unsigned i = 0; i < kOut; ++i) out.data[i] = data[i % kSize];
    return out;
  }
};

template <unsigned kSize>
struct vector<int4, kSize> {
  uint8_t data[kSize / 2];
};

template <typename Tag, unsigned kSize>
struct accum {
  using lane_type = typename host::Lane<Tag>::type;
  lane_type data[kSize];

  template <typename T>
  vector<T, kSize> to_vector(int shift = 0) const {
    vector<T, kSize> out;
    for (unsigned i = 0; i < kSize; ++i) out.data[i] = host::narrow<T>(data[i], shift);
    return out;
  }
};

template <unsigned kSize>
struct mask {
  uint64_t bits = 0;
  static mask from_uint32(uint32_t word) { return {word}; }
};

template <unsigned kSize, typename T>
vector<T, kSize> load_v(const T* source) {
  vector<T, kSize> out;
  std::memcpy(out.data, source, sizeof out.data);
  return out;
}

template <typename T, unsigned kSize>
void store_v(T* target, const vector<T, kSize>& value) {
  std::memcpy(target, value.data, sizeof value.data);
}

template <typename T, unsigned kSize>
vector<T, kSize> broadcast(T value) {
  vector<T, kSize> out;
  for (T& lane : out.data) lane = value;
  return out;
}

// Lane by lane `b` where the mask is set, else `a`.
template <typename T, unsigned kSize>
vector<T, kSize> select(const vector<T, kSize>& a, const vector<T, kSize>& b,
                        const mask<kSize>& which) {
  vector<T, kSize> out;
  for (unsigned i = 0; i < kSize; ++i) out.data[i] = which.bits >> i & 1 ? b.data[i] : a.data[i];
  return out;
}

template <typename T, unsigned kSize>
vector<T, kSize> zeros() {
  return vector<T, kSize>{};
}

// Sign extension of int8 to int16.
template <unsigned kSize>
vector<int16, kSize> unpack(const vector<int8, kSize>& value) {
  vector<int16, kSize> out;
  for (unsigned i = 0; i < kSize; ++i) out.data[i] = value.data[i];
  return out;
}

template <unsigned kSize>
vector<float, kSize> to_float(const vector<int32, kSize>& value, int shift = 0) {
  vector<float, kSize> out;
  const float scale = std::bit_cast<float>(static_cast<uint32_t>(127 - shift) << 23);
  for (unsigned i = 0; i < kSize; ++i) out.data[i] = static_cast<float>(value.data[i]) * scale;
  return out;
}

// A row-major matrix of rows x columns to its transpose.
template <typename T, unsigned kSize>
vector<T, kSize> transpose(const vector<T, kSize>& value, unsigned rows, unsigned columns) {
  vector<T, kSize> out;
  for (unsigned r = 0; r < rows; ++r)
    for (unsigned c = 0; c < columns; ++c) out.data[c * rows + r] = value.data[r * columns + c];
  return out;
}

template <typename Tag, typename T, unsigned kSize>
accum<Tag, kSize> mac(const accum<Tag, kSize>& sum, const vector<T, kSize>& a,
                      const vector<T, kSize>& b) {
  using L = typename accum<Tag, kSize>::lane_type;
  accum<Tag, kSize> out;
  for (unsigned i = 0; i < kSize; ++i)
    out.data[i] = sum.data[i] + static_cast<L>(a.data[i]) * static_cast<L>(b.data[i]);
  return out;
}

template <typename Tag, typename T, unsigned kSize>
accum<Tag, kSize> mul(const vector<T, kSize>& a, const vector<T, kSize>& b) {
  return mac(accum<Tag, kSize>{}, a, b);
}

// C[kM, kN] = A[kM, kK] * B[kK, kN], all row-major in their vectors.
template <unsigned kM, unsigned kK, unsigned kN, typename A, typename B, typename Tag>
class mmul {
 public:
  using vector_A = vector<A, kM * kK>;
  using vector_B = vector<B, kK * kN>;
  using lane_type = typename host::Lane<Tag>::type;

  mmul() : sum_{} {}
  template <typename T>
  explicit mmul(const vector<T, kM * kN>& start) {
    for (unsigned i = 0; i < kM * kN; ++i) {
      if constexpr (std::is_same_v<T, bfloat16>)
        sum_.data[i] = host::widen(start.data[i]);
      else
        sum_.data[i] = start.data[i];
    }
  }

  void mul(const vector_A& a, const vector_B& b) {
    sum_ = {};
    mac(a, b);
  }

  void mac(const vector_A& a, const vector_B& b) {
    lane_type right[kK * kN];
    for (unsigned i = 0; i < kK * kN; ++i) {
      if constexpr (std::is_same_v<B, int4>)
        right[i] = static_cast<int8_t>(b.data[i / 2] << (i % 2 == 0 ? 4 : 0)) >> 4;
      else
        right[i] = host::widen(b.data[i]);
    }
    for (unsigned m = 0; m < kM; ++m)
      for (unsigned k = 0; k < kK; ++k) {
        const lane_type left = host::widen(a.data[m * kK + k]);
        for (unsigned n = 0; n < kN; ++n) sum_.data[m * kN + n] += left * right[k * kN + n];
      }
  }

  template <typename T>
  vector<T, kM * kN> to_vector(int shift = 0) const {
    return sum_.template to_vector<T>(shift);
  }

 private:
  accum<Tag, kM * kN> sum_;
};

}  // namespace aie

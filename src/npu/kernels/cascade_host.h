// The cascade's intrinsics for core kernels that are compiled for the host as a shared library
// (`tandem npu emulate --kernels`): include this file before the kernel's source. The emulator
// fills in the two pointers when it opens the library. Vectors hold plain lanes; the names are
// those of the core compiler.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#define restrict __restrict  // the core compiler takes C's keyword in C++

extern "C" {
inline void (*tandem_put_cascade)(const void* word) = nullptr;  // 64 bytes
inline void (*tandem_get_cascade)(void* word) = nullptr;
}

namespace tandem::npu {

inline constexpr size_t kCascadeWordSize = 64;

template <typename T, size_t N>
struct CascadeVector {
  static_assert(N * sizeof(T) % kCascadeWordSize == 0);
  T lane[N];
};

template <typename T, size_t N>
CascadeVector<T, N> get_cascade() {
  CascadeVector<T, N> vector;
  for (size_t at = 0; at < sizeof vector; at += kCascadeWordSize)
    tandem_get_cascade(reinterpret_cast<char*>(&vector) + at);
  return vector;
}

}  // namespace tandem::npu

using v16int32 = tandem::npu::CascadeVector<int32_t, 16>;
using v32int32 = tandem::npu::CascadeVector<int32_t, 32>;
using v32int16 = tandem::npu::CascadeVector<int16_t, 32>;
using v64int8 = tandem::npu::CascadeVector<int8_t, 64>;
using v16float = tandem::npu::CascadeVector<float, 16>;
using v8acc64 = tandem::npu::CascadeVector<int64_t, 8>;

inline v16int32 undef_v16int32() { return {}; }
inline v32int32 undef_v32int32() { return {}; }
inline v32int16 undef_v32int16() { return {}; }
inline v64int8 undef_v64int8() { return {}; }
inline v16float undef_v16float() { return {}; }

inline v16int32 get_scd_v16int32() { return tandem::npu::get_cascade<int32_t, 16>(); }
inline v32int32 get_scd_v32int32() { return tandem::npu::get_cascade<int32_t, 32>(); }
inline v32int16 get_scd_v32int16() { return tandem::npu::get_cascade<int16_t, 32>(); }
inline v64int8 get_scd_v64int8() { return tandem::npu::get_cascade<int8_t, 64>(); }
inline v16float get_scd_v16float() { return tandem::npu::get_cascade<float, 16>(); }
inline v8acc64 get_scd_v8acc64() { return tandem::npu::get_cascade<int64_t, 8>(); }

template <typename T, size_t N>
void put_mcd(const tandem::npu::CascadeVector<T, N>& vector) {
  for (size_t at = 0; at < sizeof vector; at += tandem::npu::kCascadeWordSize)
    tandem_put_cascade(reinterpret_cast<const char*>(&vector) + at);
}

template <typename T, size_t N>
T ext_elem(const tandem::npu::CascadeVector<T, N>& vector, int index) {
  return vector.lane[index];
}

template <typename T, size_t N>
tandem::npu::CascadeVector<T, N> upd_elem(tandem::npu::CascadeVector<T, N> vector, int index,
                                          std::type_identity_t<T> value) {
  vector.lane[index] = value;
  return vector;
}

// Markers for the hardware's trace.
inline void event0() {}
inline void event1() {}

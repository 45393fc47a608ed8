// The vector vocabulary of the kernels in AVX2, FMA and F16C; what each function means is said in
// simd_avx512.h. No include guard and no namespace: included inside one, in a target region.
// SPDX-License-Identifier: Apache-2.0

constexpr const char* kName = "avx2";
constexpr uint32_t kLanes = 8;
constexpr bool kSignedBytes = true;  // 8-bit levels become signed, see dot()
constexpr bool kPairsTiles = false;
// Activation rows held in registers with so many tiles.
template <uint32_t kTiles>
constexpr uint32_t kMatmulRows = kTiles == 1 ? 4 : 2;
constexpr uint32_t kAttentionVectors = 2;  // of head_dim, per query held in registers

using VF = __m256;
using VI = __m256i;

// All ones in the first `count` lanes.
TANDEM_INLINE VI first_lanes(uint32_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
TANDEM_INLINE uint32_t left(uint32_t i, uint32_t count) {
  return count - i < kLanes ? count - i : kLanes;
}

TANDEM_INLINE VF zero() { return _mm256_setzero_ps(); }
TANDEM_INLINE VF broadcast(float x) { return _mm256_set1_ps(x); }
TANDEM_INLINE VF load(const float* p) { return _mm256_loadu_ps(p); }
TANDEM_INLINE void store(float* p, VF x) { _mm256_storeu_ps(p, x); }
TANDEM_INLINE VF load_first(const float* p, uint32_t count) {
  return count == kLanes ? load(p) : _mm256_maskload_ps(p, first_lanes(count));
}
TANDEM_INLINE void store_first(float* p, VF x, uint32_t count) {
  if (count == kLanes)
    store(p, x);
  else
    _mm256_maskstore_ps(p, first_lanes(count), x);
}
TANDEM_INLINE VF add(VF a, VF b) { return _mm256_add_ps(a, b); }
TANDEM_INLINE VF sub(VF a, VF b) { return _mm256_sub_ps(a, b); }
TANDEM_INLINE VF mul(VF a, VF b) { return _mm256_mul_ps(a, b); }
TANDEM_INLINE VF div(VF a, VF b) { return _mm256_div_ps(a, b); }
TANDEM_INLINE VF max(VF a, VF b) { return _mm256_max_ps(a, b); }
TANDEM_INLINE VF min(VF a, VF b) { return _mm256_min_ps(a, b); }
TANDEM_INLINE VF abs(VF a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
TANDEM_INLINE VF fma(VF a, VF b, VF c) { return _mm256_fmadd_ps(a, b, c); }
TANDEM_INLINE VF fnma(VF a, VF b, VF c) { return _mm256_fnmadd_ps(a, b, c); }
TANDEM_INLINE VF round(VF a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | 8); }
// n becomes the exponent of a float.
TANDEM_INLINE VF scale_by_power(VF x, VF n) {
  const VI exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return mul(x, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}
TANDEM_INLINE float first_of(VF x) { return _mm256_cvtss_f32(x); }
TANDEM_INLINE float sum_of(VF a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
TANDEM_INLINE float max_of(VF a) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
TANDEM_INLINE VF zero_where_below(VF x, float limit, VF value) {
  return _mm256_and_ps(_mm256_cmp_ps(x, broadcast(limit), _CMP_NLT_UQ), value);
}
TANDEM_INLINE bool any_equal(VF a, VF b) {
  return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ)) != 0;
}
TANDEM_INLINE VF keep_range(VF x, uint32_t at, uint32_t from, uint32_t to, VF otherwise) {
  const uint32_t begin = from > at ? from - at : 0, end = to > at ? to - at : 0;
  const VI kept = _mm256_andnot_si256(first_lanes(begin), first_lanes(end));
  return _mm256_blendv_ps(otherwise, x, _mm256_castsi256_ps(kept));
}
// p[j] = sum of the lanes of a[j].
TANDEM_INLINE void store_sums(float* p, const VF* a) {
  const VF four = _mm256_hadd_ps(_mm256_hadd_ps(a[0], a[1]), _mm256_hadd_ps(a[2], a[3]));
  _mm_storeu_ps(p, _mm_add_ps(_mm256_castps256_ps128(four), _mm256_extractf128_ps(four, 1)));
}

TANDEM_INLINE uint16_t to_f16(float x) {
  return static_cast<uint16_t>(_mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(x), 0)));
}
TANDEM_INLINE float from_f16(uint16_t x) { return _cvtsh_ss(x); }
TANDEM_INLINE VF load_f16(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
TANDEM_INLINE void store_f16(uint16_t* p, VF x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x, 0));
}
TANDEM_INLINE VF load_bf16(const uint16_t* p) {
  const VI wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
TANDEM_INLINE VF load_u8(const uint8_t* p) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
TANDEM_INLINE VF load_i8(const int8_t* p) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
TANDEM_INLINE void store_i8(int8_t* p, VF x) {
  const VI words = _mm256_cvtps_epi32(x);
  const __m128i halves =
      _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(halves, halves));
}

TANDEM_INLINE VI load_bytes(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
TANDEM_INLINE VF to_float(VI x) { return _mm256_cvtepi32_ps(x); }
TANDEM_INLINE VI broadcast_int(int32_t x) { return _mm256_set1_epi32(x); }
TANDEM_INLINE VI mask_bytes(VI x, uint8_t mask) {
  return _mm256_and_si256(x, _mm256_set1_epi8(static_cast<char>(mask)));
}
TANDEM_INLINE VI mask_or(VI x, uint8_t mask, VI y) {
  return _mm256_or_si256(mask_bytes(x, mask), y);
}
template <int kBits>
TANDEM_INLINE VI shift_right(VI x) {
  return _mm256_srli_epi16(x, kBits);
}
template <int kBits>
TANDEM_INLINE VI shift_left(VI x) {
  return _mm256_slli_epi16(x, kBits);
}
template <int kBits>
TANDEM_INLINE VI shift_left_int(VI x) {
  return _mm256_slli_epi32(x, kBits);
}
TANDEM_INLINE VI signed_bytes(VI levels) {
  return _mm256_xor_si256(levels, _mm256_set1_epi8(static_cast<char>(0x80)));
}

// Products of neighbouring bytes added in pairs to 16 bits: u8 * s8, saturating, so levels of 8
// bits take the sign into the other factor, which holds for |level| <= 128 and |x| <= 127.
template <int kBits>
TANDEM_INLINE VI multiply_pairs(VI levels, VI x) {
  if constexpr (kBits == 8)
    return _mm256_maddubs_epi16(_mm256_abs_epi8(levels), _mm256_sign_epi8(x, levels));
  return _mm256_maddubs_epi16(levels, x);
}

// Sums of pairs stay in 16 bits for as many vectors as fit: 2 * 127 * (2^bits - 1) each.
template <int kBits, int kVectors, uint32_t kTiles>
TANDEM_INLINE void dot(VI start, const VI* const* levels, const int8_t* x, VI* products) {
  constexpr int kFitting = kBits == 4 ? 8 : kBits == 5 ? 4 : kBits == 6 ? 2 : 1;
  static_assert(kFitting * 2 * 127 * ((1 << (kBits == 8 ? 7 : kBits)) - (kBits == 8 ? 0 : 1)) <
                32768);
  VI pairs[kTiles];
  TANDEM_UNROLL
  for (uint32_t t = 0; t < kTiles; ++t) products[t] = start;
  TANDEM_UNROLL
  for (int j = 0; j < kVectors; ++j) {
    int32_t four;
    __builtin_memcpy(&four, x + 4 * j, 4);
    const VI x_four = _mm256_set1_epi32(four);
    TANDEM_UNROLL
    for (uint32_t t = 0; t < kTiles; ++t) {
      const VI product = multiply_pairs<kBits>(levels[t][j], x_four);
      pairs[t] = j % kFitting == 0 ? product : _mm256_add_epi16(pairs[t], product);
      if (j % kFitting == kFitting - 1 || j == kVectors - 1)
        products[t] =
            _mm256_add_epi32(products[t], _mm256_madd_epi16(pairs[t], _mm256_set1_epi16(1)));
    }
  }
}

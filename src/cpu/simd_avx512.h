// The vector vocabulary of the kernels in AVX-512 (F, BW, VL, DQ, VNNI). No include guard and no
// namespace: included inside one, in a target region, after <immintrin.h>.
// SPDX-License-Identifier: Apache-2.0

constexpr const char* kName = "avx512";
constexpr uint32_t kLanes = 16;
constexpr bool kSignedBytes = false;  // 8-bit levels stay unsigned, see dot()
constexpr bool kPairsTiles = true;
// Activation rows held in registers with so many tiles.
template <uint32_t kTiles>
constexpr uint32_t kMatmulRows = kTiles == 1 ? 8 : 4;

using VF = __m512;
using VI = __m512i;

TANDEM_INLINE VF zero() { return _mm512_setzero_ps(); }
TANDEM_INLINE VF broadcast(float x) { return _mm512_set1_ps(x); }
TANDEM_INLINE VF load(const float* p) { return _mm512_loadu_ps(p); }
TANDEM_INLINE void store(float* p, VF x) { _mm512_storeu_ps(p, x); }
TANDEM_INLINE VF load_first(const float* p, uint32_t count) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p);
}
TANDEM_INLINE void store_first(float* p, VF x, uint32_t count) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), x);
}
TANDEM_INLINE VF add(VF a, VF b) { return _mm512_add_ps(a, b); }
TANDEM_INLINE VF sub(VF a, VF b) { return _mm512_sub_ps(a, b); }
TANDEM_INLINE VF mul(VF a, VF b) { return _mm512_mul_ps(a, b); }
TANDEM_INLINE VF div(VF a, VF b) { return _mm512_div_ps(a, b); }
TANDEM_INLINE VF max(VF a, VF b) { return _mm512_max_ps(a, b); }
TANDEM_INLINE VF min(VF a, VF b) { return _mm512_min_ps(a, b); }
TANDEM_INLINE VF abs(VF a) { return _mm512_abs_ps(a); }
TANDEM_INLINE VF fma(VF a, VF b, VF c) { return _mm512_fmadd_ps(a, b, c); }    // a * b + c
TANDEM_INLINE VF fnma(VF a, VF b, VF c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a * b
TANDEM_INLINE VF round(VF a) { return _mm512_roundscale_ps(a, 0); }            // ties to even
// x * 2^n for integral n in [-126, 127].
TANDEM_INLINE VF scale_by_power(VF x, VF n) { return _mm512_scalef_ps(x, n); }
// Summed by halves: lane i with lane i + 8, then 4, 2, 1.
TANDEM_INLINE float sum_of(VF a) { return _mm512_reduce_add_ps(a); }
TANDEM_INLINE float max_of(VF a) { return _mm512_reduce_max_ps(a); }

TANDEM_INLINE VF load_f16(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
TANDEM_INLINE void store_f16(uint16_t* p, VF x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x, 0));
}
TANDEM_INLINE VF load_bf16(const uint16_t* p) {
  const VI wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
TANDEM_INLINE VF load_u8(const uint8_t* p) {
  return _mm512_cvtepi32_ps(
      _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
TANDEM_INLINE VF load_i8(const int8_t* p) {
  return _mm512_cvtepi32_ps(
      _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
// Integral values in [-128, 127].
TANDEM_INLINE void store_i8(int8_t* p, VF x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
}

TANDEM_INLINE VI load_bytes(const uint8_t* p) { return _mm512_loadu_si512(p); }
TANDEM_INLINE VF to_float(VI x) { return _mm512_cvtepi32_ps(x); }
TANDEM_INLINE VI broadcast_int(int32_t x) { return _mm512_set1_epi32(x); }
// Bytes & mask.
TANDEM_INLINE VI mask_bytes(VI x, uint8_t mask) {
  return _mm512_and_si512(x, _mm512_set1_epi8(static_cast<char>(mask)));
}
// Bytes (x & mask) | y.
TANDEM_INLINE VI mask_or(VI x, uint8_t mask, VI y) {
  return _mm512_ternarylogic_epi32(x, _mm512_set1_epi8(static_cast<char>(mask)), y, 0xEA);
}
// Bits of 16-bit lanes; what crosses bytes is masked away by the caller.
template <int kBits>
TANDEM_INLINE VI shift_right(VI x) {
  return _mm512_srli_epi16(x, kBits);
}
template <int kBits>
TANDEM_INLINE VI shift_left(VI x) {
  return _mm512_slli_epi16(x, kBits);
}
template <int kBits>
TANDEM_INLINE VI shift_left_int(VI x) {
  return _mm512_slli_epi32(x, kBits);
}
TANDEM_INLINE VI signed_bytes(VI levels) { return levels; }  // see kSignedBytes

// products[t] = start + sum over j of levels[t][j] * x[4j .. 4j + 3], 4 products per lane and j.
template <int kBits, int kVectors, uint32_t kTiles>
TANDEM_INLINE void dot(VI start, const VI* const* levels, const int8_t* x, VI* products) {
  TANDEM_UNROLL
  for (uint32_t t = 0; t < kTiles; ++t) products[t] = start;
  TANDEM_UNROLL
  for (int j = 0; j < kVectors; ++j) {
    int32_t four;
    __builtin_memcpy(&four, x + 4 * j, 4);
    const VI x_four = _mm512_set1_epi32(four);
    TANDEM_UNROLL
    for (uint32_t t = 0; t < kTiles; ++t)
      products[t] = _mm512_dpbusd_epi32(products[t], levels[t][j], x_four);
  }
}

constexpr uint32_t kAttentionVectors = 2;  // of head_dim, per query held in registers

// How many lanes are left at i.
TANDEM_INLINE uint32_t left(uint32_t i, uint32_t count) {
  return count - i < kLanes ? count - i : kLanes;
}
TANDEM_INLINE float first_of(VF x) { return _mm512_cvtss_f32(x); }
TANDEM_INLINE VF zero_where_below(VF x, float limit, VF value) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, broadcast(limit), _CMP_NLT_UQ), value);
}
TANDEM_INLINE bool any_equal(VF a, VF b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ) != 0; }
// Lane i holds element at + i: kept where from <= at + i < to, else replaced.
TANDEM_INLINE VF keep_range(VF x, uint32_t at, uint32_t from, uint32_t to, VF otherwise) {
  const VI index =
      _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(at)),
                       _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  const __mmask16 kept = _mm512_cmpge_epu32_mask(index, _mm512_set1_epi32(static_cast<int>(from))) &
                         _mm512_cmplt_epu32_mask(index, _mm512_set1_epi32(static_cast<int>(to)));
  return _mm512_mask_blend_ps(kept, otherwise, x);
}
TANDEM_INLINE uint16_t to_f16(float x) {
  return static_cast<uint16_t>(_mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(x), 0)));
}
TANDEM_INLINE float from_f16(uint16_t x) { return _cvtsh_ss(x); }
// p[j] = sum of the lanes of a[j].
TANDEM_INLINE void store_sums(float* p, const VF* a) {
  const VF ab = add(_mm512_unpacklo_ps(a[0], a[1]), _mm512_unpackhi_ps(a[0], a[1]));
  const VF cd = add(_mm512_unpacklo_ps(a[2], a[3]), _mm512_unpackhi_ps(a[2], a[3]));
  const VF abcd = add(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xEE));
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(abcd), _mm512_extractf32x8_ps(abcd, 1));
  _mm_storeu_ps(p, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}

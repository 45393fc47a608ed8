// GEMM core kernels: C[m, n] += A[m, k] * B[n, k]^T on tiles that lie in blocks:
// A [m / r][k / s][r][s], B [n / t][k / s][t][s], C [m / r][n / t][r][t], r x s x t the multiply's.
// C is kept in its output type between steps of K, rounded down and saturated.
// SPDX-License-Identifier: Apache-2.0
#include "npu/kernels/kernel_types.h"

namespace {

template <typename In>
struct AccumulatorOf {
  using type = acc32;
};
template <>
struct AccumulatorOf<bfloat16> {
  using type = accfloat;
};

template <unsigned kR, unsigned kS, unsigned kT, typename In, typename Out>
struct Gemm {
  using Multiply = aie::mmul<kR, kS, kT, In, In, typename AccumulatorOf<In>::type>;

  const In* a;
  const In* b;
  Out* c;
  unsigned depth, width;  // k / s and n / t

  // kRows x kColumns blocks of C at once: each A block is used kColumns times from registers and
  // each B block kRows times, which two loads a cycle need.
  template <unsigned kRows, unsigned kColumns>
  void block(unsigned row, unsigned column) const {
    Multiply sums[kRows][kColumns];
    for (unsigned i = 0; i < kRows; ++i)
      for (unsigned j = 0; j < kColumns; ++j)
        sums[i][j] = Multiply(aie::load_v<kR * kT>(c_block(row + i, column + j)));
    for (unsigned k = 0; k < depth; ++k) {
      aie::vector<In, kR * kS> left[kRows];
      aie::vector<In, kS * kT> right[kColumns];
      for (unsigned i = 0; i < kRows; ++i)
        left[i] = aie::load_v<kR * kS>(a + ((row + i) * depth + k) * kR * kS);
      for (unsigned j = 0; j < kColumns; ++j)
        right[j] =
            aie::transpose(aie::load_v<kS * kT>(b + ((column + j) * depth + k) * kS * kT), kT, kS);
      for (unsigned i = 0; i < kRows; ++i)
        for (unsigned j = 0; j < kColumns; ++j) sums[i][j].mac(left[i], right[j]);
    }
    for (unsigned i = 0; i < kRows; ++i)
      for (unsigned j = 0; j < kColumns; ++j)
        aie::store_v(c_block(row + i, column + j), sums[i][j].template to_vector<Out>());
  }

  Out* c_block(unsigned row, unsigned column) const { return c + (row * width + column) * kR * kT; }

  template <unsigned kRows>
  void row_of_blocks(unsigned row) const {
    unsigned column = 0;
    for (; column + 2 <= width; column += 2) block<kRows, 2>(row, column);
    if (column < width) block<kRows, 1>(row, column);
  }

  void run(unsigned height) const {
    aie::set_saturation(aie::saturation_mode::saturate);
    aie::set_rounding(aie::rounding_mode::floor);
    unsigned row = 0;
    for (; row + 2 <= height; row += 2) row_of_blocks<2>(row);
    if (row < height) row_of_blocks<1>(row);
    aie::set_saturation(aie::saturation_mode::none);
  }
};

}  // namespace

// One exported kernel; m, k, n are the tile's sizes.
// NOLINTBEGIN(bugprone-macro-parentheses): a type cannot stand in them
#define TANDEM_GEMM(symbol, r, s, t, In, Out)                                                   \
  void symbol(const In* a, const In* b, Out* c, int32_t m, int32_t k, int32_t n) {              \
    Gemm<r, s, t, In, Out>{a, b, c, static_cast<unsigned>(k) / s, static_cast<unsigned>(n) / t} \
        .run(static_cast<unsigned>(m) / r);                                                     \
  }
// NOLINTEND(bugprone-macro-parentheses)

extern "C" {

// `size` bytes to zero, a multiple of 4.
void gemm_clear(void* c, int32_t size) {
  auto* words = static_cast<int32_t*>(c);
  for (int32_t i = 0; i < size / 4; ++i) words[i] = 0;
}

#if TANDEM_KERNELS_AIE2
TANDEM_GEMM(gemm_int8_int8_4x8x8, 4, 8, 8, int8, int8)
TANDEM_GEMM(gemm_int8_int16_4x8x8, 4, 8, 8, int8, int16)
TANDEM_GEMM(gemm_int8_int32_4x8x8, 4, 8, 8, int8, int32)
TANDEM_GEMM(gemm_bf16_bf16_4x8x4, 4, 8, 4, bfloat16, bfloat16)
#endif
#if TANDEM_KERNELS_AIE2P
TANDEM_GEMM(gemm_int8_int8_8x8x8, 8, 8, 8, int8, int8)
TANDEM_GEMM(gemm_int8_int16_8x8x8, 8, 8, 8, int8, int16)
TANDEM_GEMM(gemm_int8_int32_8x8x8, 8, 8, 8, int8, int32)
TANDEM_GEMM(gemm_bf16_bf16_8x8x8, 8, 8, 8, bfloat16, bfloat16)
#endif

}  // extern "C"

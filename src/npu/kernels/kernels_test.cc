// Core kernels against scalar definitions written from the formulas; integers to the bit.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "npu/kernels/aie_host.h"
#include "npu/kernels/core_kernels.h"
#include "npu/kernels/kernel_costs.h"
#include "npu/kernels/w4a8_shape.h"

namespace tandem::npu {
namespace {

TEST(AieHost, MultipliesSignedNibblesRowMajor) {
  aie::vector<int8, 64> a{};
  aie::vector<int4, 128> b{};
  a.data[1 * 16 + 3] = -7;         // row 1, k 3
  b.data[(3 * 8 + 5) / 2] = 0x80;  // k 3, column 5: the high nibble, -8
  aie::mmul<4, 16, 8, int8, int4, acc32> product;
  product.mul(a, b);
  const auto c = product.to_vector<int16>();
  for (unsigned i = 0; i < 32; ++i) EXPECT_EQ(c.data[i], i == 1 * 8 + 5 ? 56 : 0) << i;
}

TEST(AieHost, NarrowsByRoundingDownThenSaturatingOrWrapping) {
  aie::accum<acc64, 16> sums{};
  sums.data[0] = -1;
  sums.data[1] = int64_t{1} << 40;
  aie::set_saturation(aie::saturation_mode::none);
  EXPECT_EQ(sums.to_vector<int32>(0).data[1], 0);
  EXPECT_EQ(sums.to_vector<int32>(32).data[1], 256);
  EXPECT_EQ(sums.to_vector<int32>(32).data[0], -1);
  aie::set_saturation(aie::saturation_mode::saturate);
  EXPECT_EQ(sums.to_vector<int32>(0).data[1], 0x7FFFFFFF);
  EXPECT_EQ(sums.to_vector<int8>(0).data[1], 127);
  aie::set_saturation(aie::saturation_mode::none);
}

TEST(AieHost, RoundsToBf16TiesToEven) {
  EXPECT_EQ(aie::host::to_bfloat16(1.0f).bits, 0x3F80);
  EXPECT_EQ(aie::host::to_bfloat16(std::bit_cast<float>(0x3F808000u)).bits, 0x3F80);
  EXPECT_EQ(aie::host::to_bfloat16(std::bit_cast<float>(0x3F818000u)).bits, 0x3F82);
  EXPECT_TRUE(std::isnan(aie::host::widen(aie::host::to_bfloat16(std::nanf("")))));
}

// A tile with its operands in plain arrays, packed by the layout's formulas.
struct TileCase {
  W4A8Shape shape;
  uint32_t n;                                  // of the multiply
  std::vector<int8_t> weights, weight_scales;  // [outputs][inputs], [outputs][groups]
  std::vector<int8_t> rows, row_scales;        // [rows][inputs], [rows][groups]

  uint32_t outputs() const { return shape.column_tiles * n; }
  uint32_t inputs() const { return shape.groups * 32; }
  uint32_t row_count() const { return shape.row_groups * 4; }

  static TileCase random(W4A8Shape shape, uint32_t n, uint32_t seed) {
    TileCase c{shape, n, {}, {}, {}, {}};
    std::mt19937 generator(seed);
    const auto fill = [&](std::vector<int8_t>& values, size_t count, int low, int high) {
      std::uniform_int_distribution<int> number(low, high);
      values.resize(count);
      for (int8_t& value : values) value = static_cast<int8_t>(number(generator));
    };
    fill(c.weights, size_t{c.outputs()} * c.inputs(), -8, 7);
    fill(c.weight_scales, size_t{c.outputs()} * shape.groups, -127, 127);
    fill(c.rows, size_t{c.row_count()} * c.inputs(), -127, 127);
    fill(c.row_scales, size_t{c.row_count()} * shape.groups, 0, 127);
    return c;
  }

  template <typename Scale>
  std::vector<int8_t> packed_tile() const {
    std::vector<int8_t> tile(size_t{outputs()} * inputs() / 2);
    for (uint32_t o = 0; o < outputs(); ++o)
      for (uint32_t k = 0; k < inputs(); ++k) {
        const size_t nibble = (size_t{o / n} * inputs() + k) * n + o % n;
        tile[nibble / 2] = static_cast<int8_t>(tile[nibble / 2] | (weights[o * inputs() + k] & 0x0F)
                                                                      << nibble % 2 * 4);
      }
    for (uint32_t g = 0; g < shape.groups; ++g)
      for (uint32_t o = 0; o < outputs(); ++o)
        append<Scale>(tile, weight_scales[o * shape.groups + g]);
    tile.resize((tile.size() + 63) / 64 * 64);
    return tile;
  }

  template <typename Scale>
  std::vector<int8_t> packed_rows() const {
    std::vector<int8_t> unit(size_t{row_count()} * inputs());
    for (uint32_t m = 0; m < row_count(); ++m)
      for (uint32_t k = 0; k < inputs(); ++k)
        unit[((m / 4 * shape.groups + k / 32) * 2 + k % 32 / 16) * 64 + m % 4 * 16 + k % 16] =
            rows[m * inputs() + k];
    for (uint32_t group = 0; group < shape.row_groups * shape.groups; ++group)
      for (uint32_t m = 0; m < 4; ++m)
        append<Scale>(
            unit, row_scales[(group / shape.groups * 4 + m) * shape.groups + group % shape.groups]);
    unit.resize(activation_unit_size(shape, sizeof(Scale)));
    return unit;
  }

  template <typename Scale>
  static void append(std::vector<int8_t>& bytes, int8_t value) {
    // As floats the scales are small powers-of-two multiples, like real ones not integers.
    const auto scale = static_cast<Scale>(std::is_same_v<Scale, float> ? value / 64.0 : value);
    const size_t at = bytes.size();
    bytes.resize(at + sizeof scale);
    std::memcpy(bytes.data() + at, &scale, sizeof scale);
  }

  int64_t group_sum(uint32_t m, uint32_t o, uint32_t g) const {
    int64_t sum = 0;
    for (uint32_t k = g * 32; k < (g + 1) * 32; ++k)
      sum += int64_t{weights[o * inputs() + k]} * rows[m * inputs() + k];
    return sum;
  }
  int64_t scale_product(uint32_t m, uint32_t o, uint32_t g) const {
    return int64_t{weight_scales[o * shape.groups + g]} * row_scales[m * shape.groups + g];
  }
  // Rows of each group of four that the wanted accumulators hold.
  uint32_t wanted_rows() const { return std::min(4u, shape.accumulators * 16 / n); }
  // Index of the sum of (m, o), in lanes.
  size_t lane(uint32_t m, uint32_t o) const {
    const uint32_t in_tile = m % 4 * n + o % n;
    return ((size_t{m / 4} * shape.column_tiles + o / n) * shape.accumulators + in_tile / 16) * 16 +
           in_tile % 16;
  }
  size_t lanes() const {
    return size_t{shape.row_groups} * shape.column_tiles * shape.accumulators * 16;
  }
};

struct NamedKernel {
  uint32_t n;
  W4A8TileKernel *integer, *exact;
};
constexpr NamedKernel kKernels[] = {{8, w4a8_integer_n8, w4a8_exact_n8},
                                    {16, w4a8_integer_n16, w4a8_exact_n16}};

std::vector<W4A8Shape> shapes(uint32_t n) {
  return {{1, 4, 32 / n, 1},     {1, 4, 32 / n, 4 * n / 16},  {1, 3, 1, 1},
          {1, 1, 3, 4 * n / 16}, {16, 4, 32 / n, 4 * n / 16}, {4, 2, 2, 4 * n / 16}};
}

TEST(W4A8Kernel, IntegerSumsEqualTheScalarDefinition) {
  for (const NamedKernel& kernel : kKernels)
    for (const W4A8Shape shape : shapes(kernel.n)) {
      const TileCase c = TileCase::random(shape, kernel.n, 11);
      const std::vector<int8_t> tile = c.packed_tile<int8_t>(), unit = c.packed_rows<int8_t>();
      std::vector<int64_t> sums(c.lanes(), 5);  // the call adds
      auto* words = reinterpret_cast<int32_t*>(sums.data());
      kernel.integer(tile.data(), unit.data(), words, 0, pack_shape(shape));
      std::vector<int32_t> results(c.lanes() * 2);
      w4a8_flush_integer(words, results.data(), static_cast<int32_t>(c.lanes() * 8));
      for (uint32_t m = 0; m < c.row_count(); ++m)
        for (uint32_t o = 0; o < c.outputs() && m % 4 < c.wanted_rows(); ++o) {
          int64_t want = 5;
          for (uint32_t g = 0; g < shape.groups; ++g)
            want += c.group_sum(m, o, g) * c.scale_product(m, o, g);
          const size_t lane = c.lane(m, o), low = lane / 16 * 32 + lane % 16;
          const int64_t got =
              int64_t{results[low + 16]} * (int64_t{1} << 32) + static_cast<uint32_t>(results[low]);
          ASSERT_EQ(got, want) << "n " << kernel.n << " row " << m << " output " << o;
        }
    }
}

TEST(W4A8Kernel, LargestSumsDoNotOverflow) {
  TileCase c = TileCase::random({1, 4, 4, 2}, 8, 1);
  c.weights.assign(c.weights.size(), -8);
  c.weight_scales.assign(c.weight_scales.size(), -127);
  c.rows.assign(c.rows.size(), 127);
  c.row_scales.assign(c.row_scales.size(), 127);
  const std::vector<int8_t> tile = c.packed_tile<int8_t>(), unit = c.packed_rows<int8_t>();
  std::vector<int64_t> sums(c.lanes());
  for (int i = 0; i < 42; ++i)  // K = 5376
    w4a8_integer_n8(tile.data(), unit.data(), reinterpret_cast<int32_t*>(sums.data()), 0,
                    pack_shape(c.shape));
  EXPECT_EQ(sums[0], int64_t{168} * 32 * 8 * 127 * 127 * 127);
}

TEST(W4A8Kernel, ExactScalesFollowTheScalarDefinition) {
  for (const NamedKernel& kernel : kKernels)
    for (const W4A8Shape shape : shapes(kernel.n)) {
      const TileCase c = TileCase::random(shape, kernel.n, 12);
      const std::vector<int8_t> tile = c.packed_tile<float>(), unit = c.packed_rows<float>();
      std::vector<float> sums(c.lanes(), 0);
      auto* words = reinterpret_cast<int32_t*>(sums.data());
      kernel.exact(tile.data(), unit.data(), words, 0, pack_shape(shape));
      for (uint32_t m = 0; m < c.row_count(); ++m)
        for (uint32_t o = 0; o < c.outputs() && m % 4 < c.wanted_rows(); ++o) {
          double want = 0, magnitude = 0;
          for (uint32_t g = 0; g < shape.groups; ++g) {
            const auto term = static_cast<double>(c.group_sum(m, o, g) * c.scale_product(m, o, g));
            want += term / 4096;
            magnitude += std::abs(term) / 4096;
          }
          float got;
          std::memcpy(&got, words + c.lane(m, o), sizeof got);
          // One rounding of the scale product, one of the product, one of each addition.
          ASSERT_NEAR(got, want, magnitude * (shape.groups + 2) * 0x1p-24);
        }
    }
}

TEST(W4A8Kernel, StepChoosesTheUnit) {
  const TileCase c = TileCase::random({1, 2, 1, 2}, 8, 13);
  const std::vector<int8_t> tile = c.packed_tile<int8_t>(), unit = c.packed_rows<int8_t>();
  std::vector<int8_t> units(3 * unit.size(), 0);
  std::copy(unit.begin(), unit.end(), units.begin() + static_cast<ptrdiff_t>(2 * unit.size()));
  std::vector<int64_t> direct(c.lanes()), stepped(c.lanes());
  const int32_t shape = pack_shape(c.shape);
  w4a8_integer_n8(tile.data(), unit.data(), reinterpret_cast<int32_t*>(direct.data()), 0, shape);
  w4a8_integer_n8(tile.data(), units.data(), reinterpret_cast<int32_t*>(stepped.data()), 2, shape);
  EXPECT_EQ(direct, stepped);
  EXPECT_NE(direct[0], 0);
}

TEST(W4A8Kernel, LoadsAndClears) {
  std::vector<int8_t> packed(96, 3), activations(3 * 96, 0);
  w4a8_load_activations(packed.data(), activations.data(), 1, 96);
  for (size_t i = 0; i < activations.size(); ++i)
    EXPECT_EQ(activations[i], i >= 96 && i < 192 ? 3 : 0) << i;
  std::vector<int32_t> sums(48, 7);
  w4a8_clear(sums.data(), 128);
  for (size_t i = 0; i < sums.size(); ++i) EXPECT_EQ(sums[i], i < 32 ? 0 : 7) << i;
}

// ---- GEMM

template <typename T>
size_t blocked(uint32_t row, uint32_t column, uint32_t columns, uint32_t r, uint32_t s) {
  return ((row / r * (columns / s) + column / s) * r + row % r) * s + column % s;
}

template <typename Out>
void expect_gemm(GemmKernel* kernel, uint32_t r, uint32_t t) {
  constexpr uint32_t kM = 24, kK = 32, kN = 40, kS = 8;  // odd and even counts of blocks
  std::mt19937 random(21);
  std::uniform_int_distribution<int> number(-128, 127);
  std::vector<int8_t> a(kM * kK), b(kN * kK);
  for (int8_t& value : a) value = static_cast<int8_t>(number(random));
  for (int8_t& value : b) value = static_cast<int8_t>(number(random));
  std::vector<Out> c(kM * kN, 3);
  kernel(a.data(), b.data(), c.data(), kM, kK, kN);
  using Limits = std::numeric_limits<Out>;
  for (uint32_t m = 0; m < kM; ++m)
    for (uint32_t n = 0; n < kN; ++n) {
      int64_t want = 3;
      for (uint32_t k = 0; k < kK; ++k)
        want += int64_t{a[blocked<int8_t>(m, k, kK, r, kS)]} * b[blocked<int8_t>(n, k, kK, t, kS)];
      want = std::clamp<int64_t>(want, Limits::min(), Limits::max());
      ASSERT_EQ(c[blocked<Out>(m, n, kN, r, t)], want) << m << ", " << n;
    }
}

TEST(GemmKernel, IntegerSumsEqualTheScalarDefinition) {
  expect_gemm<int8_t>(gemm_int8_int8_4x8x8, 4, 8);
  expect_gemm<int16_t>(gemm_int8_int16_4x8x8, 4, 8);
  expect_gemm<int32_t>(gemm_int8_int32_4x8x8, 4, 8);
  expect_gemm<int8_t>(gemm_int8_int8_8x8x8, 8, 8);
  expect_gemm<int16_t>(gemm_int8_int16_8x8x8, 8, 8);
  expect_gemm<int32_t>(gemm_int8_int32_8x8x8, 8, 8);
}

void expect_bf16_gemm(GemmKernel* kernel, uint32_t r, uint32_t t) {
  constexpr uint32_t kM = 16, kK = 16, kN = 24, kS = 8;
  std::mt19937 random(22);
  std::normal_distribution<float> normal;
  std::vector<bfloat16> a(kM * kK), b(kN * kK), c(kM * kN);
  for (bfloat16& value : a) value = aie::host::to_bfloat16(normal(random));
  for (bfloat16& value : b) value = aie::host::to_bfloat16(normal(random));
  kernel(a.data(), b.data(), c.data(), kM, kK, kN);
  for (uint32_t m = 0; m < kM; ++m)
    for (uint32_t n = 0; n < kN; ++n) {
      double want = 0, magnitude = 0;
      for (uint32_t k = 0; k < kK; ++k) {
        const double term = double{aie::host::widen(a[blocked<bfloat16>(m, k, kK, r, kS)])} *
                            double{aie::host::widen(b[blocked<bfloat16>(n, k, kK, t, kS)])};
        want += term;
        magnitude += std::abs(term);
      }
      // Half a unit in the last place of bf16 and the float32 additions.
      ASSERT_NEAR(aie::host::widen(c[blocked<bfloat16>(m, n, kN, r, t)]), want,
                  std::abs(want) * 0x1p-8 + magnitude * (kK + 1) * 0x1p-24);
    }
}

TEST(GemmKernel, Bf16SumsFollowTheScalarDefinition) {
  expect_bf16_gemm(gemm_bf16_bf16_4x8x4, 4, 4);
  expect_bf16_gemm(gemm_bf16_bf16_8x8x8, 8, 8);
}

// ---- costs

// The published cycles of a group: 29 bundles for all four rows; 12 more tiles cost 12 times that.
TEST(KernelCosts, FollowThePublishedBundleCounts) {
  const auto groups = [](uint32_t count) {
    return static_cast<double>(w4a8_integer_cycles({1, count, 1, 2}));
  };
  EXPECT_NEAR((groups(200) - groups(100)) / 100, 29 * 1.09, 0.05);
}

// MACs per cycle of one core as "Striking the Balance" measured them on XDNA.
TEST(KernelCosts, ReproduceTheMeasuredGemmRates) {
  const auto rate = [](GemmCallShape shape) {
    return 1.0 * shape.m * shape.k * shape.n / static_cast<double>(gemm_cycles(shape));
  };
  EXPECT_NEAR(rate({64, 232, 64, 4, 8, 8, 1, 11.4}), 233.0, 1);
  EXPECT_NEAR(rate({64, 216, 64, 4, 8, 8, 1, 19.1}), 217.6, 1);
  EXPECT_NEAR(rate({48, 280, 48, 4, 8, 8, 1, 46.7}), 192.0, 1);
  EXPECT_NEAR(rate({64, 104, 64, 4, 8, 4, 1, 7.1}), 112.6, 1);
}

}  // namespace
}  // namespace tandem::npu

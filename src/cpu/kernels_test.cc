// What the kernels state of themselves beyond what tests/conformance checks of whole ops.
// SPDX-License-Identifier: Apache-2.0
#include "cpu/kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "base/error.h"
#include "cpu/isa.h"

namespace tandem::cpu {
namespace {

class VectorKernels : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    try {
      kernels_ = &choose_kernels(GetParam());
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
  }
  const Kernels* kernels_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Isa, VectorKernels, ::testing::Values("avx2", "avx512"));

// combine() of a state of sum 1 and one with value 1 at score x < 0 is e^x.
TEST_P(VectorKernels, ExponentialIsWithinItsStatedError) {
  constexpr uint32_t kDim = 32;
  std::vector<float> states(2 * attention_state_size(kDim)), out(kDim);
  states[1] = 1;
  float* second = states.data() + attention_state_size(kDim);
  second[kStateHeader] = 1;
  double worst = 0;
  for (double x = 0; x > -87; x -= 1.7e-4) {
    second[0] = static_cast<float>(x);
    kernels_->combine(out.data(), states.data(), attention_state_size(kDim), 2, kDim);
    const double want = std::exp(static_cast<double>(second[0]));
    worst = std::max(worst, std::fabs(static_cast<double>(out[0]) - want) / want);
  }
  EXPECT_LT(worst, 1.3e-7);
  for (const float x : {-88.0f, -1000.0f, -std::numeric_limits<float>::infinity()}) {
    second[0] = x;
    kernels_->combine(out.data(), states.data(), attention_state_size(kDim), 2, kDim);
    EXPECT_EQ(out[0], 0) << x;
  }
}

struct Quantized {
  explicit Quantized(size_t count)
      : quants(count),
        scales(count / 32),
        scaled_sums(count / 32),
        minus_sums(count / 32),
        minus_halves(count / 16) {}
  QuantizedRows rows() {
    return {quants.data(), scales.data(), scaled_sums.data(), minus_sums.data(),
            minus_halves.data()};
  }
  bool operator==(const Quantized&) const = default;

  std::vector<int8_t> quants;
  std::vector<float> scales, scaled_sums;
  std::vector<int32_t> minus_sums, minus_halves;
};

TEST_P(VectorKernels, QuantizeToTheSameBitsAsTheScalarKernel) {
  constexpr uint32_t kCount = 4096;
  std::mt19937 random(1);
  std::normal_distribution<float> values(0, 3);
  std::vector<float> x(kCount);
  for (float& v : x) v = values(random);
  for (size_t i = 0; i < 32; ++i) x[i] = 0;      // no scale
  for (size_t i = 32; i < 64; ++i) x[i] = 0.5f;  // ties
  x[64] = 254;                                   // largest / 127 = 2: more ties
  for (size_t i = 65; i < 96; ++i) x[i] = static_cast<float>(i);
  for (size_t i = 96; i < 128; ++i) x[i] *= 1e-30f;
  Quantized want(kCount), got(kCount);
  scalar_kernels().quantize(want.rows(), x.data(), kCount);
  kernels_->quantize(got.rows(), x.data(), kCount);
  EXPECT_TRUE(got == want);
}

TEST_P(VectorKernels, GegluKeepsItsEnds) {
  const std::vector<float> gate = {-1e30f, -100, -20, 0, 20, 100, 1e30f, std::nanf("")};
  const std::vector<float> up(gate.size(), 1.0f);
  std::vector<float> out(gate.size());
  kernels_->geglu(out.data(), gate.data(), up.data(), static_cast<uint32_t>(gate.size()));
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(out[i], 0, 1e-7) << gate[i];
  for (size_t i = 4; i < 7; ++i) EXPECT_FLOAT_EQ(out[i], gate[i]);
  EXPECT_TRUE(std::isnan(out[7]));
}

TEST_P(VectorKernels, ArgmaxTakesTheLowestOfEqualLogits) {
  for (const uint32_t count : {1u, 7u, 16u, 33u, 100u})
    for (uint32_t at = 0; at < count; ++at) {
      std::vector<float> x(count, -5.0f);
      for (uint32_t i = at; i < count; i += 3) x[i] = -1.0f;
      ASSERT_EQ(kernels_->argmax(x.data(), count), at) << count;
    }
}

}  // namespace
}  // namespace tandem::cpu

// SPDX-License-Identifier: Apache-2.0
#include "tensor/half.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "tensor/bf16.h"

namespace tandem {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The definition of binary16 in double arithmetic, for finite values.
double value_of_half(uint32_t half) {
  const int exponent = static_cast<int>((half >> 10) & 31);
  const double mantissa = half & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

TEST(Half, WidensEveryFiniteValueExactly) {
  for (uint32_t half = 0; half < 65536; ++half) {
    if (((half >> 10) & 31) == 31) continue;
    const float got = f16_to_f32(static_cast<uint16_t>(half));
    ASSERT_EQ(static_cast<double>(got), value_of_half(half)) << half;
    ASSERT_EQ(std::signbit(got), half >= 0x8000) << half;
  }
}

TEST(Half, WidensInfinityAndNan) {
  EXPECT_EQ(f16_to_f32(0x7C00), kInfinity);
  EXPECT_EQ(f16_to_f32(0xFC00), -kInfinity);
  for (uint32_t half = 0x7C01; half < 0x8000; ++half)
    ASSERT_TRUE(std::isnan(f16_to_f32(static_cast<uint16_t>(half)))) << half;
}

// Every boundary between two neighbours: their middle goes to the even one, what lies next to the
// middle to the nearer one.
TEST(Half, RoundsToNearestEven) {
  for (uint32_t low = 0; low < 0x7BFF; ++low) {
    const double middle = (value_of_half(low) + value_of_half(low + 1)) / 2;
    const float exact = static_cast<float>(middle);
    ASSERT_EQ(static_cast<double>(exact), middle);
    const uint32_t even = low % 2 == 0 ? low : low + 1;
    ASSERT_EQ(f32_to_f16(exact), even) << low;
    ASSERT_EQ(f32_to_f16(-exact), even | 0x8000) << low;
    ASSERT_EQ(f32_to_f16(std::nextafter(exact, 0.0f)), low) << low;
    ASSERT_EQ(f32_to_f16(std::nextafter(exact, kInfinity)), low + 1) << low;
  }
}

TEST(Half, NarrowsItsOwnValuesBack) {
  for (uint32_t half = 0; half < 65536; ++half) {
    const auto bits = static_cast<uint16_t>(half);
    const bool nan = (half & 0x7FFF) > 0x7C00;
    // A signalling NaN becomes quiet.
    ASSERT_EQ(f32_to_f16(f16_to_f32(bits)), nan ? bits | 0x0200 : bits);
  }
}

TEST(Half, OverflowsToInfinityFromHalfAStepOn) {
  EXPECT_EQ(f32_to_f16(65504.0f), 0x7BFF);
  EXPECT_EQ(f32_to_f16(std::nextafter(65520.0f, 0.0f)), 0x7BFF);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7C00);
  EXPECT_EQ(f32_to_f16(-65520.0f), 0xFC00);
  EXPECT_EQ(f32_to_f16(std::numeric_limits<float>::max()), 0x7C00);
  EXPECT_EQ(f32_to_f16(kInfinity), 0x7C00);
  EXPECT_EQ(f32_to_f16(std::numeric_limits<float>::denorm_min()), 0x0000);
}

TEST(Bf16, RoundsToNearestEven) {
  for (uint32_t low = 0; low < 0x7F7F; ++low) {
    const float exact = std::bit_cast<float>((low << 16) | 0x8000u);
    const uint32_t even = low % 2 == 0 ? low : low + 1;
    ASSERT_EQ(f32_to_bf16(exact), even) << low;
    ASSERT_EQ(f32_to_bf16(-exact), even | 0x8000) << low;
    ASSERT_EQ(f32_to_bf16(std::nextafter(exact, 0.0f)), low) << low;
    ASSERT_EQ(f32_to_bf16(std::nextafter(exact, kInfinity)), low + 1) << low;
  }
}

TEST(Bf16, WidensExactly) {
  EXPECT_EQ(bf16_to_f32(0x3F80), 1.0f);
  EXPECT_EQ(bf16_to_f32(0xC040), -3.0f);
  EXPECT_EQ(bf16_to_f32(0x0001), std::ldexp(1.0f, -133));
  EXPECT_EQ(bf16_to_f32(0xFF80), -kInfinity);
}

TEST(Bf16, KeepsInfinityAndNan) {
  EXPECT_EQ(f32_to_bf16(-kInfinity), 0xFF80);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::max()), 0x7F80);
  // The only set bit of this NaN's payload is lost in rounding; it must not become infinity.
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(std::bit_cast<float>(0x7F800001u)))));
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(std::bit_cast<float>(0xFFFFFFFFu)))));
}

}  // namespace
}  // namespace tandem

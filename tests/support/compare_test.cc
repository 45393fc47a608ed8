// SPDX-License-Identifier: Apache-2.0
#include "support/compare.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace tandem {
namespace {

constexpr Bound kBound = {1e-3, 0, 5e-4};

Expected ones(size_t count) {
  Expected want;
  for (size_t i = 0; i < count; ++i) want.push(1.0, 1.0);
  return want;
}

TEST(Compare, AcceptsWhatIsWithinTheBound) {
  const std::vector<float> got = {1.0f, 1.0004f, 0.9996f};
  const Comparison result = compare(got, ones(3), kBound);
  EXPECT_TRUE(result.ok) << result.message;
  EXPECT_NEAR(result.worst_share, 0.4, 0.01);
}

TEST(Compare, NamesTheWorstElement) {
  const std::vector<float> got = {1.002f, 1.0f, 0.99f, 1.0f};
  const Comparison result = compare(got, ones(4), kBound);
  EXPECT_FALSE(result.ok);
  EXPECT_EQ(result.worst, 2u);
  EXPECT_EQ(result.outside, 2u);
  EXPECT_NE(result.message.find("[2]: got 0.99"), std::string::npos) << result.message;
}

TEST(Compare, BoundGrowsWithTheMagnitude) {
  Expected want;
  want.push(1.0, 100.0);
  EXPECT_TRUE(compare(std::vector<float>{1.04f}, want, kBound).ok);
  EXPECT_FALSE(compare(std::vector<float>{1.2f}, want, kBound).ok);
}

TEST(Compare, ZeroMagnitudeAllowsOnlyTiny) {
  Expected want;
  want.push(0.0, 0.0);
  EXPECT_TRUE(compare(std::vector<float>{0.0f}, want, kBound).ok);
  EXPECT_FALSE(compare(std::vector<float>{1e-30f}, want, kBound).ok);
  EXPECT_TRUE(compare(std::vector<float>{1e-30f}, want, {0, 1e-20, 0}).ok);
}

TEST(Compare, RefusesNanInfinityAndCanary) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity(), std::bit_cast<float>(kCanary)}) {
    const Comparison result = compare(std::vector<float>{1.0f, bad}, ones(2), {1e9, 1e9, 1e9});
    EXPECT_FALSE(result.ok);
    EXPECT_EQ(result.worst, 1u);
  }
  const Comparison unwritten =
      compare(std::vector<float>{std::bit_cast<float>(kCanary)}, ones(1), kBound);
  EXPECT_NE(unwritten.message.find("never written"), std::string::npos);
}

TEST(Compare, RefusesTheWrongSize) {
  EXPECT_FALSE(compare(std::vector<float>{1.0f}, ones(2), kBound).ok);
  EXPECT_FALSE(compare(std::vector<float>{1.0f, 1.0f, 1.0f}, ones(2), kBound).ok);
}

TEST(Compare, RefusesABiasThatEachElementWouldBeAllowed) {
  const std::vector<float> got(1000, 1.0009f);
  const Comparison result = compare(got, ones(1000), kBound);
  EXPECT_EQ(result.outside, 0u);
  EXPECT_FALSE(result.ok);
}

}  // namespace
}  // namespace tandem

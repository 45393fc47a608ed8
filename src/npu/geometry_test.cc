// Tests of the geometry table against published figures.
// SPDX-License-Identifier: Apache-2.0
#include "npu/geometry.h"

#include <gtest/gtest.h>

#include <array>

namespace tandem::npu {
namespace {

TEST(Geometry, RowsAreIndexedByGeneration) {
  for (const Geometry& row : geometries()) EXPECT_EQ(geometry_of(row.generation).name, row.name);
}

TEST(Geometry, CountsCoresAndKinds) {
  EXPECT_EQ(geometry_of(Generation::kNpu1).cores(), 16u);
  EXPECT_EQ(geometry_of(Generation::kNpu2).cores(), 32u);
  const Geometry& npu1 = geometry_of(Generation::kNpu1);
  EXPECT_EQ(npu1.kind_of_row(0), TileKind::kShim);
  EXPECT_EQ(npu1.kind_of_row(1), TileKind::kMem);
  EXPECT_EQ(npu1.kind_of_row(5), TileKind::kCore);
  EXPECT_EQ(npu1.tile(TileKind::kMem).memory, 524288u);
}

TEST(Geometry, KnowsColumnSubsets) {
  uint32_t columns = 0;
  ASSERT_NE(find_geometry("npu1", &columns), nullptr);
  EXPECT_EQ(columns, 4u);
  ASSERT_EQ(find_geometry("npu1_4col", &columns), find_geometry("npu1"));
  EXPECT_EQ(columns, 4u);
  ASSERT_NE(find_geometry("npu2_7col", &columns), nullptr);
  EXPECT_EQ(columns, 7u);
  ASSERT_NE(find_geometry("npu1_1col", &columns), nullptr);
  EXPECT_EQ(columns, 1u);
  for (const char* name : {"npu1_5col", "npu1_0col", "npu3", "", "npu2_9col"})
    EXPECT_EQ(find_geometry(name), nullptr) << name;
}

// Read bandwidth at 1 GiB on a Ryzen 7 8700G at 1.797 GHz, as ignite-xdna published it.
TEST(Geometry, BandwidthLawReproducesTheMeasuredChannels) {
  struct Point {
    uint32_t channels;
    double gigabytes_per_second;
  };
  constexpr std::array kMeasured = {Point{1, 7.11}, Point{2, 14.00}, Point{4, 27.49},
                                    Point{6, 38.47}, Point{8, 47.62}};
  const Geometry& npu1 = geometry_of(Generation::kNpu1);
  for (const Point& point : kMeasured)
    EXPECT_NEAR(read_bandwidth(npu1, point.channels, 1.797e9) / 1e9, point.gigabytes_per_second,
                0.01 * point.gigabytes_per_second)
        << point.channels << " channels";
  EXPECT_EQ(read_bandwidth(npu1, 0, 1.797e9), 0);
}

// 57 to 63 GB/s is what is published for XDNA2, whatever the number of columns.
TEST(Geometry, BandwidthOfTheSecondGenerationIsCapped) {
  const Geometry& npu2 = geometry_of(Generation::kNpu2);
  for (const uint32_t channels : {8u, 16u}) {
    const double rate = read_bandwidth(npu2, channels, 1.8e9);
    EXPECT_GT(rate, 55e9);
    EXPECT_LT(rate, 63e9);
  }
}

}  // namespace
}  // namespace tandem::npu

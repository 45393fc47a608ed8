// Tests of the weight and activation layouts: bytes as the diagrams say, nothing lost on the way.
// SPDX-License-Identifier: Apache-2.0
#include "npu/int4_layout.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/error.h"
#include "npu/projection_layout.h"
#include "tensor/half.h"
#include "tensor/quant_q4_0.h"
#include "tensor/quantize.h"

namespace tandem::npu {
namespace {

const Geometry& npu1() { return geometry_of(Generation::kNpu1); }

struct Shape {
  const char* model;
  uint32_t outputs, inputs;
};
// qkv and out of every Gemma 3 size, the story model and the tiny ones.
constexpr Shape kShapes[] = {
    {"270m qkv", 1536, 640}, {"270m out", 640, 1024}, {"1b qkv", 1536, 1152},
    {"1b out", 1152, 1024},  {"4b qkv", 4096, 2560},  {"4b out", 2560, 2048},
    {"12b qkv", 8192, 3840}, {"12b out", 3840, 4096}, {"27b qkv", 8192, 5376},
    {"27b out", 5376, 4096}, {"story qkv", 512, 256}, {"story out", 256, 256},
    {"tiny qkv", 192, 96},   {"tiny out", 96, 128},   {"one group", 8, 32}};

std::vector<BlockQ4_0> random_blocks(uint32_t outputs, uint32_t inputs, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> scale(0, 0.02f);
  std::vector<BlockQ4_0> blocks(size_t{outputs} * inputs / kGroupSize);
  for (BlockQ4_0& block : blocks) {
    block.scale = f32_to_f16(scale(random));
    for (uint8_t& nibbles : block.nibbles) nibbles = static_cast<uint8_t>(random());
  }
  return blocks;
}

TensorView view(const std::vector<BlockQ4_0>& blocks, uint32_t outputs, uint32_t inputs) {
  return view_of_bytes(reinterpret_cast<const std::byte*>(blocks.data()), DType::kQ4_0,
                       {1, outputs, inputs});
}

std::span<std::byte> bytes_of(std::vector<BlockQ4_0>& blocks) {
  return std::as_writable_bytes(std::span(blocks));
}

TEST(Int4Layout, TilesEveryModelWithinTheLimits) {
  for (const Geometry& geometry : geometries())
    for (const Shape& shape : kShapes)
      for (const ScaleMode scales : {ScaleMode::kInteger, ScaleMode::kExact}) {
        const Int4Layout layout =
            choose_int4_layout(geometry, geometry.columns, shape.outputs, shape.inputs, scales);
        SCOPED_TRACE(std::string(shape.model) + " on " + std::string(geometry.name));
        EXPECT_EQ(layout.tile_depth * layout.steps, shape.inputs);
        EXPECT_EQ(layout.tile_depth % kGroupSize, 0u);
        EXPECT_EQ(layout.tile_rows % geometry.int8_int4_mmul.n, 0u);
        EXPECT_GE(layout.padded_outputs(), shape.outputs);
        EXPECT_EQ(layout.tile_size() % 64, 0u);
        EXPECT_LE(layout.tile_size() / kWordSize, geometry.shim.max_wrap);
      }
}

// Weights per byte: the large models on npu1 stream 17 bytes per group with integer scales, less
// than the file's 18.
TEST(Int4Layout, StreamsNoMoreThanTheFileOnTheLargeModels) {
  for (const auto& [outputs, inputs] : {std::pair{4096u, 2560u}, {8192u, 5376u}, {5376u, 4096u}}) {
    const Int4Layout layout = choose_int4_layout(npu1(), 4, outputs, inputs, ScaleMode::kInteger);
    const double q4_0 = 1.0 * outputs * inputs / kGroupSize * sizeof(BlockQ4_0);
    EXPECT_LT(static_cast<double>(layout.weights_size()), q4_0) << outputs << " x " << inputs;
  }
}

TEST(Int4Layout, PlacesNibblesAndScalesAsTheDiagramSays) {
  const Int4Layout layout = choose_int4_layout(npu1(), 1, 32, 64, ScaleMode::kExact);
  ASSERT_EQ(layout.tile_rows, 8u);
  ASSERT_EQ(layout.tile_depth, 64u);
  std::vector<BlockQ4_0> blocks(32 * 2, BlockQ4_0{f32_to_f16(1), {}});
  for (BlockQ4_0& block : blocks) std::memset(block.nibbles, 0x88, 16);  // all zero
  // Output 11 is row 3 of core 1. Input 32 + 16 + 5 is group 1, half 1, row 5: a high nibble.
  blocks[11 * 2 + 1].nibbles[5] = 0x38;  // -5 in the high nibble
  blocks[11 * 2 + 1].scale = f32_to_f16(0.25f);
  std::vector<std::byte> packed(layout.weights_size());
  std::vector<float> row_scales(32);
  const TensorView tensor = view(blocks, 32, 64);
  pack_weights(layout, {&tensor, 1}, packed, row_scales);

  const std::byte* tile = packed.data() + layout.tile_size();  // core 1 follows core 0
  const size_t byte = (32 + 16 + 5) * 4 + 3 / 2;               // 8 nibbles to an input
  for (size_t i = 0; i < 256; ++i)
    EXPECT_EQ(tile[i], i == byte ? std::byte{0xB0} : std::byte{0}) << i;  // -5 is 0xB
  float scale;
  std::memcpy(&scale, tile + 256 + (1 * 8 + 3) * 4, 4);
  EXPECT_EQ(scale, 0.25f);
}

TEST(Int4Layout, ExactScalesLoseNothing) {
  for (const Geometry& geometry : geometries())
    for (const Shape& shape : kShapes) {
      if (shape.outputs > 2000) continue;
      std::vector<BlockQ4_0> blocks = random_blocks(shape.outputs, shape.inputs, 1);
      const Int4Layout layout = choose_int4_layout(geometry, geometry.columns, shape.outputs,
                                                   shape.inputs, ScaleMode::kExact);
      std::vector<std::byte> packed(layout.weights_size());
      std::vector<float> row_scales(shape.outputs);
      const TensorView tensor = view(blocks, shape.outputs, shape.inputs);
      const PackReport report = pack_weights(layout, {&tensor, 1}, packed, row_scales);
      EXPECT_FALSE(report.requantized);
      EXPECT_EQ(report.scale_error, 0);
      std::vector<BlockQ4_0> back(blocks.size());
      unpack_weights(layout, packed, row_scales, bytes_of(back));
      EXPECT_EQ(std::memcmp(back.data(), blocks.data(), blocks.size() * sizeof(BlockQ4_0)), 0)
          << shape.model << " on " << geometry.name;
    }
}

TEST(Int4Layout, IntegerScalesKeepNibblesAndRoundScales) {
  std::vector<BlockQ4_0> blocks = random_blocks(512, 256, 2);
  const Int4Layout layout = choose_int4_layout(npu1(), 4, 512, 256, ScaleMode::kInteger);
  std::vector<std::byte> packed(layout.weights_size());
  std::vector<float> row_scales(512);
  const TensorView tensor = view(blocks, 512, 256);
  const PackReport report = pack_weights(layout, {&tensor, 1}, packed, row_scales);
  EXPECT_GT(report.scale_error, 0);
  EXPECT_LT(report.scale_error, 0.01);
  std::vector<BlockQ4_0> back(blocks.size());
  unpack_weights(layout, packed, row_scales, bytes_of(back));
  for (size_t i = 0; i < blocks.size(); ++i) {
    ASSERT_EQ(std::memcmp(back[i].nibbles, blocks[i].nibbles, 16), 0) << "block " << i;
    // Half a step of D, and the rounding to f16.
    const float want = f16_to_f32(blocks[i].scale);
    EXPECT_NEAR(f16_to_f32(back[i].scale), want,
                0.501f * row_scales[i / 8] + std::abs(want) / 1024);
  }
}

TEST(Int4Layout, TakesSeveralTensorsAsOneMatrix) {
  std::vector<BlockQ4_0> blocks = random_blocks(64, 96, 3);
  const Int4Layout layout = choose_int4_layout(npu1(), 4, 64, 96, ScaleMode::kInteger);
  const TensorView whole = view(blocks, 64, 96);
  const std::vector<TensorView> parts = {whole.slice_rows(0, 32), whole.slice_rows(32, 16),
                                         whole.slice_rows(48, 16)};
  std::vector<std::byte> one(layout.weights_size()), three(layout.weights_size());
  std::vector<float> scales_one(64), scales_three(64);
  pack_weights(layout, {&whole, 1}, one, scales_one);
  pack_weights(layout, parts, three, scales_three);
  EXPECT_EQ(one, three);
  EXPECT_EQ(scales_one, scales_three);
}

TEST(Int4Layout, ReportsTheErrorOfRequantisation) {
  std::mt19937 random(4);
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<float> weights(64 * 64);
  for (float& weight : weights) weight = normal(random);
  const TensorView tensor =
      view_of_bytes(reinterpret_cast<const std::byte*>(weights.data()), DType::kF32, {1, 64, 64});
  const Int4Layout layout = choose_int4_layout(npu1(), 4, 64, 64, ScaleMode::kExact);
  std::vector<std::byte> packed(layout.weights_size());
  std::vector<float> row_scales(64);
  const PackReport report = pack_weights(layout, {&tensor, 1}, packed, row_scales);
  EXPECT_TRUE(report.requantized);
  // A normal distribution in 4 bits per group of 32: some 8 %.
  EXPECT_GT(report.requantization_error, 0.05);
  EXPECT_LT(report.requantization_error, 0.12);
}

TEST(Int4Layout, RejectsInputsThatAreNotWholeGroups) {
  EXPECT_THROW(choose_int4_layout(npu1(), 4, 64, 100, ScaleMode::kInteger), Error);
  EXPECT_THROW(choose_int4_layout(npu1(), 4, 64, 0, ScaleMode::kInteger), Error);
}

TEST(ProjectionLayout, TakesOnlyRowsTheDesignsHave) {
  const Int4Layout weights = choose_int4_layout(npu1(), 4, 512, 256, ScaleMode::kInteger);
  EXPECT_THROW(projection_layout(weights, Phase::kDecode, 0), Error);
  EXPECT_THROW(projection_layout(weights, Phase::kDecode, 5), Error);
  EXPECT_THROW(projection_layout(weights, Phase::kPrefill, 20), Error);
  EXPECT_THROW(projection_layout(weights, Phase::kPrefill, 272), Error);
  EXPECT_EQ(projection_layout(weights, Phase::kPrefill, 256).row_groups, 16u);
}

TEST(ProjectionLayout, EveryShapeHasRoomForItsActivations) {
  for (const Geometry& geometry : geometries())
    for (const Shape& shape : kShapes)
      for (const ScaleMode scales : {ScaleMode::kInteger, ScaleMode::kExact}) {
        const ProjectionLayout layout = projection_layout(
            choose_int4_layout(geometry, geometry.columns, shape.outputs, shape.inputs, scales),
            Phase::kDecode, 1);
        EXPECT_GE(layout.slots * layout.slot_units, layout.weights.steps) << shape.model;
        EXPECT_LE(layout.slot_units * layout.unit_size(), layout.weights.tile_size());
      }
}

// Quantising to int8 with group scales of 8 bits: half a step of the group's largest value, and
// what rounding the scale up costs.
TEST(ProjectionLayout, ActivationsComeBackWithinHalfAStep) {
  const ProjectionLayout layout = projection_layout(
      choose_int4_layout(npu1(), 4, 64, 128, ScaleMode::kInteger), Phase::kDecode, 2);
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> x(2 * 128);
  for (float& value : x) value = normal(random);
  x[37] = 40;  // an outlier that makes the other groups' scales small integers
  std::vector<std::byte> packed(layout.activations_size());
  std::vector<float> row_scales(2);
  pack_activations(layout, reinterpret_cast<const std::byte*>(x.data()), 128 * 4, 2, packed,
                   row_scales);
  for (uint32_t row = 0; row < 2; ++row)
    for (uint32_t k = 0; k < 128; ++k) {
      const uint32_t group = k / 32, half = k % 32 / 16;
      const auto q = static_cast<int8_t>(packed[group * 128 + half * 64 + row * 16 + k % 16]);
      const auto t = static_cast<int8_t>(packed[4 * 128 + group * 4 + row]);
      const float step = row_scales[row] * static_cast<float>(t);
      EXPECT_NEAR(step * static_cast<float>(q), x[row * 128 + k], 0.5001f * step)
          << row << ", " << k;
    }
  // Both cores of a stream get the same.
  EXPECT_EQ(std::memcmp(packed.data(), packed.data() + layout.weights.tile_size(),
                        layout.weights.tile_size()),
            0);
}

}  // namespace
}  // namespace tandem::npu

// SPDX-License-Identifier: Apache-2.0
#include "tensor/quantize.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "tensor/quant_k_scales.h"

namespace tandem {
namespace {

// One line of testdata/quant_blocks.txt: a block that llama-quantize (Debian llama.cpp 11669,
// --pure) made from 32 or 256 weights of a trained model, the weights (bf16), and the block's
// values as gguf-py's gguf.quants.dequantize computes them. All little-endian, in hexadecimal:
// "type weights block values".
struct Fixture {
  DType dtype;
  std::vector<float> weights;
  std::vector<std::byte> block;
  std::vector<float> values;
};

std::vector<std::byte> from_hex(const std::string& text) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(text.substr(i, 2), nullptr, 16)));
  return bytes;
}

std::vector<Fixture> load_fixtures() {
  std::ifstream in("src/tensor/testdata/quant_blocks.txt");
  std::vector<Fixture> fixtures;
  std::string line;
  while (std::getline(in, line)) {
    std::istringstream words(line);
    std::string type, weights, block, values;
    words >> type >> weights >> block >> values;
    Fixture fixture;
    fixture.dtype = find_dtype(type)->dtype;
    fixture.block = from_hex(block);
    const auto bf16 = from_hex(weights);
    fixture.weights.resize(bf16.size() / 2);
    dequantize_row(DType::kBF16, bf16.data(), fixture.weights.data(), fixture.weights.size());
    const auto f32 = from_hex(values);
    fixture.values.resize(f32.size() / 4);
    std::memcpy(fixture.values.data(), f32.data(), f32.size());
    fixtures.push_back(std::move(fixture));
  }
  return fixtures;
}

double rmse(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(double{a[i]} - double{b[i]}, 2);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

// What is left of the values in that type.
std::vector<float> through(DType dtype, const std::vector<float>& values) {
  std::vector<std::byte> row(dtype_size(dtype, values.size()));
  std::vector<float> out(values.size());
  quantize_row(dtype, values.data(), row.data(), values.size());
  dequantize_row(dtype, row.data(), out.data(), out.size());
  return out;
}

std::vector<DType> block_types() {
  return {DType::kQ4_0, DType::kQ5_0, DType::kQ8_0, DType::kQ4K, DType::kQ6K};
}

TEST(Quantize, DecodesBlocksOfLlamaQuantizeBitForBit) {
  const auto fixtures = load_fixtures();
  ASSERT_EQ(fixtures.size(), 16u);  // eight types, two blocks each
  for (const Fixture& f : fixtures) {
    SCOPED_TRACE(dtype_name(f.dtype));
    std::vector<float> got(f.values.size());
    ASSERT_EQ(f.block.size(), dtype_size(f.dtype, got.size()));
    dequantize_row(f.dtype, f.block.data(), got.data(), got.size());
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(f.values[i])) << i;
  }
}

TEST(Quantize, ErrsNoMoreThanLlamaQuantize) {
  size_t compared = 0;
  for (const Fixture& f : load_fixtures()) {
    if (!can_quantize(f.dtype)) continue;
    EXPECT_LE(rmse(through(f.dtype, f.weights), f.weights), rmse(f.values, f.weights))
        << dtype_name(f.dtype);
    ++compared;
  }
  EXPECT_EQ(compared, 10u);
}

TEST(Quantize, ReadsPlainTypes) {
  const std::array<int8_t, 2> i8 = {-128, 127};
  const std::array<int32_t, 2> i32 = {-70000, 3};
  const std::array<uint16_t, 2> f16 = {0x3C00, 0xC000}, bf16 = {0x3F80, 0xC000};
  const std::array<float, 2> f32 = {1.0f, -2.0f};
  std::array<float, 2> out{};
  const auto read = [&](DType dtype, const auto& row) {
    dequantize_row(dtype, std::as_bytes(std::span(row)).data(), out.data(), 2);
    return out;
  };
  EXPECT_EQ(read(DType::kI8, i8), (std::array{-128.0f, 127.0f}));
  EXPECT_EQ(read(DType::kI32, i32), (std::array{-70000.0f, 3.0f}));
  EXPECT_EQ(read(DType::kF16, f16), f32);
  EXPECT_EQ(read(DType::kBF16, bf16), f32);
  EXPECT_EQ(read(DType::kF32, f32), f32);
}

TEST(Quantize, PlainTypesRoundEachValue) {
  const std::vector<float> values = {1.0f, 1.0f / 3.0f, -2e-5f, 40000.0f};
  EXPECT_EQ(through(DType::kF32, values), values);
  EXPECT_EQ(through(DType::kF16, values),
            (std::vector<float>{1.0f, 0x1.554p-2f, -0x1.5p-16f, 40000.0f}));
  EXPECT_EQ(through(DType::kBF16, values),
            (std::vector<float>{1.0f, 0x1.56p-2f, -0x1.5p-16f, 0x1.38p15f}));
}

TEST(Quantize, WritesTheTypesItSaysItWrites) {
  for (const DType dtype : {DType::kQ4_1, DType::kQ5_1, DType::kQ5K, DType::kI8, DType::kI32})
    EXPECT_FALSE(can_quantize(dtype)) << dtype_name(dtype);
  for (const DType dtype : block_types()) EXPECT_TRUE(can_quantize(dtype)) << dtype_name(dtype);
}

TEST(Quantize, ZerosStayZeros) {
  const std::vector<float> zeros(256, 0.0f);
  for (const DType dtype : block_types()) EXPECT_EQ(through(dtype, zeros), zeros);
}

TEST(Quantize, ValuesOnTheGridAreExact) {
  std::vector<float> grid(256);
  for (size_t i = 0; i < 256; ++i) grid[i] = 0.25f * static_cast<float>(i * 7 % 16) - 2.0f;
  for (const DType dtype : {DType::kQ4_0, DType::kQ5_0})
    EXPECT_EQ(through(dtype, grid), grid) << dtype_name(dtype);
}

// Half a step is the most that rounding to a grid over the values' range may err; scales stored in
// fewer bits and a greater error for the sake of the sum are allowed for by the second factor. No
// scale is finer than the least f16, 2^-24.
TEST(Quantize, ErrorStaysWithinAStep) {
  struct {
    DType dtype;
    double steps;
  } const cases[] = {{DType::kQ4_0, 15},
                     {DType::kQ5_0, 31},
                     {DType::kQ8_0, 254},
                     {DType::kQ4K, 15},
                     {DType::kQ6K, 62}};
  std::mt19937 random(1);
  for (const double magnitude : {1e-4, 1e-3, 1.0, 3e4}) {
    std::uniform_real_distribution<float> spread(-1.0f, 1.0f);
    std::vector<float> values(256);
    for (float& v : values) v = static_cast<float>(magnitude) * spread(random);
    for (const auto& c : cases) {
      const std::vector<float> got = through(c.dtype, values);
      for (size_t i = 0; i < 256; ++i)
        EXPECT_LE(std::fabs(got[i] - values[i]), 1.2 * 2 * magnitude / c.steps + 0x1p-24)
            << dtype_name(c.dtype) << " " << magnitude << " " << i;
    }
  }
}

TEST(Quantize, OutliersAndExtremesStayFinite) {
  std::vector<float> outlier(256, 1e-4f);
  outlier[77] = -1000.0f;
  std::vector<float> tiny(256, 1e-38f), subnormal(256, 1e-44f), alike(256, -0.5f), up(256);
  for (size_t i = 0; i < 256; ++i) up[i] = 10.0f + static_cast<float>(i);
  for (const DType dtype : block_types()) {
    SCOPED_TRACE(dtype_name(dtype));
    EXPECT_NEAR(through(dtype, outlier)[77], -1000.0f, 5.0f);
    EXPECT_EQ(through(dtype, tiny)[0], 0.0f);
    EXPECT_EQ(through(dtype, subnormal)[0], 0.0f);
    EXPECT_NEAR(through(dtype, alike)[31], -0.5f, 2e-3f);
    EXPECT_LT(rmse(through(dtype, up), up), 10.0);
  }
}

TEST(KScales, PackAndUnpackEveryPair) {
  for (uint8_t scale = 0; scale < 64; ++scale) {
    for (uint8_t minimum = 0; minimum < 64; ++minimum) {
      KScales k{};
      for (size_t i = 0; i < 8; ++i) {
        k.scales[i] = static_cast<uint8_t>((scale + i * 9) % 64);
        k.minimums[i] = static_cast<uint8_t>((minimum + i * 5) % 64);
      }
      uint8_t packed[12];
      pack_k_scales(k, packed);
      const KScales back = unpack_k_scales(packed);
      ASSERT_EQ(std::memcmp(&back, &k, sizeof(k)), 0) << int{scale} << " " << int{minimum};
    }
  }
}

}  // namespace
}  // namespace tandem

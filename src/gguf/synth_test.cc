// SPDX-License-Identifier: Apache-2.0
#include "gguf/synth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.h"
#include "gguf/gguf.h"
#include "gguf/random_blocks.h"
#include "gguf/type_choice.h"
#include "tensor/quantize.h"
#include "tests/support/tiny_model.h"

namespace tandem {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(RandomBlocks, EveryTypeHasTheMeanAndDeviationAskedFor) {
  constexpr size_t kCount = 256 * 400;
  for (const DTypeInfo& info : dtype_infos()) {
    if (info.dtype == DType::kI8 || info.dtype == DType::kI32) continue;
    SCOPED_TRACE(info.name);
    std::vector<std::byte> row(dtype_size(info.dtype, kCount));
    std::vector<float> values(kCount);
    fill_random_blocks(info.dtype, 0.05f, 7, row);
    dequantize_row(info.dtype, row.data(), values.data(), kCount);
    double sum = 0, squares = 0;
    for (float v : values) {
      sum += v;
      squares += double{v} * v;
    }
    EXPECT_NEAR(sum / kCount, 0.0, 0.002);
    EXPECT_NEAR(std::sqrt(squares / kCount), 0.05, 0.002);

    std::vector<std::byte> again(row.size()), other(row.size());
    fill_random_blocks(info.dtype, 0.05f, 7, again);
    fill_random_blocks(info.dtype, 0.05f, 8, other);
    EXPECT_EQ(again, row);
    EXPECT_NE(other, row);
  }
}

TEST(RandomBlocks, FloatsSpreadOverTheirRange) {
  std::vector<float> values(10000);
  fill_random_floats(2.0f, 4.0f, 1, values);
  EXPECT_LT(*std::min_element(values.begin(), values.end()), 2.01f);
  EXPECT_GT(*std::max_element(values.begin(), values.end()), 3.99f);
  for (float v : values) ASSERT_TRUE(v >= 2.0f && v <= 4.0f);
}

// What llama-quantize (Debian llama.cpp 11669) chose in files of 12 and 8 layers.
TEST(TypeChoice, AgreesWithLlamaQuantize) {
  struct {
    DType target;
    const char* name;
    uint32_t layers;
    uint64_t cols;
    DType want;
  } const cases[] = {
      {DType::kQ4_0, "blk.0.ffn_down.weight", 12, 1024, DType::kQ4_0},
      {DType::kQ4_0, "token_embd.weight", 12, 256, DType::kQ6K},
      {DType::kQ4_0, "token_embd.weight", 8, 128, DType::kQ8_0},
      {DType::kQ8_0, "token_embd.weight", 12, 256, DType::kQ8_0},
      {DType::kBF16, "token_embd.weight", 12, 256, DType::kBF16},
      {DType::kQ6K, "blk.3.attn_k.weight", 12, 256, DType::kQ6K},
      {DType::kQ6K, "blk.3.attn_k.weight", 8, 128, DType::kQ8_0},
      {DType::kQ4K, "blk.3.attn_k.weight", 8, 128, DType::kQ5_0},
      {DType::kQ4K, "blk.3.attn_output.weight", 8, 256, DType::kQ4K},
      {DType::kQ4K, "blk.0.attn_v.weight", 8, 128, DType::kQ8_0},
      {DType::kQ4K, "blk.1.attn_v.weight", 8, 128, DType::kQ5_0},
  };
  for (const auto& c : cases)
    EXPECT_EQ(choose_type(c.target, c.name, c.layers, c.cols), c.want)
        << dtype_name(c.target) << " " << c.name;

  std::vector<uint32_t> six_bits;
  for (uint32_t i = 0; i < 12; ++i)
    if (choose_type(DType::kQ4K, "blk." + std::to_string(i) + ".ffn_down.weight", 12, 1024) ==
        DType::kQ6K)
      six_bits.push_back(i);
  EXPECT_EQ(six_bits, (std::vector<uint32_t>{0, 3, 6, 9, 10, 11}));
}

TEST(TypeChoice, RowsOfNoWholeBlockStayHalf) {
  EXPECT_EQ(choose_type(DType::kQ4_0, "blk.0.attn_q.weight", 8, 80), DType::kF16);
  EXPECT_EQ(choose_type(DType::kQ4K, "blk.0.attn_q.weight", 8, 80), DType::kF16);
  EXPECT_EQ(choose_type(DType::kF32, "blk.0.attn_q.weight", 8, 80), DType::kF32);
}

TEST(TypeChoice, ConvertsMatricesOfTheLanguageModelOnly) {
  EXPECT_TRUE(is_quantizable("blk.0.attn_q.weight", 64, 1));
  EXPECT_TRUE(is_quantizable("token_embd.weight", 64, 1));
  EXPECT_FALSE(is_quantizable("blk.0.attn_norm.weight", 1, 1));
  EXPECT_FALSE(is_quantizable("blk.0.attn_q.bias", 64, 1));
  EXPECT_FALSE(is_quantizable("v.blk.0.attn_q.weight", 64, 1));
  EXPECT_FALSE(is_quantizable("mm.input_projection.weight", 64, 1));
  EXPECT_FALSE(is_quantizable("conv.weight", 64, 3));
}

TEST(Synth, WritesWhatAGemma3Needs) {
  const TinyModel model(DType::kQ4K);
  const GgufFile file = GgufFile::open(model.path());
  EXPECT_EQ(file.get_string("general.architecture"), "gemma3");
  EXPECT_EQ(file.get_unsigned("general.file_type"), 15u);
  EXPECT_EQ(file.get_unsigned("gemma3.block_count"), 8u);
  EXPECT_EQ(file.get_unsigned("gemma3.attention.key_length"), 64u);
  EXPECT_EQ(file.get_unsigned("gemma3.attention.head_count_kv"), 2u);
  EXPECT_EQ(file.get_unsigned("gemma3.attention.sliding_window"), 32u);
  EXPECT_EQ(file.get_number("gemma3.rope.scaling.factor"), 8.0);
  EXPECT_EQ(file.get_strings("tokenizer.ggml.tokens")->size(), 512u);
  EXPECT_EQ(file.get_strings("tokenizer.ggml.tokens")->at(4 + 0xAB), "<0xAB>");
  EXPECT_EQ(file.get_integers("tokenizer.ggml.token_type")->at(2), 3);
  EXPECT_EQ(file.tensors().size(), 2u + 8u * 13u);
  const auto expect_tensor = [&](const char* name, DType dtype, uint64_t cols, uint64_t rows) {
    const GgufTensor* tensor = file.find_tensor(name);
    ASSERT_NE(tensor, nullptr) << name;
    EXPECT_EQ(tensor->dtype, dtype) << name;
    EXPECT_EQ(tensor->dims, (std::array<uint64_t, 4>{cols, rows, 1, 1})) << name;
  };
  expect_tensor("token_embd.weight", DType::kQ6K, 256, 512);
  expect_tensor("output_norm.weight", DType::kF32, 256, 1);
  expect_tensor("blk.7.attn_q.weight", DType::kQ4K, 256, 256);
  expect_tensor("blk.7.attn_k.weight", DType::kQ4K, 256, 128);
  expect_tensor("blk.7.attn_q_norm.weight", DType::kF32, 64, 1);
  expect_tensor("blk.7.attn_output.weight", DType::kQ4K, 256, 256);
  expect_tensor("blk.7.ffn_down.weight", DType::kQ6K, 512, 256);
  const float* norm = file.find_tensor("blk.3.post_ffw_norm.weight")->view().row_as<float>(0);
  for (size_t i = 0; i < 256; ++i) ASSERT_TRUE(norm[i] >= 0.375f && norm[i] <= 0.625f);
}

TEST(Synth, TheSameSeedGivesTheSameBytesOnAnyNumberOfThreads) {
  Gemma3Shape shape = tiny_shape();
  shape.layers = 2;
  shape.vocab = 9000;  // more than one piece
  const TinyModel model(DType::kBF16, shape, 5), other(DType::kBF16, shape, 6);
  SynthOptions options;
  options.name = "tiny";
  options.shape = shape;
  options.dtype = DType::kBF16;
  options.seed = 5;
  options.thread_count = 3;
  synthesize(options, model.folder() / "again.gguf");
  const std::string want = text_of(model.path());
  EXPECT_TRUE(text_of(model.folder() / "again.gguf") == want);
  EXPECT_FALSE(text_of(other.path()) == want);
  // No two tensors alike.
  const GgufFile file = GgufFile::open(model.path());
  const auto same = [&](const char* a, const char* b) {
    const auto x = file.find_tensor(a)->data, y = file.find_tensor(b)->data;
    return std::equal(x.begin(), x.end(), y.begin(), y.end());
  };
  EXPECT_FALSE(same("blk.0.attn_k.weight", "blk.0.attn_v.weight"));
  EXPECT_FALSE(same("blk.0.attn_k.weight", "blk.1.attn_k.weight"));
}

TEST(Synth, TakesTheVocabularyOfAnotherFile) {
  Gemma3Shape small = tiny_shape();
  small.vocab = 300;
  small.layers = 1;
  const TinyModel source(DType::kQ8_0, small);
  const GgufFile vocabulary = GgufFile::open(source.path());
  SynthOptions options;
  options.shape = tiny_shape();
  options.shape.layers = 1;
  options.vocabulary = &vocabulary;
  synthesize(options, source.folder() / "out.gguf");
  const GgufFile out = GgufFile::open(source.folder() / "out.gguf");
  EXPECT_EQ(*out.get_strings("tokenizer.ggml.tokens"),
            *vocabulary.get_strings("tokenizer.ggml.tokens"));
  EXPECT_EQ(out.find_tensor("token_embd.weight")->dims[1], 300u);
  EXPECT_EQ(out.get_unsigned("general.file_type"), 2u);  // not copied
}

TEST(Synth, RefusesImpossibleShapesAndTypes) {
  const fs::path out = fs::temp_directory_path() / "synth_test_none.gguf";
  const auto refused = [&](const auto& spoil) {
    SynthOptions options;
    options.shape = tiny_shape();
    spoil(options);
    try {
      synthesize(options, out);
    } catch (const Error& error) {
      return error.code() == ErrorCode::kUsage;
    }
    return false;
  };
  EXPECT_TRUE(refused([](SynthOptions& o) { o.shape.layers = 0; }));
  EXPECT_TRUE(refused([](SynthOptions& o) { o.shape.vocab = 0; }));
  EXPECT_TRUE(refused([](SynthOptions& o) { o.shape.kv_heads = 3; }));
  EXPECT_TRUE(refused([](SynthOptions& o) { o.shape.head_dim = 63; }));
  EXPECT_TRUE(refused([](SynthOptions& o) { o.dtype = DType::kI8; }));
  EXPECT_FALSE(fs::exists(out));
}

TEST(Synth, ReportsProgressAndCanBeGivenUp) {
  Gemma3Shape shape = tiny_shape();
  shape.layers = 1;
  const TinyModel model(DType::kQ4_0, shape);
  SynthOptions options;
  options.shape = tiny_shape();
  options.thread_count = 1;
  std::vector<uint64_t> done;
  uint64_t total = 0;
  options.progress = [&](uint64_t d, uint64_t t) {
    done.push_back(d);
    total = t;
  };
  synthesize(options, model.folder() / "a.gguf");
  EXPECT_GT(done.size(), 10u);
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  EXPECT_EQ(done.back(), total);

  options.progress = [](uint64_t, uint64_t) { throw std::runtime_error("enough"); };
  EXPECT_THROW(synthesize(options, model.folder() / "b.gguf"), std::runtime_error);
  EXPECT_FALSE(fs::exists(model.folder() / "b.gguf"));
}

}  // namespace
}  // namespace tandem

// SPDX-License-Identifier: Apache-2.0
#include "gguf/requantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "base/env.h"
#include "base/error.h"
#include "gguf/gguf_writer.h"
#include "tensor/quantize.h"
#include "tests/support/tiny_model.h"

namespace tandem {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::vector<float> values_of(const GgufTensor& tensor) {
  const size_t count = tensor.dims[0] * tensor.dims[1];
  std::vector<float> values(count);
  dequantize_row(tensor.dtype, tensor.data.data(), values.data(), count);
  return values;
}

double rmse(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(double{a[i]} - double{b[i]}, 2);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

// One local layer and few pieces: every kind of tensor, in little time.
Gemma3Shape small_shape() {
  Gemma3Shape shape = tiny_shape();
  shape.layers = 1;
  shape.vocab = 300;
  return shape;
}

RequantizeResult convert(const fs::path& in, const fs::path& out, DType dtype) {
  RequantizeOptions options;
  options.dtype = dtype;
  options.thread_count = 1;
  return requantize(GgufFile::open(in), out, options);
}

TEST(Requantize, ConvertsMatricesAndCopiesTheRest) {
  const TinyModel model(DType::kF32, small_shape());
  const GgufFile before = GgufFile::open(model.path());
  for (const DType dtype :
       {DType::kQ4_0, DType::kQ8_0, DType::kQ4K, DType::kQ6K, DType::kF16, DType::kBF16}) {
    SCOPED_TRACE(dtype_name(dtype));
    const fs::path out = model.folder() / "out.gguf";
    const RequantizeResult result = convert(model.path(), out, dtype);
    const GgufFile after = GgufFile::open(out);
    ASSERT_EQ(after.tensors().size(), before.tensors().size());
    ASSERT_EQ(result.tensors.size(), before.tensors().size());
    uint64_t size = 0;
    for (size_t i = 0; i < after.tensors().size(); ++i) {
      const GgufTensor &old_one = before.tensors()[i], &new_one = after.tensors()[i];
      const RequantizedTensor& row = result.tensors[i];
      SCOPED_TRACE(row.name);
      size += new_one.data.size();
      EXPECT_EQ(new_one.name, old_one.name);
      EXPECT_EQ(new_one.dims, old_one.dims);
      EXPECT_EQ(row.to, new_one.dtype);
      EXPECT_EQ(row.converted, old_one.dims[1] > 1);
      EXPECT_FALSE(row.fell_back);
      const auto old_values = values_of(old_one), new_values = values_of(new_one);
      EXPECT_NEAR(row.rmse, rmse(old_values, new_values), 1e-9);
      if (row.converted)
        EXPECT_NEAR(row.rms, rmse(old_values, std::vector<float>(old_values.size())), 1e-9);
      else
        EXPECT_EQ(old_values, new_values);
    }
    EXPECT_EQ(size, result.size_after);
    EXPECT_LT(result.size_after, result.size_before);
    // Everything else is as it was.
    EXPECT_EQ(after.metadata().size(), before.metadata().size());
    for (const GgufEntry& entry : before.entries()) {
      if (entry.key == "general.file_type") continue;
      EXPECT_EQ(after.metadata().find(entry.key)->second, before.metadata().find(entry.key)->second)
          << entry.key;
    }
  }
}

TEST(Requantize, FallsBackWhereRowsAreNoWholeBlocks) {
  Gemma3Shape shape = small_shape();
  shape.layers = 3;
  shape.hidden = 96;    // whole blocks of 32, no super-block
  shape.head_dim = 20;  // attn_output's rows are 80 long
  const TinyModel model(DType::kBF16, shape);
  const RequantizeResult result = convert(model.path(), model.folder() / "out.gguf", DType::kQ4K);
  const auto find = [&](std::string_view name) {
    return *std::find_if(result.tensors.begin(), result.tensors.end(),
                         [&](const RequantizedTensor& t) { return t.name == name; });
  };
  EXPECT_EQ(find("token_embd.weight").to, DType::kQ8_0);
  EXPECT_EQ(find("blk.1.attn_q.weight").to, DType::kQ5_0);
  EXPECT_TRUE(find("blk.1.attn_q.weight").fell_back);
  EXPECT_EQ(find("blk.1.attn_output.weight").to, DType::kF16);
  EXPECT_EQ(find("blk.1.ffn_down.weight").to, DType::kQ4K);
  EXPECT_FALSE(find("blk.1.ffn_down.weight").fell_back);
}

TEST(Requantize, CopiesWhatHasTheTypeAlready) {
  const TinyModel model(DType::kQ4_0, small_shape());
  const RequantizeResult result = convert(model.path(), model.folder() / "out.gguf", DType::kQ4_0);
  for (const RequantizedTensor& t : result.tensors) EXPECT_FALSE(t.converted) << t.name;
  EXPECT_EQ(result.size_before, result.size_after);
}

TEST(Requantize, DoesNotDependOnTheNumberOfThreads) {
  const TinyModel model(DType::kBF16, small_shape());
  const GgufFile source = GgufFile::open(model.path());
  RequantizeOptions options;
  options.dtype = DType::kQ4K;
  std::vector<RequantizeResult> results;
  for (uint32_t threads : {1u, 3u}) {
    options.thread_count = threads;
    results.push_back(requantize(source, model.folder() / std::to_string(threads), options));
  }
  const GgufFile one = GgufFile::open(model.folder() / "1");
  const GgufFile three = GgufFile::open(model.folder() / "3");
  for (size_t i = 0; i < one.tensors().size(); ++i) {
    const auto a = one.tensors()[i].data, b = three.tensors()[i].data;
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end())) << one.tensors()[i].name;
    EXPECT_EQ(results[0].tensors[i].rmse, results[1].tensors[i].rmse);
  }
}

// A file with one matrix of 32 columns and these rows.
void write_matrix(const fs::path& path, const std::vector<float>& values) {
  GgufWriter writer(path);
  const size_t tensor =
      writer.add_tensor("m.weight", DType::kF32, std::vector<uint64_t>{32, values.size() / 32});
  writer.start();
  writer.write(tensor, 0, std::as_bytes(std::span(values)));
  writer.finish();
}

TEST(Requantize, RefusesValuesThatDoNotFit) {
  const TinyModel folder(DType::kQ4_0, small_shape());
  const fs::path in = folder.folder() / "in.gguf", out = folder.folder() / "out.gguf";
  const auto message = [&](float value, DType dtype) -> std::string {
    std::vector<float> values(32 * 300, 0.5f);
    values[32 * 200 + 7] = value;
    write_matrix(in, values);
    try {
      convert(in, out, dtype);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidFile);
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message(std::numeric_limits<float>::quiet_NaN(), DType::kQ4_0),
              HasSubstr("in.gguf: tensor m.weight has a value that is not finite in row 200, "
                        "column 7"));
  EXPECT_THAT(message(-std::numeric_limits<float>::infinity(), DType::kQ8_0),
              HasSubstr("not finite"));
  EXPECT_THAT(message(1e5f, DType::kF16), HasSubstr("too large for the new type in row 200"));
  EXPECT_THAT(message(1e10f, DType::kQ8_0), HasSubstr("too large"));
  EXPECT_FALSE(fs::exists(out));
  EXPECT_EQ(message(1e5f, DType::kBF16), "");
}

TEST(Requantize, RefusesTypesItDoesNotWrite) {
  const TinyModel model(DType::kQ4_0, small_shape());
  for (const DType dtype : {DType::kQ4_1, DType::kQ5_0, DType::kQ5K, DType::kI8}) {
    EXPECT_FALSE(can_requantize(dtype));
    EXPECT_THROW(convert(model.path(), model.folder() / "out.gguf", dtype), Error);
  }
}

TEST(Requantize, ReportsProgress) {
  const TinyModel model(DType::kBF16, small_shape());
  RequantizeOptions options;
  options.thread_count = 1;
  uint64_t last = 0, total = 0;
  options.progress = [&](uint64_t done, uint64_t all) {
    EXPECT_GE(done, last);
    last = done;
    total = all;
  };
  const RequantizeResult result =
      requantize(GgufFile::open(model.path()), model.folder() / "out.gguf", options);
  EXPECT_EQ(last, result.size_before);
  EXPECT_EQ(total, result.size_before);
}

// Files that llama-quantize made of the same bf16 model, where they are at hand: no tensor may
// have a larger error than there. Two layers stand for all.
TEST(Requantize, ErrsNoMoreThanLlamaQuantize) {
  const fs::path models = fs::path(env("TANDEM_TEST_ASSETS").value_or("../shared")) / "models";
  if (!fs::exists(models / "story-14m-bf16.gguf")) GTEST_SKIP() << "no models in " << models;
  const GgufFile source = GgufFile::open(models / "story-14m-bf16.gguf");
  size_t compared = 0;
  for (const char* name : {"q4_0", "q8_0", "q4_k_m", "q6_k"}) {
    const GgufFile theirs = GgufFile::open(models / (std::string("story-14m-") + name + ".gguf"));
    for (const GgufTensor& tensor : theirs.tensors()) {
      const bool chosen =
          tensor.name.substr(0, 6) == "blk.0." || tensor.name.substr(0, 6) == "blk.7.";
      if (!chosen || !is_quantized(tensor.dtype)) continue;
      const std::vector<float> want = values_of(*source.find_tensor(tensor.name));
      std::vector<std::byte> blocks(tensor.data.size());
      std::vector<float> got(want.size());
      quantize_row(tensor.dtype, want.data(), blocks.data(), want.size());
      dequantize_row(tensor.dtype, blocks.data(), got.data(), got.size());
      EXPECT_LE(rmse(got, want), rmse(values_of(tensor), want)) << name << " " << tensor.name;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 4u * 2u * 7u);
}

}  // namespace
}  // namespace tandem

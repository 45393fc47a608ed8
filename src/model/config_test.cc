// Hyper-parameters from metadata: files without optional keys, other converters' names,
// contradictions; and the name of a model in benchmarks.
// SPDX-License-Identifier: Apache-2.0
#include "model/config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/temporary_folder.h"
#include "gguf/gguf_writer.h"
#include "model/description.h"
#include "model/weights.h"

namespace tandem {
namespace {

// The metadata of a small Gemma 3; a test changes what it is about and reads the file.
class MetadataFile {
 public:
  MetadataFile() {
    numbers = {{"gemma3.context_length", 32768},    {"gemma3.embedding_length", 64},
               {"gemma3.block_count", 12},          {"gemma3.feed_forward_length", 128},
               {"gemma3.attention.head_count", 4},  {"gemma3.attention.head_count_kv", 1},
               {"gemma3.attention.key_length", 32}, {"gemma3.attention.value_length", 32}};
    strings = {{"general.architecture", "gemma3"}};
  }

  GgufFile open() const {
    GgufWriter writer(folder_ / "model.gguf");
    for (const auto& [key, value] : strings) writer.add_string(key, value);
    for (const auto& [key, value] : numbers) writer.add_unsigned(key, value);
    for (const auto& [key, value] : floats) writer.add_float(key, value);
    std::vector<std::pair<size_t, size_t>> sizes;
    for (const auto& [name, dims] : tensors)
      sizes.emplace_back(writer.add_tensor(name, DType::kF32, dims),
                         (dims.size() > 1 ? dims[0] * dims[1] : dims[0]) * sizeof(float));
    writer.start();
    for (const auto& [number, size] : sizes) writer.write(number, 0, std::vector<std::byte>(size));
    writer.finish();
    return GgufFile::open(folder_ / "model.gguf");
  }
  ModelConfig read() const { return read_config(open()); }

  // The code of what reading throws; EXPECTs the sentence to mention `mention`.
  ErrorCode failure(const std::string& mention) const {
    try {
      read();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(mention), std::string::npos) << error.what();
      return error.code();
    }
    ADD_FAILURE() << "no error was thrown";
    return ErrorCode::kInternal;
  }

  std::map<std::string, uint32_t> numbers;
  std::map<std::string, float> floats;
  std::map<std::string, std::string> strings;
  std::map<std::string, std::vector<uint64_t>> tensors = {{"token_embd.weight", {64, 8}}};

 private:
  TemporaryFolder folder_;
};

TEST(Config, FillsInPublishedDefaults) {
  const ModelConfig config = MetadataFile().read();
  ASSERT_EQ(config.layers.size(), 12u);
  EXPECT_EQ(config.vocab, 8u);
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const LayerConfig& layer = config.layers[i];
    const bool global = i % 6 == 5;
    EXPECT_EQ(layer.window, global ? 0u : 512u) << i;
    EXPECT_EQ(layer.rope_base, global ? 1e6f : 1e4f) << i;
    EXPECT_EQ(layer.rope_scale, 1.0f) << i;
    EXPECT_FLOAT_EQ(layer.attention_scale, 1 / std::sqrt(32.0f));
    EXPECT_EQ(layer.norm_epsilon, 1e-6f);
    EXPECT_FLOAT_EQ(layer.embedding_scale, 8.0f);
  }
}

TEST(Config, ScalesRopeOfLongContextsByEightWhereTheFileDoesNotSay) {
  MetadataFile file;
  file.numbers["gemma3.context_length"] = 131072;
  const ModelConfig config = file.read();
  EXPECT_EQ(config.layers[5].rope_scale, 0.125f);
  EXPECT_EQ(config.layers[0].rope_scale, 1.0f);
  EXPECT_EQ(config.layers[0].window, 1024u);
}

TEST(Config, ReadsTheRopeFactorTheFileGives) {
  MetadataFile file;
  file.numbers["gemma3.context_length"] = 131072;
  file.strings["gemma3.rope.scaling.type"] = "linear";
  file.floats["gemma3.rope.scaling.factor"] = 4.0f;
  EXPECT_EQ(file.read().layers[5].rope_scale, 0.25f);
  file.strings["gemma3.rope.scaling.type"] = "none";
  EXPECT_EQ(file.read().layers[5].rope_scale, 1.0f);
  file.strings["gemma3.rope.scaling.type"] = "yarn";
  EXPECT_EQ(file.failure("yarn"), ErrorCode::kUnsupported);
}

TEST(Config, ReadsOllamasKeys) {
  MetadataFile file;
  file.floats["gemma3.rope.global.freq_base"] = 2e6f;
  file.floats["gemma3.rope.local.freq_base"] = 2e4f;
  file.numbers["gemma3.attention.sliding_window"] = 16;
  const ModelConfig config = file.read();
  EXPECT_EQ(config.layers[5].rope_base, 2e6f);
  EXPECT_EQ(config.layers[0].rope_base, 2e4f);
  EXPECT_EQ(config.layers[0].window, 16u);
}

TEST(Config, ScalesAttentionOf62LayersByHiddenOverHeads) {
  MetadataFile file;
  file.numbers["gemma3.block_count"] = 62;
  EXPECT_FLOAT_EQ(file.read().common().attention_scale, 1 / std::sqrt(64.0f / 4.0f));
}

TEST(Config, RefusesOtherArchitectures) {
  MetadataFile file;
  file.strings["general.architecture"] = "llama";
  EXPECT_EQ(file.failure("llama"), ErrorCode::kUnsupported);
  file.strings.clear();
  EXPECT_EQ(file.failure("general.architecture"), ErrorCode::kInvalidFile);
}

TEST(Config, NamesTheKeyThatIsMissing) {
  for (const char* key : {"gemma3.context_length", "gemma3.embedding_length", "gemma3.block_count",
                          "gemma3.feed_forward_length", "gemma3.attention.head_count"}) {
    MetadataFile file;
    file.numbers.erase(key);
    EXPECT_EQ(file.failure(key), ErrorCode::kInvalidFile);
  }
}

TEST(Config, RefusesContradictions) {
  const std::pair<const char*, uint32_t> wrong[] = {{"gemma3.attention.head_count_kv", 3},
                                                    {"gemma3.attention.key_length", 31},
                                                    {"gemma3.attention.value_length", 16},
                                                    {"gemma3.embedding_length", 65},
                                                    {"gemma3.block_count", 0},
                                                    {"gemma3.block_count", 1u << 30},
                                                    {"gemma3.context_length", 1u << 31}};
  for (const auto& [key, value] : wrong) {
    MetadataFile file;
    file.numbers[key] = value;
    EXPECT_EQ(file.failure(""), ErrorCode::kInvalidFile) << key << " = " << value;
  }
}

TEST(Config, SaysThatAFileHoldsOnlyAVocabulary) {
  MetadataFile file;
  file.tensors.clear();
  EXPECT_EQ(file.failure("only a vocabulary"), ErrorCode::kInvalidFile);
}

// Adds one layer's worth of tensors of the shapes that the metadata asks for.
void add_tensors(MetadataFile& file) {
  file.numbers["gemma3.block_count"] = 1;
  file.tensors["output_norm.weight"] = {64};
  const std::map<std::string, std::vector<uint64_t>> layer = {
      {"attn_norm", {64}},        {"attn_q", {64, 128}},         {"attn_k", {64, 32}},
      {"attn_v", {64, 32}},       {"attn_q_norm", {32}},         {"attn_k_norm", {32}},
      {"attn_output", {128, 64}}, {"post_attention_norm", {64}}, {"ffn_norm", {64}},
      {"ffn_gate", {64, 128}},    {"ffn_up", {64, 128}},         {"ffn_down", {128, 64}},
      {"post_ffw_norm", {64}}};
  for (const auto& [name, dims] : layer) file.tensors["blk.0." + name + ".weight"] = dims;
}

TEST(Weights, LeaveTheVisionTowerAlone) {
  MetadataFile file;
  add_tensors(file);
  file.tensors["v.patch_embd.weight"] = {16, 16};
  file.tensors["mm.input_projection.weight"] = {16, 16};
  const GgufFile opened = file.open();
  const ModelWeights weights(opened, read_config(opened));
  EXPECT_EQ(weights.skipped_count(), 2u);
  // Embedding, final norm, the layer's matrices, its norms of the stream and of the heads.
  EXPECT_EQ(weights.parameter_count(),
            8 * 64 + 64 + (2 * 128 + 2 * 32 + 3 * 128) * 64 + 4 * 64 + 2 * 32u);
}

TEST(Weights, NameTheTensorThatIsMissingOrMisshapen) {
  for (const bool missing : {true, false}) {
    MetadataFile file;
    add_tensors(file);
    if (missing)
      file.tensors.erase("blk.0.ffn_up.weight");
    else
      file.tensors["blk.0.ffn_up.weight"] = {64, 127};
    const GgufFile opened = file.open();
    try {
      const ModelWeights weights(opened, read_config(opened));
      ADD_FAILURE() << "no error was thrown";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidFile);
      EXPECT_NE(std::string(error.what()).find("blk.0.ffn_up.weight"), std::string::npos);
    }
  }
}

TEST(Description, NamesThePublishedSizeAndTheFilesType) {
  MetadataFile file;
  EXPECT_EQ(describe_model(file.open(), file.read()), "gemma3 ?B all F32 (guessed)");
  file.numbers["general.file_type"] = 2;
  EXPECT_EQ(describe_model(file.open(), file.read()), "gemma3 ?B Q4_0");
  ModelConfig config = file.read();
  for (const PublishedSize& size : published_sizes()) {
    config.layers.resize(size.shape.layers, config.common());
    config.layers.front().hidden = size.shape.hidden;
    config.layers.front().ffn = size.shape.ffn;
    config.layers.front().heads = size.shape.heads;
    const std::string name = describe_model(file.open(), config);
    EXPECT_EQ(find_published_size(name.substr(7, name.find(' ', 7) - 7)), &size) << name;
  }
}

TEST(PublishedSizes, HaveAGlobalLayerAfterFiveWindowedOnes) {
  const ModelConfig config = config_of(*find_published_size("4b"));
  ASSERT_EQ(config.layers.size(), 34u);
  for (uint32_t i = 0; i < 34; ++i) {
    const bool global = i % 6 == 5;
    EXPECT_EQ(config.layers[i].window, global ? 0u : 1024u) << i;
    EXPECT_EQ(config.layers[i].rope_base, global ? 1e6f : 1e4f) << i;
    EXPECT_EQ(config.layers[i].rope_scale, global ? 0.125f : 1.0f) << i;
  }
}

}  // namespace
}  // namespace tandem

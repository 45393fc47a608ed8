// SPDX-License-Identifier: Apache-2.0
#include "model/vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <functional>

#include "gguf/gguf_writer.h"
#include "model/test_vocabulary.h"

namespace tandem {
namespace {

constexpr std::array<std::string_view, 4> kPieces = {"<bos>", "<eos>", "a", "b"};
constexpr std::array<float, 4> kScores = {0.0F, 0.0F, -1.0F, -2.0F};
constexpr std::array<int32_t, 4> kTypes = {3, 3, 1, 1};

GgufFile write_and_open(const std::function<void(GgufWriter&)>& fill) {
  const std::filesystem::path path = testing::TempDir() + "vocabulary_test.gguf";
  GgufWriter writer(path);
  fill(writer);
  writer.start();
  writer.finish();
  return GgufFile::open(path);
}

void fill_complete(GgufWriter& writer) {
  writer.add_string("tokenizer.ggml.model", "llama");
  writer.add_strings("tokenizer.ggml.tokens", kPieces);
  writer.add_floats("tokenizer.ggml.scores", kScores);
  writer.add_integers("tokenizer.ggml.token_type", kTypes);
}

TEST(Vocabulary, ReadsWhatTheFileHas) {
  const GgufFile file = write_and_open([](GgufWriter& writer) {
    fill_complete(writer);
    writer.add_unsigned("tokenizer.ggml.bos_token_id", 0);
    writer.add_unsigned("tokenizer.ggml.eos_token_id", 1);
    writer.add_unsigned("tokenizer.ggml.eot_token_id", 3);
    writer.add_unsigned("tokenizer.ggml.unknown_token_id", 2);
    writer.add_unsigned("tokenizer.ggml.padding_token_id", 2);
    writer.add_bool("tokenizer.ggml.add_bos_token", false);
    writer.add_bool("tokenizer.ggml.add_space_prefix", true);
  });
  const Vocabulary vocabulary = read_vocabulary(file);
  EXPECT_THAT(vocabulary.pieces, testing::ElementsAreArray(kPieces));
  EXPECT_THAT(vocabulary.scores, testing::ElementsAreArray(kScores));
  EXPECT_THAT(vocabulary.types, testing::ElementsAre(PieceType::kControl, PieceType::kControl,
                                                     PieceType::kNormal, PieceType::kNormal));
  EXPECT_EQ(vocabulary.bos, 0);
  EXPECT_EQ(vocabulary.eos, 1);
  EXPECT_EQ(vocabulary.end_of_turn, 3);
  EXPECT_EQ(vocabulary.unknown, 2);
  EXPECT_EQ(vocabulary.pad, 2);
  EXPECT_FALSE(vocabulary.add_bos);
  EXPECT_TRUE(vocabulary.add_space_prefix);
}

TEST(Vocabulary, TakesGemmasDefaultsForWhatTheFileLeavesOut) {
  const Vocabulary vocabulary = read_vocabulary(write_and_open(fill_complete));
  EXPECT_EQ(vocabulary.bos, kNoToken);
  EXPECT_EQ(vocabulary.end_of_turn, kNoToken);
  EXPECT_TRUE(vocabulary.add_bos);
  EXPECT_FALSE(vocabulary.add_space_prefix);
}

TEST(Vocabulary, LeavesOutPiecesWithoutARowInTheEmbedding) {
  const std::filesystem::path path = testing::TempDir() + "vocabulary_rows_test.gguf";
  GgufWriter writer(path);
  fill_complete(writer);
  const std::array<uint64_t, 2> dims = {1, 3};
  const size_t tensor = writer.add_tensor("token_embd.weight", DType::kF32, dims);
  writer.start();
  const std::array<float, 3> values = {};
  writer.write(tensor, 0, std::as_bytes(std::span(values)));
  writer.finish();
  const GgufFile file = GgufFile::open(path);
  const Vocabulary vocabulary = read_vocabulary(file);
  EXPECT_THAT(vocabulary.pieces, testing::ElementsAre("<bos>", "<eos>", "a"));
  EXPECT_EQ(vocabulary.scores.size(), 3U);
  EXPECT_EQ(vocabulary.types.size(), 3U);
}

TEST(Vocabulary, RefusesOtherTokenizersByName) {
  const GgufFile file =
      write_and_open([](GgufWriter& writer) { writer.add_string("tokenizer.ggml.model", "gpt2"); });
  try {
    read_vocabulary(file);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.what(), testing::HasSubstr("gpt2"));
    EXPECT_THAT(error.what(), testing::HasSubstr("tokenizer.model"));
  }
}

TEST(Vocabulary, RefusesArraysThatDoNotFitTogether) {
  const std::array<int32_t, 4> wrong_type = {3, 3, 1, 7};
  const auto with = [](auto... parts) {
    return write_and_open([&](GgufWriter& writer) {
      writer.add_string("tokenizer.ggml.model", "llama");
      (parts(writer), ...);
    });
  };
  const auto pieces = [](GgufWriter& w) { w.add_strings("tokenizer.ggml.tokens", kPieces); };
  const auto scores = [](GgufWriter& w) { w.add_floats("tokenizer.ggml.scores", kScores); };
  const auto types = [](GgufWriter& w) { w.add_integers("tokenizer.ggml.token_type", kTypes); };
  const auto few_scores = [](GgufWriter& w) {
    w.add_floats("tokenizer.ggml.scores", std::span(kScores).first(3));
  };
  const auto bad_types = [&](GgufWriter& w) {
    w.add_integers("tokenizer.ggml.token_type", wrong_type);
  };
  const GgufFile files[] = {with(),
                            with(pieces, scores),
                            with(pieces, types),
                            with(scores, types),
                            with(pieces, few_scores, types),
                            with(pieces, scores, bad_types)};
  for (const GgufFile& file : files)
    EXPECT_EQ(thrown_code([&] { read_vocabulary(file); }), ErrorCode::kInvalidFile)
        << &file - files;
}

TEST(Vocabulary, ReadsTheByteOfAPiece) {
  EXPECT_EQ(byte_of_piece("<0x00>"), 0);
  EXPECT_EQ(byte_of_piece("<0xFF>"), 255);
  EXPECT_EQ(byte_of_piece("<0x0a>"), 10);
  for (const char* piece : {"", "<0x0>", "<0x000>", "<0xG0>", "[0x00>", "<0x00]", "<0y00>"})
    EXPECT_EQ(byte_of_piece(piece), std::nullopt) << piece;
}

}  // namespace
}  // namespace tandem

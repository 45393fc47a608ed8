// For the tests of this folder: vocabularies built in code, and where the large ones are.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include "base/env.h"
#include "base/error.h"
#include "gguf/gguf.h"
#include "model/tokenizer.h"
#include "model/vocabulary.h"

namespace tandem {

// Begins like Gemma's: ids 0 to 5 are <pad> <eos> <bos> <unk> <start_of_turn> <end_of_turn>.
class TestVocabulary {
 public:
  TestVocabulary() {
    for (const char* piece : {"<pad>", "<eos>", "<bos>"}) add(piece, PieceType::kControl);
    add("<unk>", PieceType::kUnknown);
    for (const char* piece : {"<start_of_turn>", "<end_of_turn>"}) add(piece, PieceType::kControl);
    vocabulary.bos = 2;
    vocabulary.eos = 1;
    vocabulary.unknown = 3;
  }

  int32_t add(std::string piece, PieceType type, float score = 0.0F) {
    spellings_.push_back(std::move(piece));
    vocabulary.pieces.push_back(spellings_.back());
    vocabulary.types.push_back(type);
    vocabulary.scores.push_back(score);
    return static_cast<int32_t>(vocabulary.pieces.size() - 1);
  }

  int32_t add_normal(std::string piece, float score) {
    return add(std::move(piece), PieceType::kNormal, score);
  }

  int32_t add_user_defined(std::string piece) {
    return add(std::move(piece), PieceType::kUserDefined);
  }

  // All 256; returns the id of byte 0, the others follow in order.
  int32_t add_bytes() {
    const auto first = static_cast<int32_t>(vocabulary.pieces.size());
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    for (size_t byte = 0; byte < 256; ++byte)
      add(std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">", PieceType::kByte);
    return first;
  }

  Vocabulary vocabulary;

 private:
  std::deque<std::string> spellings_;  // a deque: its strings stay where they are
};

// The code of the Error that `action` throws; a failure of the test if it throws none.
template <typename Action>
std::optional<ErrorCode> thrown_code(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no error was thrown";
  return std::nullopt;
}

// The vocabulary of the model that comes with the project.
inline Tokenizer story_tokenizer() {
  return Tokenizer(read_vocabulary(GgufFile::open("models/story-14m-q4_0.gguf")));
}

// A file of the test assets; nullopt when it is not there.
inline std::optional<std::filesystem::path> find_asset(const char* name) {
  const auto path = std::filesystem::path(env("TANDEM_TEST_ASSETS").value_or("../shared")) / name;
  return std::filesystem::exists(path) ? std::optional(path) : std::nullopt;
}

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline std::mt19937_64 test_random() {
  return std::mt19937_64(std::stoull(env("TANDEM_SEED").value_or("1")));
}

}  // namespace tandem

// Ends the test as skipped, naming what is missing; else `variable` is the path.
#define TANDEM_FIND_ASSET(variable, name)                                          \
  const auto variable##_or_none = ::tandem::find_asset(name);                      \
  if (!variable##_or_none) GTEST_SKIP() << "no " << name << " in the test assets"; \
  const std::filesystem::path variable = *variable##_or_none

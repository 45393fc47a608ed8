// SPDX-License-Identifier: Apache-2.0
#include "model/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string>

#include "base/error.h"
#include "gguf/gguf.h"

namespace tandem {
namespace {

constexpr std::string_view kModelKey = "tokenizer.ggml.model";
constexpr std::string_view kPiecesKey = "tokenizer.ggml.tokens";
constexpr std::string_view kScoresKey = "tokenizer.ggml.scores";
constexpr std::string_view kTypesKey = "tokenizer.ggml.token_type";

[[noreturn]] void throw_missing(const GgufFile& file, std::string_view key) {
  throw Error(ErrorCode::kInvalidFile,
              fmt::format("{}: no metadata key {}; convert the model again with its tokenizer",
                          file.name(), key));
}

void check_model(const GgufFile& file) {
  const std::optional<std::string_view> model = file.get_string(kModelKey);
  if (!model) throw_missing(file, kModelKey);
  if (*model == "llama") return;
  throw Error(
      ErrorCode::kUnsupported,
      fmt::format("{}: its tokenizer is of kind '{}' ({}), and only 'llama' (SentencePiece) "
                  "is supported; use a file converted from a checkpoint that has "
                  "tokenizer.model beside the weights",
                  file.name(), *model, kModelKey));
}

// The array as numbers, whatever integer type it is stored in.
std::vector<PieceType> read_types(const GgufFile& file) {
  const auto entry = file.metadata().find(kTypesKey);
  const GgufArray* array =
      entry == file.metadata().end() ? nullptr : std::get_if<GgufArray>(&entry->second);
  if (array == nullptr) throw_missing(file, kTypesKey);
  std::vector<PieceType> types;
  const auto append = [&](auto number) {
    if (number < 1 || number > 6)
      throw Error(ErrorCode::kInvalidFile,
                  fmt::format("{}: {} of token {} is {}; the types are 1 to 6", file.name(),
                              kTypesKey, types.size(), number));
    types.push_back(static_cast<PieceType>(number));
  };
  if (const auto* numbers = std::get_if<std::vector<int64_t>>(array)) {
    types.reserve(numbers->size());
    for (const int64_t number : *numbers) append(number);
  } else if (const auto* unsigned_numbers = std::get_if<std::vector<uint64_t>>(array)) {
    types.reserve(unsigned_numbers->size());
    for (const uint64_t number : *unsigned_numbers) append(number);
  } else {
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("{}: {} does not hold integers", file.name(), kTypesKey));
  }
  return types;
}

int32_t read_id(const GgufFile& file, std::string_view key) {
  const std::optional<uint64_t> id = file.get_unsigned(key);
  if (!id) return kNoToken;
  if (*id > std::numeric_limits<int32_t>::max())
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("{}: {} is {}, which no token has", file.name(), key, *id));
  return static_cast<int32_t>(*id);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

Vocabulary read_vocabulary(const GgufFile& file) {
  check_model(file);
  const auto* pieces = file.get_strings(kPiecesKey);
  const auto* scores = file.get_numbers(kScoresKey);
  if (pieces == nullptr) throw_missing(file, kPiecesKey);
  if (scores == nullptr) throw_missing(file, kScoresKey);

  Vocabulary vocabulary;
  vocabulary.types = read_types(file);
  if (scores->size() != pieces->size() || vocabulary.types.size() != pieces->size())
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("{}: {} tokens, but {} scores and {} token types", file.name(),
                            pieces->size(), scores->size(), vocabulary.types.size()));

  size_t count = pieces->size();
  if (const GgufTensor* embedding = file.find_tensor("token_embd.weight"))
    count = std::min<size_t>(count, embedding->dims[1]);
  const auto end = static_cast<ptrdiff_t>(count);
  vocabulary.pieces.assign(pieces->begin(), pieces->begin() + end);
  vocabulary.types.resize(count);
  vocabulary.scores.reserve(count);
  std::transform(scores->begin(), scores->begin() + end, std::back_inserter(vocabulary.scores),
                 [](double score) { return static_cast<float>(score); });

  vocabulary.bos = read_id(file, "tokenizer.ggml.bos_token_id");
  vocabulary.eos = read_id(file, "tokenizer.ggml.eos_token_id");
  vocabulary.end_of_turn = read_id(file, "tokenizer.ggml.eot_token_id");
  vocabulary.unknown = read_id(file, "tokenizer.ggml.unknown_token_id");
  vocabulary.pad = read_id(file, "tokenizer.ggml.padding_token_id");
  vocabulary.add_bos = file.get_bool("tokenizer.ggml.add_bos_token").value_or(true);
  vocabulary.add_space_prefix = file.get_bool("tokenizer.ggml.add_space_prefix").value_or(false);
  return vocabulary;
}

std::optional<uint8_t> byte_of_piece(std::string_view piece) {
  if (piece.size() != 6 || piece.substr(0, 3) != "<0x" || piece[5] != '>') return std::nullopt;
  const int high = hex_digit(piece[3]);
  const int low = hex_digit(piece[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<uint8_t>(high * 16 + low);
}

}  // namespace tandem

// The vocabulary of a model as its GGUF file lists it: pieces, scores, types and special ids.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace tandem {

class GgufFile;

inline constexpr int32_t kNoToken = -1;

// Pieces write a space as U+2581.
inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

// The numbers are those of `tokenizer.ggml.token_type`, which are SentencePiece's.
enum class PieceType : uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,  // spelled <0x00> to <0xFF>
};

// Plain data; the index of a piece is its token id. Ids that a file leaves out are kNoToken:
// Tokenizer then looks for the piece that Gemma 3 uses.
struct Vocabulary {
  std::vector<std::string_view> pieces;  // views into whatever they were read from
  std::vector<float> scores;
  std::vector<PieceType> types;
  int32_t bos = kNoToken;
  int32_t eos = kNoToken;
  int32_t end_of_turn = kNoToken;
  int32_t unknown = kNoToken;
  int32_t pad = kNoToken;
  bool add_bos = true;            // a text starts with `bos`
  bool add_space_prefix = false;  // a text is encoded as if a space stood before it
};

// The views point into `file`. Pieces without a row in the embedding matrix are left out, as some
// files list more than the model has. Throws kUnsupported for other tokenizers than SentencePiece
// BPE, kInvalidFile for arrays that are absent or do not fit together.
Vocabulary read_vocabulary(const GgufFile& file);

// The byte that a piece spelled <0xXX> stands for; nullopt for any other spelling.
std::optional<uint8_t> byte_of_piece(std::string_view piece);

}  // namespace tandem

// Text to token ids, as SentencePiece's BPE does it (github.com/google/sentencepiece).
// Back to text: detokenizer.h. Conversations: chat_template.h.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/bpe.h"
#include "model/piece_index.h"
#include "model/vocabulary.h"

namespace tandem {

// Ids with a meaning of their own; kNoToken where the vocabulary has none.
struct SpecialTokens {
  int32_t bos = kNoToken;
  int32_t eos = kNoToken;
  int32_t start_of_turn = kNoToken;
  int32_t end_of_turn = kNoToken;
  int32_t unknown = kNoToken;
  std::vector<int32_t> stop;  // any of these ends what the model generates
};

struct EncodeOptions {
  // Starts with `bos`; one that the text itself starts with (parse_special) is not doubled.
  bool add_bos = false;
  // The spelling of a control token becomes that token. Never set it for text from users: without
  // it no text can produce a control token.
  bool parse_special = false;
};

// Immutable: any number of threads may encode at once.
class Tokenizer {
 public:
  // Copies what it needs. Throws kInvalidFile when the vocabulary contradicts itself.
  explicit Tokenizer(const Vocabulary& vocabulary);
  Tokenizer(Tokenizer&&) = default;
  Tokenizer& operator=(Tokenizer&&) = default;

  // Total: characters without a piece, and bytes that are not UTF-8, become byte tokens.
  // Throws kUsage for text of 1 GiB and more.
  std::vector<int32_t> encode(std::string_view text, EncodeOptions options = {}) const;

  size_t vocab_size() const { return pieces_.size(); }
  // `id` is in [0, vocab_size()).
  std::string_view piece(int32_t id) const { return pieces_[static_cast<size_t>(id)]; }
  PieceType type(int32_t id) const { return types_[static_cast<size_t>(id)]; }

  const SpecialTokens& special() const { return special_; }
  bool is_stop(int32_t id) const;
  // Whether the file asks for `bos` before a text.
  bool add_bos() const { return add_bos_; }

 private:
  void copy_pieces(const Vocabulary& vocabulary);
  void check_id(int32_t id) const;
  void index_pieces();
  void index_piece(int32_t id);
  void resolve_special(const Vocabulary& vocabulary);
  std::string normalise(std::string_view text) const;
  bool can_cut_between(char left, char right) const;

  std::vector<char> spellings_;           // of all pieces, end to end
  std::vector<std::string_view> pieces_;  // [vocab_size], into spellings_
  std::vector<PieceType> types_;          // [vocab_size]
  SpecialTokens special_;
  bool add_bos_;
  bool add_space_prefix_;

  BpeRules rules_;
  PieceTrie whole_;               // user-defined pieces, matched before BPE
  PieceTrie whole_with_special_;  // the same, the control tokens and `unknown`
  // Whether two bytes stand side by side in some mergeable piece.
  std::vector<bool> neighbours_;  // [256 * left + right]
};

}  // namespace tandem

// Byte-pair encoding over a scored vocabulary, as SentencePiece defines it: of all neighbours that
// together spell a piece, those of the highest score merge first, the leftmost on ties.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "model/piece_index.h"

namespace tandem {

struct BpeRules {
  PieceTable mergeable;           // what may come out
  std::vector<float> scores;      // [vocab_size]
  std::vector<int32_t> byte_ids;  // [256], kNoToken where the vocabulary has no byte piece
  int32_t unknown = kNoToken;     // for what has neither a piece nor byte pieces
};

// The length of the character that non-empty `text` starts with, 1 for a byte that is not UTF-8.
size_t character_length(std::string_view text);

// Encodes stretches of one text. Symbols are a linked list and possible merges wait in a heap, so
// that a stretch of n characters takes O(n log n) whatever it holds.
class BpeEncoder {
 public:
  // `rules` and `text` (less than 4 GiB) outlive the encoder; ids are appended to `ids`.
  BpeEncoder(const BpeRules& rules, std::string_view text, std::vector<int32_t>& ids)
      : rules_(rules), text_(text), ids_(ids) {}

  // Bytes [begin, end) of the text.
  void encode(size_t begin, size_t end);

 private:
  struct Symbol {
    uint32_t begin, length;  // bytes; length 0 once it became part of its left neighbour
    int32_t previous, next;  // kEnd outside
    int32_t id;              // kNoToken for a single character: looked up when emitted
  };
  struct Merge {
    float score;
    int32_t left, right;
    uint32_t length;  // of both symbols, to notice that one of them has changed since
    int32_t id;
  };
  static constexpr int32_t kEnd = -1;

  static bool comes_later(const Merge& a, const Merge& b);
  Symbol& at(int32_t index) { return symbols_[static_cast<size_t>(index)]; }
  void split(size_t begin, size_t end);
  void merge_all();
  void propose(int32_t left, int32_t right);
  void emit(const Symbol& symbol);

  const BpeRules& rules_;
  std::string_view text_;
  std::vector<int32_t>& ids_;
  std::vector<Symbol> symbols_;
  std::vector<Merge> merges_;  // a heap
};

}  // namespace tandem

// Finding pieces of a vocabulary in text: PieceTable by their whole spelling, PieceTrie the longest
// that stands at a place.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "model/vocabulary.h"

namespace tandem {

// A hash table of ids, keyed by spelling: open addressing, at most two thirds full. Eight bytes a
// slot with part of the hash inside, so that a miss, the common case in BPE, reads one cache line.
class PieceTable {
 public:
  PieceTable() = default;
  // `pieces` is indexed by id and outlives the table.
  explicit PieceTable(std::span<const std::string_view> pieces);

  // Of pieces spelled alike the first to come stays.
  void insert(int32_t id);
  // kNoToken if absent.
  int32_t find(std::string_view spelling) const;

 private:
  struct Slot {
    uint32_t hash = 0;
    int32_t id = kNoToken;
  };

  std::span<const std::string_view> pieces_;
  std::vector<Slot> slots_;
  size_t mask_ = 0;
};

class PieceTrie {
 public:
  struct Match {
    int32_t id = kNoToken;
    size_t length = 0;  // bytes; 0 when nothing matches
  };

  PieceTrie() { roots_.fill(kNone); }

  // `spelling` is not empty. Of pieces spelled alike the first to come stays.
  void insert(std::string_view spelling, int32_t id);
  // The longest piece that `text` starts with.
  Match longest(std::string_view text) const;

 private:
  static constexpr int32_t kNone = -1;
  struct Node {
    char byte;
    int32_t id = kNoToken;
    int32_t child = kNone;
    int32_t sibling = kNone;
  };

  int32_t find_sibling(int32_t node, char byte) const;
  int32_t add_node(char byte, int32_t sibling);

  std::array<int32_t, 256> roots_;  // by first byte: most text fails here
  std::vector<Node> nodes_;
};

}  // namespace tandem

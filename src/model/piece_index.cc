// SPDX-License-Identifier: Apache-2.0
#include "model/piece_index.h"

#include <bit>

#include "base/check.h"

namespace tandem {
namespace {

// FNV-1a, then a multiply and shift so that every bit of the result depends on every byte.
uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3;
  hash ^= hash >> 32;
  return hash * 0x9E3779B97F4A7C15;
}

}  // namespace

PieceTable::PieceTable(std::span<const std::string_view> pieces)
    : pieces_(pieces),
      slots_(std::bit_ceil(pieces.size() + pieces.size() / 2 + 1)),
      mask_(slots_.size() - 1) {}

void PieceTable::insert(int32_t id) {
  const std::string_view piece = pieces_[static_cast<size_t>(id)];
  const uint64_t hash = hash_of(piece);
  const auto tag = static_cast<uint32_t>(hash);
  size_t at = (hash >> 32) & mask_;
  for (; slots_[at].id != kNoToken; at = (at + 1) & mask_)
    if (slots_[at].hash == tag && pieces_[static_cast<size_t>(slots_[at].id)] == piece) return;
  slots_[at] = {tag, id};
}

int32_t PieceTable::find(std::string_view spelling) const {
  const uint64_t hash = hash_of(spelling);
  const auto tag = static_cast<uint32_t>(hash);
  for (size_t at = (hash >> 32) & mask_; slots_[at].id != kNoToken; at = (at + 1) & mask_)
    if (slots_[at].hash == tag && pieces_[static_cast<size_t>(slots_[at].id)] == spelling)
      return slots_[at].id;
  return kNoToken;
}

int32_t PieceTrie::find_sibling(int32_t node, char byte) const {
  while (node != kNone && nodes_[static_cast<size_t>(node)].byte != byte)
    node = nodes_[static_cast<size_t>(node)].sibling;
  return node;
}

int32_t PieceTrie::add_node(char byte, int32_t sibling) {
  nodes_.push_back({.byte = byte, .sibling = sibling});
  return static_cast<int32_t>(nodes_.size() - 1);
}

void PieceTrie::insert(std::string_view spelling, int32_t id) {
  TANDEM_CHECK(!spelling.empty(), "token %d has no spelling", id);
  int32_t& root = roots_[static_cast<uint8_t>(spelling[0])];
  if (root == kNone) root = add_node(spelling[0], kNone);
  int32_t node = root;
  for (const char byte : spelling.substr(1)) {
    const int32_t first = nodes_[static_cast<size_t>(node)].child;
    int32_t child = find_sibling(first, byte);
    if (child == kNone) {
      child = add_node(byte, first);
      nodes_[static_cast<size_t>(node)].child = child;
    }
    node = child;
  }
  int32_t& stored = nodes_[static_cast<size_t>(node)].id;
  if (stored == kNoToken) stored = id;
}

PieceTrie::Match PieceTrie::longest(std::string_view text) const {
  Match match;
  if (text.empty()) return match;
  int32_t node = roots_[static_cast<uint8_t>(text[0])];
  for (size_t length = 1; node != kNone; ++length) {
    const Node& current = nodes_[static_cast<size_t>(node)];
    if (current.id != kNoToken) match = {current.id, length};
    if (length == text.size()) break;
    node = find_sibling(current.child, text[length]);
  }
  return match;
}

}  // namespace tandem

// SPDX-License-Identifier: Apache-2.0
#include "model/bpe.h"

#include <algorithm>

#include "model/utf8.h"

namespace tandem {

size_t character_length(std::string_view text) {
  if (static_cast<uint8_t>(text[0]) < 0x80) return 1;
  const Utf8Sequence sequence = first_utf8_sequence(text);
  return sequence.kind == Utf8Kind::kCharacter ? sequence.length : 1;
}

void BpeEncoder::encode(size_t begin, size_t end) {
  if (begin == end) return;
  split(begin, end);
  merge_all();
  for (int32_t i = 0; i != kEnd; i = at(i).next) emit(at(i));
}

bool BpeEncoder::comes_later(const Merge& a, const Merge& b) {
  return a.score != b.score ? a.score < b.score : a.left > b.left;
}

void BpeEncoder::split(size_t begin, size_t end) {
  symbols_.clear();
  while (begin < end) {
    const size_t length = character_length(text_.substr(begin, end - begin));
    const auto index = static_cast<int32_t>(symbols_.size());
    symbols_.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(length), index - 1,
                        index + 1, kNoToken});
    begin += length;
  }
  symbols_.back().next = kEnd;
}

void BpeEncoder::merge_all() {
  for (size_t i = 1; i < symbols_.size(); ++i)
    propose(static_cast<int32_t>(i - 1), static_cast<int32_t>(i));
  while (!merges_.empty()) {
    std::pop_heap(merges_.begin(), merges_.end(), comes_later);
    const Merge merge = merges_.back();
    merges_.pop_back();
    Symbol& left = at(merge.left);
    Symbol& right = at(merge.right);
    if (left.length == 0 || right.length == 0 || left.length + right.length != merge.length)
      continue;
    left.length = merge.length;
    left.id = merge.id;
    left.next = right.next;
    right.length = 0;
    if (left.next != kEnd) at(left.next).previous = merge.left;
    if (left.previous != kEnd) propose(left.previous, merge.left);
    if (left.next != kEnd) propose(merge.left, left.next);
  }
}

void BpeEncoder::propose(int32_t left, int32_t right) {
  const uint32_t length = at(left).length + at(right).length;
  const int32_t id = rules_.mergeable.find(text_.substr(at(left).begin, length));
  if (id == kNoToken) return;
  merges_.push_back({rules_.scores[static_cast<size_t>(id)], left, right, length, id});
  std::push_heap(merges_.begin(), merges_.end(), comes_later);
}

void BpeEncoder::emit(const Symbol& symbol) {
  int32_t id = symbol.id;
  const std::string_view spelling = text_.substr(symbol.begin, symbol.length);
  if (id == kNoToken) id = rules_.mergeable.find(spelling);
  if (id != kNoToken) {
    ids_.push_back(id);
    return;
  }
  for (const char byte : spelling) {
    const int32_t byte_id = rules_.byte_ids[static_cast<uint8_t>(byte)];
    ids_.push_back(byte_id != kNoToken ? byte_id : rules_.unknown);
  }
}

}  // namespace tandem

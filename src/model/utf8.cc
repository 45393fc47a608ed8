// SPDX-License-Identifier: Apache-2.0
#include "model/utf8.h"

#include "base/check.h"

namespace tandem {
namespace {

// What a first byte asks of the rest: how long the character is, and where its second byte lies.
// The narrow ranges keep out overlong forms, surrogates and values above U+10FFFF.
struct FirstByte {
  size_t length;  // 0: no character starts so
  uint8_t second_min, second_max;
};

FirstByte classify(uint8_t first) {
  if (first < 0x80) return {1, 0, 0};
  if (first < 0xC2) return {0, 0, 0};
  if (first < 0xE0) return {2, 0x80, 0xBF};
  if (first == 0xE0) return {3, 0xA0, 0xBF};
  if (first == 0xED) return {3, 0x80, 0x9F};
  if (first < 0xF0) return {3, 0x80, 0xBF};
  if (first == 0xF0) return {4, 0x90, 0xBF};
  if (first < 0xF4) return {4, 0x80, 0xBF};
  if (first == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

Utf8Sequence first_utf8_sequence(std::string_view text) {
  TANDEM_DCHECK(!text.empty(), "no text");
  const FirstByte first = classify(static_cast<uint8_t>(text[0]));
  if (first.length == 0) return {Utf8Kind::kInvalid, 1};
  uint8_t min = first.second_min;
  uint8_t max = first.second_max;
  for (size_t i = 1; i < first.length; ++i) {
    if (i == text.size()) return {Utf8Kind::kIncomplete, i};
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte < min || byte > max) return {Utf8Kind::kInvalid, i};
    min = 0x80;
    max = 0xBF;
  }
  return {Utf8Kind::kCharacter, first.length};
}

bool is_valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Sequence sequence = first_utf8_sequence(text);
    if (sequence.kind != Utf8Kind::kCharacter) return false;
    text.remove_prefix(sequence.length);
  }
  return true;
}

}  // namespace tandem

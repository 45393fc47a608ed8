// SPDX-License-Identifier: Apache-2.0
#include "model/detokenizer.h"

#include "model/utf8.h"

namespace tandem {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr size_t kUsualPieceSize = 256;                    // Gemma's longest has 93 bytes

void append_with_spaces(std::string_view piece, std::string& text) {
  while (!piece.empty()) {
    const size_t mark = piece.find(kSpaceMark);
    text += piece.substr(0, mark);
    if (mark == std::string_view::npos) return;
    text += ' ';
    piece.remove_prefix(mark + kSpaceMark.size());
  }
}

}  // namespace

Detokenizer::Detokenizer(const Tokenizer& tokenizer, ControlTokens control)
    : tokenizer_(tokenizer), control_(control) {
  held_.reserve(kUsualPieceSize);
  text_.reserve(kUsualPieceSize);
}

std::string_view Detokenizer::feed(int32_t id) {
  append_bytes(id);
  text_.clear();
  std::string_view rest = held_;
  while (!rest.empty()) {
    const Utf8Sequence sequence = first_utf8_sequence(rest);
    if (sequence.kind == Utf8Kind::kIncomplete) break;
    if (sequence.kind == Utf8Kind::kCharacter)
      text_ += rest.substr(0, sequence.length);
    else
      text_ += kReplacement;
    rest.remove_prefix(sequence.length);
  }
  held_.erase(0, held_.size() - rest.size());
  return text_;
}

std::string_view Detokenizer::flush() {
  text_.clear();
  if (!held_.empty()) text_ = kReplacement;
  held_.clear();
  return text_;
}

void Detokenizer::append_bytes(int32_t id) {
  if (id < 0 || static_cast<size_t>(id) >= tokenizer_.vocab_size()) return;
  const std::string_view piece = tokenizer_.piece(id);
  switch (tokenizer_.type(id)) {
    case PieceType::kNormal:
    case PieceType::kUserDefined: append_with_spaces(piece, held_); break;
    case PieceType::kByte: held_ += static_cast<char>(*byte_of_piece(piece)); break;
    case PieceType::kControl:
    case PieceType::kUnknown:
    case PieceType::kUnused:
      if (control_ == ControlTokens::kShow) held_ += piece;
      break;
  }
}

std::string decode(const Tokenizer& tokenizer, std::span<const int32_t> ids,
                   ControlTokens control) {
  Detokenizer detokenizer(tokenizer, control);
  std::string text;
  for (const int32_t id : ids) text += detokenizer.feed(id);
  text += detokenizer.flush();
  return text;
}

}  // namespace tandem

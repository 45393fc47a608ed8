// Splits MLIR text into tokens with line and column. On demand, so that the parser can switch to
// reading a shape ("4x8xi32") character by character.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "npu/aie_text/source_location.h"

namespace tandem::npu::mlir {

enum class TokenKind {
  kEnd,
  kIdentifier,      // scf.for, memref, true
  kValue,           // %name, with #n kept: %name#1
  kSymbol,          // @name or @"name", text without the @
  kBlock,           // ^bb0, text without the ^
  kAttributeAlias,  // #name or #dialect.name, text without the #
  kTypeAlias,       // !name or !dialect.name, text without the !
  kInteger,         // 12, 0x1F, without sign
  kFloat,           // 1.5, 2.0e-3
  kString,          // text unescaped
  kPunctuation,     // one of ( ) { } [ ] < > , : = ? + - * / | ; or -> :: ==
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  SourceLocation location;
  size_t offset = 0;  // of the first character

  bool is(std::string_view punctuation) const {
    return kind == TokenKind::kPunctuation && text == punctuation;
  }
  bool is_identifier(std::string_view word) const {
    return kind == TokenKind::kIdentifier && text == word;
  }
};

class Lexer {
 public:
  // Neither string is copied.
  Lexer(std::string_view text, std::string_view source_name)
      : text_(text), source_name_(source_name) {}

  // The next token; throws kInvalidFile on a character that starts none.
  Token next();

  size_t offset() const { return offset_; }
  // Continues from an offset at or before the current one.
  void seek(size_t offset, SourceLocation location) {
    offset_ = offset;
    location_ = location;
  }

  // Raw access for shapes: the character at the cursor ('\0' at the end), and a step over it.
  char peek() const { return offset_ < text_.size() ? text_[offset_] : '\0'; }
  void advance();
  SourceLocation location() const { return location_; }
  std::string_view source_name() const { return source_name_; }

  // "file:line:column: message" as kInvalidFile.
  [[noreturn]] void fail(SourceLocation location, std::string_view message) const;

 private:
  void skip_space_and_comments();
  std::string take_name();
  void read_number(Token& token);
  void read_string(Token& token);
  bool read_punctuation(Token& token);

  std::string_view text_;
  std::string_view source_name_;
  size_t offset_ = 0;
  SourceLocation location_{1, 1};
};

// What a message calls a token: "'foo'", "a string", "the end of the text".
std::string describe(const Token& token);

}  // namespace tandem::npu::mlir

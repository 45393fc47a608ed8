// See lexer.h.
// SPDX-License-Identifier: Apache-2.0
#include "npu/aie_text/lexer.h"

#include <fmt/format.h>

#include <cctype>

#include "base/error.h"

namespace tandem::npu::mlir {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex_digit(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool starts_name(char c) { return is_letter(c) || c == '_'; }
bool continues_name(char c) {
  return is_letter(c) || is_digit(c) || c == '_' || c == '.' || c == '$';
}

}  // namespace

void Lexer::advance() {
  if (offset_ >= text_.size()) return;
  if (text_[offset_] == '\n') {
    ++location_.line;
    location_.column = 1;
  } else {
    ++location_.column;
  }
  ++offset_;
}

void Lexer::fail(SourceLocation location, std::string_view message) const {
  throw Error(ErrorCode::kInvalidFile,
              fmt::format("{}:{}:{}: {}", source_name_, location.line, location.column, message));
}

void Lexer::skip_space_and_comments() {
  while (offset_ < text_.size()) {
    const char c = text_[offset_];
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      advance();
    } else if (c == '/' && offset_ + 1 < text_.size() && text_[offset_ + 1] == '/') {
      while (offset_ < text_.size() && text_[offset_] != '\n') advance();
    } else {
      return;
    }
  }
}

std::string Lexer::take_name() {
  const size_t start = offset_;
  while (continues_name(peek())) advance();
  return std::string(text_.substr(start, offset_ - start));
}

void Lexer::read_number(Token& token) {
  const size_t start = offset_;
  token.kind = TokenKind::kInteger;
  const bool hex = peek() == '0' && offset_ + 2 < text_.size() && text_[offset_ + 1] == 'x' &&
                   is_hex_digit(text_[offset_ + 2]);
  if (hex) {
    advance();
    advance();
    while (is_hex_digit(peek())) advance();
  } else {
    while (is_digit(peek())) advance();
    if (peek() == '.' && offset_ + 1 < text_.size() && is_digit(text_[offset_ + 1])) {
      token.kind = TokenKind::kFloat;
      advance();
      while (is_digit(peek())) advance();
      if (peek() == 'e' || peek() == 'E') {
        advance();
        if (peek() == '+' || peek() == '-') advance();
        while (is_digit(peek())) advance();
      }
    }
  }
  token.text = std::string(text_.substr(start, offset_ - start));
}

void Lexer::read_string(Token& token) {
  token.kind = TokenKind::kString;
  advance();
  while (peek() != '"') {
    if (offset_ >= text_.size() || peek() == '\n')
      fail(token.location, "this string has no closing quote on its line");
    if (peek() == '\\') {
      advance();
      const char c = peek();
      if (is_hex_digit(c) && offset_ + 1 < text_.size() && is_hex_digit(text_[offset_ + 1])) {
        const std::string digits(text_.substr(offset_, 2));
        token.text += static_cast<char>(std::stoi(digits, nullptr, 16));
        advance();
      } else {
        token.text += c == 'n' ? '\n' : c == 't' ? '\t' : c;
      }
      advance();
      continue;
    }
    token.text += peek();
    advance();
  }
  advance();
}

bool Lexer::read_punctuation(Token& token) {
  static constexpr std::string_view kPairs[] = {"->", "::", "=="};
  static constexpr std::string_view kSingles = "(){}[]<>,:=?+-*/|;";
  token.kind = TokenKind::kPunctuation;
  for (const auto pair : kPairs) {
    if (text_.substr(offset_, 2) == pair) {
      token.text = pair;
      advance();
      advance();
      return true;
    }
  }
  if (kSingles.find(peek()) == std::string_view::npos) return false;
  token.text = peek();
  advance();
  return true;
}

Token Lexer::next() {
  skip_space_and_comments();
  Token token;
  token.location = location_;
  token.offset = offset_;
  if (offset_ >= text_.size()) return token;
  const char c = peek();
  if (starts_name(c)) {
    token.kind = TokenKind::kIdentifier;
    token.text = take_name();
    return token;
  }
  if (is_digit(c)) {
    read_number(token);
    return token;
  }
  if (c == '"') {
    read_string(token);
    return token;
  }
  if (c == '%' || c == '@' || c == '^' || c == '#' || c == '!') {
    token.kind = c == '%'   ? TokenKind::kValue
                 : c == '@' ? TokenKind::kSymbol
                 : c == '^' ? TokenKind::kBlock
                 : c == '#' ? TokenKind::kAttributeAlias
                            : TokenKind::kTypeAlias;
    advance();
    if (c == '@' && peek() == '"') {
      read_string(token);
      token.kind = TokenKind::kSymbol;
      return token;
    }
    token.text = take_name();
    while (peek() == '-' && c != '!' && offset_ + 1 < text_.size() &&
           continues_name(text_[offset_ + 1])) {
      advance();
      token.text += '-' + take_name();
    }
    if (c == '%' && peek() == '#' && offset_ + 1 < text_.size() && is_digit(text_[offset_ + 1])) {
      advance();
      token.text += '#' + take_name();
    }
    if (token.text.empty()) fail(token.location, fmt::format("expected a name after '{}'", c));
    return token;
  }
  if (!read_punctuation(token))
    fail(token.location,
         std::isprint(static_cast<unsigned char>(c)) != 0
             ? fmt::format("unexpected character '{}'", c)
             : fmt::format("unexpected byte 0x{:02x}", static_cast<unsigned char>(c)));
  return token;
}

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kEnd: return "the end of the text";
    case TokenKind::kString: return "a string";
    case TokenKind::kValue: return "'%" + token.text + "'";
    case TokenKind::kSymbol: return "'@" + token.text + "'";
    case TokenKind::kBlock: return "'^" + token.text + "'";
    case TokenKind::kAttributeAlias: return "'#" + token.text + "'";
    case TokenKind::kTypeAlias: return "'!" + token.text + "'";
    default: return "'" + token.text + "'";
  }
}

}  // namespace tandem::npu::mlir

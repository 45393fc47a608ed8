// Types and attributes of the parser; see parser.h.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cstdlib>

#include "npu/aie_text/affine.h"
#include "npu/aie_text/parser.h"

namespace tandem::npu::mlir {
namespace {

bool is_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

bool Parser::is_scalar_word(std::string_view word) const {
  if (word == "index" || word == "bf16" || word == "f16" || word == "f32" || word == "f64")
    return true;
  if (word.starts_with("si") || word.starts_with("ui")) return is_digits(word.substr(2));
  return word.starts_with("i") && is_digits(word.substr(1));
}

ScalarType Parser::parse_scalar(const Token& word) {
  using Kind = ScalarType::Kind;
  const std::string& text = word.text;
  if (!is_scalar_word(text))
    fail_at(word.location, fmt::format("expected a type, found {}", describe(word)));
  if (text == "index") return {Kind::kIndex, 64};
  if (text == "bf16") return {Kind::kBfloat16, 16};
  if (text == "f16") return {Kind::kFloat16, 16};
  if (text == "f32") return {Kind::kFloat32, 32};
  if (text == "f64") return {Kind::kFloat64, 64};
  const size_t digits = text.find_first_of("0123456789");
  const int bits = text.size() - digits > 4 ? 0 : std::atoi(text.c_str() + digits);
  if (bits < 1 || bits > 512)
    fail_at(word.location, fmt::format("an integer type has 1 to 512 bits, found '{}'", text));
  return {text[0] == 'u' ? Kind::kUnsigned : Kind::kSigned, bits};
}

void Parser::skip_blanks() {
  while (lexer_.peek() == ' ' || lexer_.peek() == '\n' || lexer_.peek() == '\t') lexer_.advance();
}

// A shape is one word to the ordinary lexer ("4x8xi32", and 0x8 would be hexadecimal), so it is
// read character by character: extents and '?' each followed by 'x', then the element type.
void Parser::parse_shape(Type& type) {
  lexer_.seek(token_.offset, token_.location);
  int64_t count = 1;
  for (;;) {
    if (lexer_.peek() == '?' || lexer_.peek() == '*') {  // '*': no shape at all
      type.shape.push_back(-1);
      lexer_.advance();
    } else if (lexer_.peek() >= '0' && lexer_.peek() <= '9') {
      int64_t extent = 0;
      while (lexer_.peek() >= '0' && lexer_.peek() <= '9') {
        extent = extent * 10 + (lexer_.peek() - '0');
        if (extent > (int64_t{1} << 40)) lexer_.fail(lexer_.location(), "this extent is too large");
        lexer_.advance();
      }
      type.shape.push_back(extent);
      if (extent > 0 && __builtin_mul_overflow(count, extent, &count))
        lexer_.fail(lexer_.location(), "this shape has too many elements");
    } else {
      break;
    }
    skip_blanks();  // "16 x f32" is "16xf32"
    if (lexer_.peek() != 'x')
      lexer_.fail(lexer_.location(), "expected 'x' after a dimension of a shape");
    lexer_.advance();
    skip_blanks();
    if (type.shape.size() > 32) lexer_.fail(lexer_.location(), "a shape has at most 32 dimensions");
  }
  token_ = lexer_.next();
  type.scalar = parse_scalar(token_);
  take();
}

void Parser::parse_vector_of_integers(std::vector<int64_t>& values) {
  expect("[", "before a list of integers");
  while (!accept("]")) {
    values.push_back(accept("?") ? -1 : take_integer("a list's number"));
    if (!token_.is("]")) expect(",", "between integers");
  }
}

// strided<[8, 1], offset: 4>, a memory space, or an affine map, which the subset ignores.
void Parser::parse_layout(Type& type) {
  if (accept_identifier("strided")) {
    expect("<", "after strided");
    parse_vector_of_integers(type.strides);
    if (accept(",")) {
      expect_identifier("offset", "in a strided layout");
      expect(":", "after offset");
      type.offset = accept("?") ? -1 : take_integer("the offset");
    }
    expect(">", "to close strided");
  } else if (accept_identifier("affine_map")) {
    skip_balanced_angles();
  } else {
    parse_attribute();  // memory space
  }
}

void Parser::skip_balanced_angles() {
  expect("<", "before a parameter");
  for (int depth = 1; depth > 0;) {
    if (token_.kind == TokenKind::kEnd) fail("expected '>'");
    const Token skipped = take();
    depth += skipped.is("<") ? 1 : skipped.is(">") ? -1 : 0;
  }
}

Type Parser::parse_shaped(Type::Kind kind) {
  Type type;
  type.kind = kind;
  if (!token_.is("<")) fail(fmt::format("expected '<' before a shape, found {}", describe(token_)));
  // The lexer must not read the first extent as a number, so '<' is passed by hand.
  lexer_.seek(token_.offset, token_.location);
  lexer_.advance();
  skip_blanks();
  token_ = Token{TokenKind::kPunctuation, "", lexer_.location(), lexer_.offset()};
  parse_shape(type);
  while (accept(",")) parse_layout(type);
  expect(">", "to close the type");
  return type;
}

Type Parser::parse_type() {
  if (++depth_ > 100) fail("types nest deeper than 100 levels");
  Type type;
  if (token_.kind == TokenKind::kTypeAlias) {
    const Token name = take();
    if (name.text == "aie.objectfifo" || name.text == "aie.objectfifosubview") {
      expect("<", "after " + name.text);
      type = parse_type();
      if (type.kind != Type::Kind::kMemref)
        fail_at(name.location, fmt::format("expected a memref inside !{}", name.text));
      type.kind = name.text == "aie.objectfifo" ? Type::Kind::kObjectFifo : Type::Kind::kSubview;
      expect(">", "to close the type");
    } else if (const auto found = type_aliases_.find(name.text); found != type_aliases_.end()) {
      type = found->second;
    } else {
      fail_at(name.location, fmt::format("expected a type of the subset, found '!{}'", name.text));
    }
  } else {
    const Token word = token_;
    if (word.kind != TokenKind::kIdentifier)
      fail(fmt::format("expected a type, found {}", describe(word)));
    take();
    if (word.text == "memref") {
      type = parse_shaped(Type::Kind::kMemref);
    } else if (word.text == "tensor") {
      type = parse_shaped(Type::Kind::kTensor);
    } else if (word.text == "vector") {
      type = parse_shaped(Type::Kind::kVector);
    } else if (word.text != "none") {
      type.kind = Type::Kind::kScalar;
      type.scalar = parse_scalar(word);
    }
  }
  --depth_;
  return type;
}

std::vector<Type> Parser::parse_type_list() {
  std::vector<Type> types;
  if (!accept("(")) {
    types.push_back(parse_type());
    return types;
  }
  while (!accept(")")) {
    types.push_back(parse_type());
    if (!token_.is(")")) expect(",", "between types");
  }
  return types;
}

// ---- attributes ----

Attribute Parser::parse_number_attribute() {
  Attribute attribute;
  attribute.location = token_.location;
  const bool negative = accept("-");
  if (token_.kind == TokenKind::kFloat) {
    attribute.kind = Attribute::Kind::kFloat;
    attribute.real = std::strtod(take().text.c_str(), nullptr) * (negative ? -1 : 1);
  } else {
    attribute.kind = Attribute::Kind::kInteger;
    attribute.hexadecimal = token_.text.starts_with("0x");
    attribute.integer = take_integer("a number");
    if (negative)
      attribute.integer = static_cast<int64_t>(0 - static_cast<uint64_t>(attribute.integer));
  }
  return attribute;
}

std::vector<NamedAttribute> Parser::parse_dictionary() {
  std::vector<NamedAttribute> fields;
  expect("{", "to open a dictionary");
  while (!accept("}")) {
    const std::string key = take_word("an attribute's name");
    Attribute value;
    value.location = token_.location;
    if (accept("=")) value = parse_attribute();
    for (const auto& [old, unused] : fields)
      if (old == key) fail(fmt::format("attribute '{}' is given twice", key));
    fields.push_back({key, std::move(value)});
    if (!token_.is("}")) expect(",", "between attributes");
  }
  return fields;
}

void Parser::parse_optional_attributes(Operation& operation) {
  accept_identifier("attributes");
  if (!token_.is("{")) return;
  for (auto& [key, value] : parse_dictionary()) operation.set(key, std::move(value));
}

Attribute Parser::parse_struct() {
  Attribute attribute;
  attribute.kind = Attribute::Kind::kDictionary;
  attribute.location = token_.location;
  expect("<", "to open a structure");
  while (!accept(">")) {
    const std::string key = take_identifier("a field's name");
    expect("=", fmt::format("after '{}'", key));
    attribute.fields.push_back({key, parse_attribute()});
    if (!token_.is(">")) expect(",", "between fields");
  }
  return attribute;
}

Attribute Parser::parse_struct_array() {
  Attribute attribute;
  attribute.kind = Attribute::Kind::kArray;
  attribute.location = token_.location;
  expect("[", "to open a list");
  while (!accept("]")) {
    attribute.items.push_back(token_.is("[") ? parse_struct_array() : parse_struct());
    if (!token_.is("]")) expect(",", "between list items");
  }
  return attribute;
}

void Parser::parse_dense_items(Attribute& dense) {
  if (++depth_ > 100) fail("a dense value nests deeper than 100 levels");
  if (accept("[")) {
    while (!accept("]")) {
      parse_dense_items(dense);
      if (!token_.is("]")) expect(",", "between dense values");
    }
  } else if (accept_identifier("true")) {
    dense.items.push_back(integer_attribute(1, token_.location));
  } else if (accept_identifier("false")) {
    dense.items.push_back(integer_attribute(0, token_.location));
  } else {
    dense.items.push_back(parse_number_attribute());
  }
  --depth_;
}

Attribute Parser::parse_dense() {
  Attribute dense;
  dense.kind = Attribute::Kind::kDense;
  dense.location = token_.location;
  expect("<", "after dense");
  // "0x..." holds the elements' bytes as they lie in memory.
  if (token_.kind == TokenKind::kString) {
    if (!token_.text.starts_with("0x") || token_.text.size() % 2 != 0 ||
        token_.text.find_first_not_of("0123456789abcdefABCDEF", 2) != std::string::npos)
      fail("expected numbers or a string of bytes such as \"0x0100FF\" in dense<...>");
    dense.text = take().text.substr(2);
  } else if (!token_.is(">")) {
    parse_dense_items(dense);
  }
  expect(">", "to close dense");
  if (accept(":")) dense.type = parse_type();
  return dense;
}

// #alias, #aie.packet_info<...>, #aie<bd_pad_layout_array[...]>: structures become dictionaries,
// enumerators words.
Attribute Parser::parse_dialect_attribute() {
  const Token name = take();
  if (const auto found = attribute_aliases_.find(name.text); found != attribute_aliases_.end())
    return found->second;
  if (name.text == "aie" || name.text == "arith") {
    expect("<", "after #" + name.text);
    take_identifier("the attribute's kind");
    Attribute attribute;
    attribute.location = name.location;
    if (token_.is("<")) {
      attribute = parse_struct();
    } else if (token_.is("[")) {
      attribute = parse_struct_array();
    } else {
      attribute = string_attribute(token_.kind == TokenKind::kInteger
                                       ? std::to_string(take_integer("a value"))
                                       : take_word("a value"),
                                   Attribute::Kind::kWord, name.location);
    }
    expect(">", "to close the attribute");
    return attribute;
  }
  if (token_.is("<")) {
    // #arith.overflow<nsw>, #vector.kind<add>, or a structure.
    if (name.text.starts_with("vector.")) {
      expect("<", "after #" + name.text);
      Attribute word =
          string_attribute(take_word("a value"), Attribute::Kind::kWord, name.location);
      expect(">", "to close the attribute");
      return word;
    }
    if (name.text.starts_with("arith.")) {
      skip_balanced_angles();
      return string_attribute(name.text, Attribute::Kind::kWord, name.location);
    }
    return parse_struct();
  }
  if (token_.is("[")) return parse_struct_array();
  fail_at(name.location, fmt::format("expected an attribute, found '#{}'", name.text));
}

namespace {

// A list, a dictionary, a structure or a function type.
Attribute parse_bracketed_attribute(Parser& p) {
  Attribute attribute;
  if (p.accept("[")) {
    attribute.kind = Attribute::Kind::kArray;
    while (!p.accept("]")) {
      attribute.items.push_back(p.parse_attribute());
      if (!p.token().is("]")) p.expect(",", "between list items");
    }
  } else if (p.token().is("{")) {
    attribute.kind = Attribute::Kind::kDictionary;
    attribute.fields = p.parse_dictionary();
  } else if (p.token().is("<")) {
    attribute = p.parse_struct();
  } else {
    p.parse_type_list();
    p.expect("->", "in a function type");
    p.parse_type_list();
    attribute.kind = Attribute::Kind::kType;
  }
  return attribute;
}

}  // namespace

Attribute Parser::parse_attribute() {
  if (++depth_ > 100) fail("attributes nest deeper than 100 levels");
  Attribute attribute;
  const Token first = token_;
  switch (first.kind) {
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      attribute = parse_number_attribute();
      if (accept(":")) attribute.type = parse_type();
      break;
    case TokenKind::kString:
      attribute = string_attribute(take().text, Attribute::Kind::kString, first.location);
      if (accept(":")) parse_type();
      break;
    case TokenKind::kSymbol:
      attribute =
          string_attribute(take_symbol("a symbol"), Attribute::Kind::kSymbol, first.location);
      break;
    case TokenKind::kAttributeAlias: attribute = parse_dialect_attribute(); break;
    case TokenKind::kTypeAlias:
      attribute.kind = Attribute::Kind::kType;
      attribute.type = parse_type();
      break;
    case TokenKind::kIdentifier:
      if (first.text == "true" || first.text == "false") {
        take();
        attribute.kind = Attribute::Kind::kBool;
        attribute.integer = first.text == "true" ? 1 : 0;
      } else if (first.text == "unit") {
        take();
      } else if (first.text == "dense") {
        take();
        attribute = parse_dense();
      } else if (first.text == "array") {
        take();  // array<i32: 1, 2>
        expect("<", "after array");
        parse_type();
        attribute.kind = Attribute::Kind::kArray;
        if (accept(":")) do
            attribute.items.push_back(parse_number_attribute());
          while (accept(","));
        expect(">", "to close array");
      } else if (first.text == "affine_map") {
        take();
        attribute = parse_affine_map(*this);
      } else if (is_scalar_word(first.text) || first.text == "memref" || first.text == "tensor" ||
                 first.text == "vector") {
        attribute.kind = Attribute::Kind::kType;
        attribute.type = parse_type();
      } else {
        attribute = string_attribute(take().text, Attribute::Kind::kWord, first.location);
      }
      break;
    default:
      if (first.is("-")) {
        attribute = parse_number_attribute();
        if (accept(":")) attribute.type = parse_type();
      } else if (first.is("[") || first.is("{") || first.is("<") || first.is("(")) {
        attribute = parse_bracketed_attribute(*this);
      } else {
        fail(fmt::format("expected an attribute's value, found {}", describe(first)));
      }
  }
  attribute.location = first.location;
  --depth_;
  return attribute;
}

}  // namespace tandem::npu::mlir

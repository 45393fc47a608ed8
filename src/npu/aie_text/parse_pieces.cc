// SPDX-License-Identifier: Apache-2.0
#include "npu/aie_text/parse_pieces.h"

namespace tandem::npu::mlir {

using Kind = Attribute::Kind;

OperationParser find_in(const OperationParsers& parsers, std::string_view name) {
  const auto found = parsers.find(name);
  return found == parsers.end() ? nullptr : found->second;
}

Attribute type_attribute(const Type& type, SourceLocation location) {
  Attribute attribute;
  attribute.kind = Kind::kType;
  attribute.type = type;
  attribute.location = location;
  return attribute;
}

void set_integer(Parser& p, Operation& op, const char* key, std::string_view what) {
  const SourceLocation location = p.token().location;
  const int64_t value = p.take_integer(what);
  if (p.accept(":")) p.parse_type();
  op.set(key, integer_attribute(value, location));
}

void set_word(Parser& p, Operation& op, const char* key, std::string_view what) {
  const SourceLocation location = p.token().location;
  op.set(key, string_attribute(p.take_word(what), Kind::kWord, location));
}

void set_symbol(Parser& p, Operation& op, const char* key, std::string_view what) {
  const SourceLocation location = p.token().location;
  op.set(key, string_attribute(p.take_symbol(what), Kind::kSymbol, location));
}

void set_port(Parser& p, Operation& op, const char* bundle, const char* channel) {
  set_word(p, op, bundle, "a port (DMA, Core, TileControl, South, ...)");
  p.expect(":", "between a port and its channel");
  set_integer(p, op, channel, "a channel number");
}

void set_channel(Parser& p, Operation& op, const char* direction, const char* channel) {
  set_word(p, op, direction, "S2MM or MM2S");
  p.expect(",", "after the direction");
  set_integer(p, op, channel, "the channel number");
}

void tile_in_parentheses(Parser& p, Operation& op) {
  p.expect("(", "after " + op.name);
  p.add_operand(op);
  p.expect(")", "after the tile");
}

void tile_region(Parser& p, Operation& op) {
  tile_in_parentheses(p, op);
  p.parse_region(op);
  p.parse_optional_attributes(op);
  p.set_result_types(op, kIndexType);
}

void operands(Parser& p, Operation& op, int count) {
  for (int i = 0; i < count; ++i) {
    if (i > 0) p.expect(",", "between the operands of " + op.name);
    p.add_operand(op);
  }
}

void attributes_and_colon(Parser& p, Operation& op) {
  p.parse_optional_attributes(op);
  p.expect(":", "before the types of " + op.name);
}

void source_and_result_types(Parser& p, Operation& op, std::string_view word) {
  attributes_and_colon(p, op);
  p.parse_type_of(op.operands[0]);
  p.expect_identifier(word, "between the types");
  p.set_result_types(op, p.parse_type());
}

void memref_and_result_types(Parser& p, Operation& op) {
  attributes_and_colon(p, op);
  p.parse_type_of(op.operands[0]);
  p.expect(",", "between the types");
  p.set_result_types(op, p.parse_type());
}

void indices(Parser& p, Operation& op) {
  p.expect("[", "before the indices");
  p.parse_operands_until(op, "]");
}

void mixed_list(Parser& p, Operation& op, const char* key) {
  Attribute list;
  list.kind = Kind::kArray;
  list.location = p.token().location;
  p.expect("[", "before a list of indices");
  while (!p.accept("]")) {
    const SourceLocation location = p.token().location;
    if (p.token().kind == TokenKind::kValue) {
      p.add_operand(op);
      list.items.push_back(string_attribute("%", Kind::kWord, location));
    } else {
      list.items.push_back(integer_attribute(p.take_integer("an index"), location));
    }
    if (!p.token().is("]")) p.expect(",", "between indices");
  }
  op.set(key, std::move(list));
}

void skip_hint(Parser& p) {
  while (p.token().is_identifier("overflow") || p.token().is_identifier("fastmath")) {
    p.take();
    p.skip_balanced_angles();
  }
}

void elementwise(Parser& p, Operation& op, int operand_count) {
  operands(p, op, operand_count);
  skip_hint(p);
  attributes_and_colon(p, op);
  const SourceLocation location = p.token().location;
  const Type type = p.parse_type();
  for (const ValueId operand : op.operands) p.note_type_use(operand, type, location);
  p.set_result_types(op, type);
}

void cast(Parser& p, Operation& op) {
  p.add_operand(op);
  skip_hint(p);
  source_and_result_types(p, op, "to");
}

}  // namespace tandem::npu::mlir

// The custom spellings of the vector dialect's operations.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "npu/aie_text/parse_pieces.h"

namespace tandem::npu::mlir {
namespace {

using Kind = Attribute::Kind;

// "%m[%i], %padding {in_bounds = [true]} : memref, vector"
void transfer_read(Parser& p, Operation& op) {
  p.add_operand(op);
  indices(p, op);
  p.expect(",", "before the padding");
  p.add_operand(op);
  memref_and_result_types(p, op);
}

// "%v, %m[%i] {...} : vector, memref", vector.store with the types the other way round.
void transfer_write(Parser& p, Operation& op) {
  const bool vector_first = op.name == "vector.transfer_write";
  p.add_operand(op);
  p.expect(",", "between the vector and the memref");
  p.add_operand(op);
  indices(p, op);
  attributes_and_colon(p, op);
  p.parse_type_of(op.operands[vector_first ? 0 : 1]);
  p.expect(",", "between the types");
  p.parse_type_of(op.operands[vector_first ? 1 : 0]);
}

// "%s : vector<16xi32>": the type is the result's.
void splat(Parser& p, Operation& op) {
  p.add_operand(op);
  attributes_and_colon(p, op);
  p.set_result_types(op, p.parse_type());
}

void vector_load(Parser& p, Operation& op) {
  p.add_operand(op);
  indices(p, op);
  memref_and_result_types(p, op);
}

// "<add>, %v, %accumulator : vector<16xi32> into i32"
void reduction(Parser& p, Operation& op) {
  p.expect("<", "before the kind of reduction");
  set_word(p, op, "kind", "add, mul, ...");
  p.expect(">", "after the kind of reduction");
  while (p.accept(",")) p.add_operand(op);
  skip_hint(p);
  attributes_and_colon(p, op);
  p.parse_type();
  p.expect_identifier("into", "between the types");
  p.set_result_types(op, p.parse_type());
}

void position(Parser& p, Operation& op, const char* key) {
  Attribute list;
  list.kind = Kind::kArray;
  list.location = p.token().location;
  p.expect("[", "before a position");
  while (!p.accept("]")) {
    list.items.push_back(integer_attribute(p.take_integer("a constant position")));
    if (!p.token().is("]")) p.expect(",", "between positions");
  }
  op.set(key, std::move(list));
}

// "%v[3] : i32 from vector<16xi32>"
void extract(Parser& p, Operation& op) {
  p.add_operand(op);
  position(p, op, "static_position");
  attributes_and_colon(p, op);
  p.set_result_types(op, p.parse_type());
  p.expect_identifier("from", "between the types");
  p.parse_type_of(op.operands[0]);
}

// "%s, %v[3] : i32 into vector<16xi32>"
void insert(Parser& p, Operation& op) {
  p.add_operand(op);
  p.expect(",", "between the value and the vector");
  p.add_operand(op);
  position(p, op, "static_position");
  source_and_result_types(p, op, "into");
}

void fused(Parser& p, Operation& op) { elementwise(p, op, 3); }

// "%a, %b [0, 5, 1] : vector<4xi32>, vector<4xi32>"
void shuffle(Parser& p, Operation& op) {
  operands(p, op, 2);
  position(p, op, "mask");
  attributes_and_colon(p, op);
  const Type first = p.parse_type();
  p.expect(",", "between the types");
  p.parse_type_of(op.operands[1]);
  Type result = first;
  const Attribute* mask = op.attribute("mask");
  if (result.shape.empty()) p.fail("expected a vector with dimensions");
  result.shape[0] = static_cast<int64_t>(mask->items.size());
  p.note_type_use(op.operands[0], first, op.location);
  p.set_result_types(op, result);
}

// "%v, [1, 0] : vector<4x8xi32> to vector<8x4xi32>"
void transpose(Parser& p, Operation& op) {
  p.add_operand(op);
  p.expect(",", "before the permutation");
  position(p, op, "permutation");
  source_and_result_types(p, op, "to");
}

// "%v {offsets = [0], sizes = [8], strides = [1]} : vector to vector"
void extract_slice(Parser& p, Operation& op) {
  p.add_operand(op);
  source_and_result_types(p, op, "to");
}

// "%part, %v {offsets = [0], strides = [1]} : vector into vector"
void insert_slice(Parser& p, Operation& op) {
  operands(p, op, 2);
  source_and_result_types(p, op, "into");
}

// "{indexing_maps = [...], iterator_types = [...], kind = ...} %a, %b, %c : vector, vector into
// vector"
void contract(Parser& p, Operation& op) {
  p.parse_optional_attributes(op);
  operands(p, op, 3);
  p.parse_optional_attributes(op);
  p.expect(":", "before the types of " + op.name);
  p.parse_type_of(op.operands[0]);
  p.expect(",", "between the types");
  p.parse_type_of(op.operands[1]);
  p.expect_identifier("into", "before the result's type");
  p.set_result_types(op, p.parse_type());
}

// "<add>, %v, %accumulator [1] : vector<4x8xi32> to vector<4xi32>"
void multi_reduction(Parser& p, Operation& op) {
  p.expect("<", "before the kind of reduction");
  set_word(p, op, "kind", "add, mul, ...");
  p.expect(">", "after the kind of reduction");
  p.expect(",", "after the kind of reduction");
  operands(p, op, 2);
  position(p, op, "reduction_dims");
  source_and_result_types(p, op, "to");
}

const OperationParsers kParsers = {
    {"vector.transfer_read", transfer_read},
    {"vector.transfer_write", transfer_write},
    {"vector.load", vector_load},
    {"vector.store", transfer_write},
    {"vector.broadcast", cast},
    {"vector.splat", splat},
    {"vector.shape_cast", cast},
    {"vector.bitcast", cast},
    {"vector.fma", fused},
    {"vector.reduction", reduction},
    {"vector.multi_reduction", multi_reduction},
    {"vector.contract", contract},
    {"vector.extract", extract},
    {"vector.insert", insert},
    {"vector.extract_strided_slice", extract_slice},
    {"vector.insert_strided_slice", insert_slice},
    {"vector.shuffle", shuffle},
    {"vector.transpose", transpose},
};

}  // namespace

OperationParser find_vector_parser(std::string_view name) { return find_in(kParsers, name); }

}  // namespace tandem::npu::mlir

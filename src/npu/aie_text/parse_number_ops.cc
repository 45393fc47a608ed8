// The custom spellings of operations on numbers and vectors: arith, math, index, vector.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "npu/aie_text/parse_pieces.h"

namespace tandem::npu::mlir {
namespace {

using Kind = Attribute::Kind;

// overflow<nsw>, fastmath<fast>: hints without a meaning here.
void skip_hint(Parser& p) {
  while (p.token().is_identifier("overflow") || p.token().is_identifier("fastmath")) {
    p.take();
    p.skip_balanced_angles();
  }
}

void constant(Parser& p, Operation& op) {
  p.parse_optional_attributes(op);
  Attribute value = p.parse_attribute();
  Type type = value.type;
  if (value.kind == Kind::kBool) type = kBoolType;
  if (type.kind == Type::Kind::kNone)
    p.fail_at(value.location, "expected a type after the constant");
  p.set_result_types(op, type);
  op.set("value", std::move(value));
}

// "%a, %b : type": the operands and the result are of one type.
void elementwise(Parser& p, Operation& op, int operand_count) {
  operands(p, op, operand_count);
  skip_hint(p);
  attributes_and_colon(p, op);
  const SourceLocation location = p.token().location;
  const Type type = p.parse_type();
  for (const ValueId operand : op.operands) p.note_type_use(operand, type, location);
  p.set_result_types(op, type);
}

void unary(Parser& p, Operation& op) { elementwise(p, op, 1); }
void binary(Parser& p, Operation& op) { elementwise(p, op, 2); }
void ternary(Parser& p, Operation& op) { elementwise(p, op, 3); }

void compare(Parser& p, Operation& op) {
  const SourceLocation location = p.token().location;
  set_word(p, op, "predicate", "a predicate (eq, slt, ...)");
  p.expect(",", "after the predicate");
  binary(p, op);
  Type type = op.results.empty() ? kIndexType : p.type_of(op.results[0]);
  op.set("type", type_attribute(type, location));
  type.scalar = kBoolType.scalar;  // of each lane
  p.set_result_types(op, type);
}

// "%condition, %a, %b : type", or both types where the condition is a vector.
void select(Parser& p, Operation& op) {
  operands(p, op, 3);
  attributes_and_colon(p, op);
  Type type = p.parse_type();
  if (p.accept(",")) type = p.parse_type();
  p.set_result_types(op, type);
}

void cast(Parser& p, Operation& op) {
  p.add_operand(op);
  skip_hint(p);
  source_and_result_types(p, op, "to");
}

// ---- index ----

void index_constant(Parser& p, Operation& op) {
  op.set("value", integer_attribute(p.take_integer("an index")));
  p.set_result_types(op, kIndexType);
}

void index_binary(Parser& p, Operation& op) {
  operands(p, op, 2);
  p.parse_optional_attributes(op);
  p.set_result_types(op, kIndexType);
}

// "slt(%a, %b)"
void index_compare(Parser& p, Operation& op) {
  set_word(p, op, "predicate", "a predicate (eq, slt, ...)");
  p.expect("(", "after the predicate");
  p.parse_operands_until(op, ")");
  p.set_result_types(op, kBoolType);
}

// ---- vector ----

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

void position(Parser& p, Operation& op) {
  Attribute list;
  list.kind = Kind::kArray;
  list.location = p.token().location;
  p.expect("[", "before a position");
  while (!p.accept("]")) {
    list.items.push_back(integer_attribute(p.take_integer("a constant position")));
    if (!p.token().is("]")) p.expect(",", "between positions");
  }
  op.set("position", std::move(list));
}

// "%v[3] : i32 from vector<16xi32>"
void extract(Parser& p, Operation& op) {
  p.add_operand(op);
  position(p, op);
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
  position(p, op);
  source_and_result_types(p, op, "into");
}

const OperationParsers& parsers() {
  static const auto* const kTable = [] {
    auto* table = new OperationParsers{
        {"arith.constant", constant},
        {"arith.cmpi", compare},
        {"arith.cmpf", compare},
        {"arith.select", select},
        {"arith.negf", unary},
        {"math.fma", ternary},
        {"math.powf", binary},
        {"index.constant", index_constant},
        {"index.cmp", index_compare},
        {"index.casts", cast},
        {"index.castu", cast},
        {"vector.transfer_read", transfer_read},
        {"vector.transfer_write", transfer_write},
        {"vector.load", vector_load},
        {"vector.store", transfer_write},
        {"vector.broadcast", cast},
        {"vector.splat", splat},
        {"vector.shape_cast", cast},
        {"vector.fma", ternary},
        {"vector.reduction", reduction},
        {"vector.extract", extract},
        {"vector.insert", insert},
    };
    for (const char* name :
         {"arith.addi",      "arith.subi",       "arith.muli",  "arith.divsi",    "arith.divui",
          "arith.ceildivsi", "arith.floordivsi", "arith.remsi", "arith.remui",    "arith.andi",
          "arith.ori",       "arith.xori",       "arith.shli",  "arith.shrsi",    "arith.shrui",
          "arith.minsi",     "arith.maxsi",      "arith.minui", "arith.maxui",    "arith.addf",
          "arith.subf",      "arith.mulf",       "arith.divf",  "arith.minimumf", "arith.maximumf",
          "arith.minnumf",   "arith.maxnumf",    "arith.remf",  "arith.ceildivui"})
      table->emplace(name, binary);
    for (const char* name : {"arith.extsi", "arith.extui", "arith.trunci", "arith.index_cast",
                             "arith.index_castui", "arith.sitofp", "arith.uitofp", "arith.fptosi",
                             "arith.fptoui", "arith.extf", "arith.truncf", "arith.bitcast"})
      table->emplace(name, cast);
    for (const char* name :
         {"math.absi",  "math.absf",  "math.sqrt",  "math.rsqrt", "math.exp",
          "math.exp2",  "math.log",   "math.log2",  "math.sin",   "math.cos",
          "math.tanh",  "math.erf",   "math.floor", "math.ceil",  "math.roundeven",
          "math.trunc", "math.round", "math.ctpop", "math.ctlz",  "math.cttz"})
      table->emplace(name, unary);
    for (const char* name :
         {"index.add",      "index.sub",      "index.mul",       "index.divs", "index.divu",
          "index.ceildivs", "index.ceildivu", "index.floordivs", "index.rems", "index.remu",
          "index.mins",     "index.maxs",     "index.minu",      "index.maxu", "index.and",
          "index.or",       "index.xor",      "index.shl",       "index.shrs", "index.shru"})
      table->emplace(name, index_binary);
    return table;
  }();
  return *kTable;
}

}  // namespace

OperationParser find_number_parser(std::string_view name) { return find_in(parsers(), name); }

}  // namespace tandem::npu::mlir

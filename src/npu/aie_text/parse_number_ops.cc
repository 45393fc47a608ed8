// The custom spellings of operations on numbers: arith, math, index.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "npu/aie_text/parse_pieces.h"

namespace tandem::npu::mlir {
namespace {

using Kind = Attribute::Kind;

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

const OperationParsers& parsers() {
  static const auto* const kTable = [] {
    auto* table = new OperationParsers{
        {"arith.constant", constant}, {"arith.cmpi", compare},
        {"arith.cmpf", compare},      {"arith.select", select},
        {"arith.negf", unary},        {"math.fma", ternary},
        {"math.powf", binary},        {"index.constant", index_constant},
        {"index.cmp", index_compare}, {"index.casts", cast},
        {"index.castu", cast},
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

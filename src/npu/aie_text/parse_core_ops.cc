// The custom spellings of what core bodies are written in: scf, cf, affine, memref, func.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "npu/aie_text/affine.h"
#include "npu/aie_text/parse_pieces.h"

namespace tandem::npu::mlir {
namespace {

using Kind = Attribute::Kind;
using Arguments = std::vector<std::pair<std::string, Type>>;  // of a region

// ---- scf ----

// "%variable = ", the first argument of a loop's body.
void loop_variable(Parser& p, Arguments& arguments) {
  if (p.token().kind != TokenKind::kValue)
    p.fail(fmt::format("expected the loop's variable, found {}", describe(p.token())));
  arguments.emplace_back(p.take().text, kIndexType);
  p.expect("=", "after the loop's variable");
}

// "(%x = %init, ...)": names for the region, operands for the operation.
void initial_values(Parser& p, Operation& op, Arguments& arguments) {
  p.expect("(", "before the loop's values");
  while (!p.accept(")")) {
    if (p.token().kind != TokenKind::kValue)
      p.fail(fmt::format("expected a value's name, found {}", describe(p.token())));
    arguments.emplace_back(p.take().text, Type{});
    p.expect("=", "between a loop's value and its initial value");
    p.add_operand(op);
    if (!p.token().is(")")) p.expect(",", "between loop values");
  }
}

void result_types(Parser& p, Operation& op, Arguments& arguments, size_t first) {
  if (!p.accept("->")) return;
  const std::vector<Type> types = p.parse_type_list();
  for (size_t i = 0; i < types.size(); ++i) {
    if (first + i < arguments.size()) arguments[first + i].second = types[i];
    p.set_result_type(op, i, types[i]);
  }
}

void scf_for(Parser& p, Operation& op) {
  p.accept_identifier("unsigned");
  Arguments arguments;
  loop_variable(p, arguments);
  p.add_operand(op);
  p.expect_identifier("to", "after the lower bound");
  p.add_operand(op);
  p.expect_identifier("step", "after the upper bound");
  p.add_operand(op);
  if (p.accept_identifier("iter_args")) initial_values(p, op, arguments);
  result_types(p, op, arguments, 1);
  if (p.accept(":")) arguments[0].second = p.parse_type();
  p.parse_region(op, arguments);
  p.parse_optional_attributes(op);
}

void scf_while(Parser& p, Operation& op) {
  Arguments arguments;
  if (p.token().is("(")) initial_values(p, op, arguments);
  if (p.accept(":")) {
    const std::vector<Type> types = p.parse_type_list();
    for (size_t i = 0; i < types.size() && i < arguments.size(); ++i)
      arguments[i].second = types[i];
    p.expect("->", "between the loop's types");
    const std::vector<Type> results = p.parse_type_list();
    for (size_t i = 0; i < results.size(); ++i) p.set_result_type(op, i, results[i]);
  }
  p.parse_region(op, arguments);
  p.expect_identifier("do", "after the condition's region");
  p.parse_region(op);
  p.parse_optional_attributes(op);
}

void scf_if(Parser& p, Operation& op) {
  p.add_operand(op);
  Arguments none;
  result_types(p, op, none, 0);
  p.parse_region(op);
  if (p.accept_identifier("else")) p.parse_region(op);
  p.parse_optional_attributes(op);
}

// "%i -> types case 2 { ... } case 5 { ... } default { ... }"
void scf_index_switch(Parser& p, Operation& op) {
  p.add_operand(op);
  p.parse_optional_attributes(op);
  Arguments none;
  result_types(p, op, none, 0);
  Attribute cases;
  cases.kind = Kind::kArray;
  while (p.accept_identifier("case")) {
    cases.items.push_back(integer_attribute(p.take_integer("a case's index")));
    p.parse_region(op);
  }
  op.set("cases", std::move(cases));
  p.expect_identifier("default", "after the cases");
  p.parse_region(op);
  // The operation's first region is the default.
  std::rotate(op.regions.begin(), op.regions.end() - 1, op.regions.end());
}

// "%a, %b : type, type" or nothing
void typed_operands(Parser& p, Operation& op) {
  p.parse_optional_attributes(op);
  if (p.token().kind != TokenKind::kValue) return;
  do p.add_operand(op);
  while (p.accept(","));
  p.expect(":", "before the operands' types");
  do p.parse_type();
  while (p.accept(","));
}

void condition(Parser& p, Operation& op) {
  p.expect("(", "after scf.condition");
  const SourceLocation location = p.token().location;
  p.add_operand(op);
  p.note_type_use(op.operands[0], kBoolType, location);
  p.expect(")", "after the condition");
  typed_operands(p, op);
}

void branch(Parser& p, Operation& op) {
  op.successors.push_back(p.parse_successor());
  p.parse_optional_attributes(op);
}

void conditional_branch(Parser& p, Operation& op) {
  p.add_operand(op);
  p.expect(",", "after the condition");
  op.successors.push_back(p.parse_successor());
  p.expect(",", "between the blocks");
  op.successors.push_back(p.parse_successor());
  p.parse_optional_attributes(op);
}

// "%flag : i32, [default: ^a(%x : i32), 42: ^b, ...]"
void switch_branch(Parser& p, Operation& op) {
  p.add_operand(op);
  p.expect(":", "before the selector's type");
  p.parse_type_of(op.operands[0]);
  p.expect(",", "before the targets");
  p.expect("[", "before the targets");
  p.expect_identifier("default", "as the first target");
  p.expect(":", "after default");
  op.successors.push_back(p.parse_successor());
  Attribute cases;
  cases.kind = Kind::kArray;
  while (p.accept(",")) {
    cases.items.push_back(integer_attribute(p.take_integer("a case's value")));
    p.expect(":", "after a case's value");
    op.successors.push_back(p.parse_successor());
  }
  p.expect("]", "to close the targets");
  op.set("cases", std::move(cases));
  p.parse_optional_attributes(op);
}

// ---- memref ----

// "{attributes} : memref", the result is one of its elements.
void element_of_memref(Parser& p, Operation& op) {
  attributes_and_colon(p, op);
  const SourceLocation location = p.token().location;
  const Type type = p.parse_type();
  p.note_type_use(op.operands[0], type, location);
  p.set_result_types(op, Type{Type::Kind::kScalar, type.scalar, {}, {}, 0});
}

void memref_load(Parser& p, Operation& op) {
  p.add_operand(op);
  indices(p, op);
  element_of_memref(p, op);
}

void memref_store(Parser& p, Operation& op) {
  operands(p, op, 2);
  indices(p, op);
  attributes_and_colon(p, op);
  p.parse_type_of(op.operands[1]);
}

void memref_copy(Parser& p, Operation& op) {
  operands(p, op, 2);
  attributes_and_colon(p, op);
  p.parse_type_of(op.operands[0]);
  p.expect_identifier("to", "between the types");
  p.parse_type_of(op.operands[1]);
}

void memref_global(Parser& p, Operation& op) {
  if (p.token().kind == TokenKind::kString) p.take();  // visibility
  if (p.accept_identifier("constant")) op.set("constant", Attribute{});
  const SourceLocation location = p.token().location;
  op.set("sym_name", string_attribute(p.take_symbol("the global's name"), Kind::kSymbol, location));
  p.expect(":", "before the global's type");
  op.set("type", type_attribute(p.parse_type(), location));
  if (p.accept("=") && !p.accept_identifier("uninitialized"))
    op.set("initial_value", p.parse_attribute());
  p.parse_optional_attributes(op);
}

void memref_get_global(Parser& p, Operation& op) {
  const SourceLocation location = p.token().location;
  op.set("name", string_attribute(p.take_symbol("a global"), Kind::kSymbol, location));
  p.expect(":", "before the global's type");
  p.set_result_types(op, p.parse_type());
}

// "() {attributes} : memref", of known shape
void memref_alloca(Parser& p, Operation& op) {
  p.expect("(", "after " + op.name);
  p.parse_operands_until(op, ")");
  attributes_and_colon(p, op);
  p.set_result_types(op, p.parse_type());
}

void memref_subview(Parser& p, Operation& op) {
  p.add_operand(op);
  mixed_list(p, op, "static_offsets");
  mixed_list(p, op, "static_sizes");
  mixed_list(p, op, "static_strides");
  source_and_result_types(p, op, "to");
}

void memref_reinterpret_cast(Parser& p, Operation& op) {
  p.add_operand(op);
  p.expect_identifier("to", "after the memref");
  for (const auto& [word, key] :
       {std::pair("offset", "static_offsets"), std::pair("sizes", "static_sizes"),
        std::pair("strides", "static_strides")}) {
    p.expect_identifier(word, "in memref.reinterpret_cast");
    p.expect(":", "after a key");
    mixed_list(p, op, key);
    p.accept(",");
  }
  source_and_result_types(p, op, "to");
}

void memref_assume_alignment(Parser& p, Operation& op) {
  p.add_operand(op);
  p.expect(",", "before the alignment");
  op.set("alignment", integer_attribute(p.take_integer("the alignment")));
  attributes_and_colon(p, op);
  p.set_result_types(op, p.parse_type());
}

// "%m [[0, 1], [2]] : a into b"; expand_shape adds "output_shape [..]".
void memref_reshape(Parser& p, Operation& op) {
  p.add_operand(op);
  p.parse_attribute();
  if (p.accept_identifier("output_shape")) mixed_list(p, op, "output_shape");
  source_and_result_types(p, op, "into");
}

// ---- func ----

void func_func(Parser& p, Operation& op) {
  for (const char* visibility : {"private", "public", "nested"}) p.accept_identifier(visibility);
  const SourceLocation location = p.token().location;
  op.set("sym_name",
         string_attribute(p.take_symbol("the function's name"), Kind::kSymbol, location));
  p.expect("(", "before the function's arguments");
  Arguments arguments;
  Attribute types;
  types.kind = Kind::kArray;
  while (!p.accept(")")) {
    std::string name;
    if (p.token().kind == TokenKind::kValue) {
      name = p.take().text;
      p.expect(":", "after an argument's name");
    }
    const Type type = p.parse_type();
    if (p.token().is("{")) p.parse_dictionary();
    arguments.emplace_back(name, type);
    types.items.push_back(type_attribute(type, location));
    if (!p.token().is(")")) p.expect(",", "between arguments");
  }
  op.set("arguments", std::move(types));
  if (p.accept("->")) {
    Attribute results;
    results.kind = Kind::kArray;
    for (const Type& type : p.parse_type_list())
      results.items.push_back(type_attribute(type, location));
    op.set("results", std::move(results));
  }
  // A body and an attribute dictionary both open with '{'; only "attributes {" is a dictionary.
  if (p.token().is_identifier("attributes")) p.parse_optional_attributes(op);
  if (p.token().is("{")) p.parse_region(op, arguments);
}

void func_call(Parser& p, Operation& op) {
  const SourceLocation location = p.token().location;
  op.set("callee", string_attribute(p.take_symbol("a function"), Kind::kSymbol, location));
  p.expect("(", "before the call's arguments");
  p.parse_operands_until(op, ")");
  p.parse_optional_attributes(op);
  p.expect(":", "before the call's type");
  p.parse_types_of(op);
  p.expect("->", "before the results' types");
  const std::vector<Type> types = p.parse_type_list();
  for (size_t i = 0; i < types.size(); ++i) p.set_result_type(op, i, types[i]);
}

// ---- affine ----

// A bound: an integer, a value, or a map applied to values.
void affine_bound(Parser& p, Operation& op, const char* key) {
  if (p.token().kind == TokenKind::kInteger || p.token().is("-")) {
    op.set(key, constant_expression(p.take_integer("a bound")));
    return;
  }
  if (p.token().kind == TokenKind::kValue) {
    op.set(key, operand_expression(static_cast<int>(op.operands.size())));
    p.add_operand(op);
    return;
  }
  for (const char* fold : {"min", "max"}) {
    if (!p.accept_identifier(fold)) continue;
    op.set(key, parse_map_application(p, op, fold));
    return;
  }
  op.set(key, parse_map_application(p, op));
}

void affine_for(Parser& p, Operation& op) {
  Arguments arguments;
  loop_variable(p, arguments);
  affine_bound(p, op, "lower");
  p.expect_identifier("to", "after the lower bound");
  affine_bound(p, op, "upper");
  op.set("step", integer_attribute(p.accept_identifier("step") ? p.take_integer("the step") : 1));
  op.set("bound_operands", integer_attribute(static_cast<int64_t>(op.operands.size())));
  if (p.accept_identifier("iter_args")) initial_values(p, op, arguments);
  result_types(p, op, arguments, 1);
  p.parse_region(op, arguments);
  p.parse_optional_attributes(op);
}

void affine_load(Parser& p, Operation& op) {
  p.add_operand(op);
  op.set("indices", parse_affine_indices(p, op));
  element_of_memref(p, op);
}

void affine_store(Parser& p, Operation& op) {
  operands(p, op, 2);
  op.set("indices", parse_affine_indices(p, op));
  attributes_and_colon(p, op);
  p.parse_type_of(op.operands[1]);
}

void affine_apply(Parser& p, Operation& op) {
  op.set("map", parse_map_application(p, op,
                                      op.name == "affine.apply" ? nullptr
                                      : op.name == "affine.min" ? "min"
                                                                : "max"));
  p.parse_optional_attributes(op);
  p.set_result_types(op, kIndexType);
}

const OperationParsers kParsers = {
    {"scf.for", scf_for},
    {"scf.while", scf_while},
    {"scf.if", scf_if},
    {"scf.index_switch", scf_index_switch},
    {"scf.yield", typed_operands},
    {"scf.condition", condition},
    {"cf.br", branch},
    {"cf.cond_br", conditional_branch},
    {"cf.switch", switch_branch},
    {"memref.load", memref_load},
    {"memref.store", memref_store},
    {"memref.copy", memref_copy},
    {"memref.global", memref_global},
    {"memref.get_global", memref_get_global},
    {"memref.alloca", memref_alloca},
    {"memref.alloc", memref_alloca},
    {"memref.dealloc", typed_operands},
    {"memref.subview", memref_subview},
    {"memref.reinterpret_cast", memref_reinterpret_cast},
    {"memref.assume_alignment", memref_assume_alignment},
    {"memref.cast", cast},
    {"memref.collapse_shape", memref_reshape},
    {"memref.expand_shape", memref_reshape},
    {"func.func", func_func},
    {"func.call", func_call},
    {"call", func_call},
    {"func.return", typed_operands},
    {"return", typed_operands},
    {"affine.for", affine_for},
    {"affine.load", affine_load},
    {"affine.store", affine_store},
    {"affine.apply", affine_apply},
    {"affine.min", affine_apply},
    {"affine.max", affine_apply},
    {"affine.yield", typed_operands},
};

}  // namespace

OperationParser find_core_parser(std::string_view name) { return find_in(kParsers, name); }

}  // namespace tandem::npu::mlir

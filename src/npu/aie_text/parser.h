// Reads MLIR text into the tree of ir.h: the generic machinery (types, attributes, names, regions)
// and the custom spellings of the dialects' operations through operation_parsers.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "npu/aie_text/ir.h"
#include "npu/aie_text/lexer.h"

namespace tandem::npu::mlir {

// Parses a whole text. `device` replaces the placeholder NPUDEVICE. Throws kInvalidFile with
// "file:line:column: what was expected".
Module parse_module(std::string_view text, std::string_view source_name, std::string_view device);

class Parser;
// Reads what follows an operation's name; results already stand in the operation's `result_names`.
using OperationParser = void (*)(Parser& parser, Operation& operation);

// The custom spelling of an operation, nullptr when the subset has none of that name.
OperationParser find_operation_parser(std::string_view name);
OperationParser find_array_parser(std::string_view name);     // aie.*
OperationParser find_routing_parser(std::string_view name);   // aie.* of routed text, traces
OperationParser find_sequence_parser(std::string_view name);  // aiex.*
OperationParser find_core_parser(std::string_view name);      // scf, cf, memref, func, affine
OperationParser find_number_parser(std::string_view name);    // arith, math, index
OperationParser find_vector_parser(std::string_view name);

class Parser {
 public:
  Parser(std::string_view text, std::string_view source_name, std::string_view device);

  Module parse();

  // Tokens.
  const Token& token() const { return token_; }
  Token take();
  bool accept(std::string_view punctuation);
  bool accept_identifier(std::string_view word);
  void expect(std::string_view punctuation, std::string_view where);
  void expect_identifier(std::string_view word, std::string_view where);
  std::string take_identifier(std::string_view what);
  std::string take_symbol(std::string_view what);
  // An enumerator written as a word or a string.
  std::string take_word(std::string_view what);
  int64_t take_integer(std::string_view what);
  [[noreturn]] void fail(std::string_view message) const { fail_at(token_.location, message); }
  [[noreturn]] void fail_at(SourceLocation location, std::string_view message) const {
    lexer_.fail(location, message);
  }
  std::string device_name(std::string text) const;

  // Types and attributes.
  Type parse_type();
  Attribute parse_attribute();
  std::vector<NamedAttribute> parse_dictionary();        // at '{'
  void parse_optional_attributes(Operation& operation);  // { ... } or nothing
  Attribute parse_struct();                              // <key = value, ...>
  Attribute parse_struct_array();                        // [<...>, <...>]
  Attribute parse_dense();                               // after the word dense
  void skip_balanced_angles();                           // <...>, content without a meaning here

  // Values. A name used before its definition gets its type later.
  ValueId use_value();
  ValueId define_value(const std::string& name, Type type, SourceLocation location);
  void add_operand(Operation& operation) { operation.operands.push_back(use_value()); }
  void set_result_type(Operation& operation, size_t index, Type type);
  void set_result_types(Operation& operation, const Type& type);
  Type& type_of(ValueId value) { return module_.values[static_cast<size_t>(value)].type; }

  // Regions. Arguments are defined in the region's first block.
  void parse_region(Operation& operation,
                    const std::vector<std::pair<std::string, Type>>& arguments = {});
  Successor parse_successor();
  // "%a, %b" up to the closing punctuation, which is taken.
  void parse_operands_until(Operation& operation, std::string_view closing);
  // "(type, type)" or one type.
  std::vector<Type> parse_type_list();
  // The same where the text repeats the types of operands: they must be the
  // values' own, which may be defined further down.
  void note_type_use(ValueId value, Type type, SourceLocation location);
  void parse_type_of(ValueId value);
  void parse_types_of(const Operation& operation, size_t first_operand = 0);

 private:
  struct Scope {
    std::map<std::string, ValueId> names;
    std::map<std::string, ValueId> forward;  // used, not yet defined here
  };
  class DepthGuard;

  void parse_block_body(Region& region, Block& block);
  void parse_operation(Block& block);
  void parse_generic_operation(Operation& operation);
  std::vector<std::string> parse_result_names();
  bool at_region_end() const;
  void parse_alias_definition();
  void skip_location();
  void close_scope();
  ValueId new_value(const std::string& name, SourceLocation location);

  ScalarType parse_scalar(const Token& word);
  bool is_scalar_word(std::string_view word) const;
  Type parse_shaped(Type::Kind kind);
  void skip_blanks();
  void parse_shape(Type& type);
  void parse_layout(Type& type);
  void parse_vector_of_integers(std::vector<int64_t>& values);
  Attribute parse_number_attribute();
  Attribute parse_dialect_attribute();
  void parse_dense_items(Attribute& dense);

  Lexer lexer_;
  Token token_;
  std::string device_;
  Module module_;
  std::vector<Scope> scopes_;
  std::map<std::string, Attribute> attribute_aliases_;
  std::map<std::string, Type> type_aliases_;
  int depth_ = 0;
  struct TypeUse {
    ValueId value;
    Type type;
    SourceLocation location;
  };
  void verify_type_uses() const;
  void verify_terminators(const Operation& operation, const Region& region,
                          SourceLocation closing) const;
  bool is_visible(const std::string& name) const;
  std::vector<TypeUse> type_uses_;
};

}  // namespace tandem::npu::mlir

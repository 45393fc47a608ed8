// Tokens, values, regions and operations of the parser; types and attributes are in
// parser_types.cc.
// SPDX-License-Identifier: Apache-2.0
#include "npu/aie_text/parser.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>
#include <set>

namespace tandem::npu::mlir {

// Regions, attributes and types nest; a text that nests deeper than any design is refused before
// the stack is.
class Parser::DepthGuard {
 public:
  explicit DepthGuard(Parser& parser) : parser_(parser) {
    if (++parser_.depth_ > 100) parser_.fail("nested deeper than 100 levels");
  }
  ~DepthGuard() { --parser_.depth_; }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;

 private:
  Parser& parser_;
};

Parser::Parser(std::string_view text, std::string_view source_name, std::string_view device)
    : lexer_(text, source_name), device_(device) {
  module_.source_name = source_name;
  scopes_.emplace_back();
  token_ = lexer_.next();
}

Token Parser::take() {
  Token taken = std::move(token_);
  token_ = lexer_.next();
  return taken;
}

bool Parser::accept(std::string_view punctuation) {
  if (!token_.is(punctuation)) return false;
  take();
  return true;
}

bool Parser::accept_identifier(std::string_view word) {
  if (!token_.is_identifier(word)) return false;
  take();
  return true;
}

void Parser::expect(std::string_view punctuation, std::string_view where) {
  if (!accept(punctuation))
    fail(fmt::format("expected '{}' {}, found {}", punctuation, where, describe(token_)));
}

void Parser::expect_identifier(std::string_view word, std::string_view where) {
  if (!accept_identifier(word))
    fail(fmt::format("expected '{}' {}, found {}", word, where, describe(token_)));
}

std::string Parser::take_identifier(std::string_view what) {
  if (token_.kind != TokenKind::kIdentifier)
    fail(fmt::format("expected {}, found {}", what, describe(token_)));
  return take().text;
}

std::string Parser::take_symbol(std::string_view what) {
  if (token_.kind != TokenKind::kSymbol)
    fail(fmt::format("expected {} (@name), found {}", what, describe(token_)));
  std::string name = take().text;
  while (accept("::")) name = take_symbol(what);  // a nested reference names its last part
  return name;
}

std::string Parser::take_word(std::string_view what) {
  if (token_.kind != TokenKind::kIdentifier && token_.kind != TokenKind::kString)
    fail(fmt::format("expected {}, found {}", what, describe(token_)));
  return take().text;
}

int64_t Parser::take_integer(std::string_view what) {
  const bool negative = accept("-");
  if (token_.kind != TokenKind::kInteger)
    fail(fmt::format("expected {} (an integer), found {}", what, describe(token_)));
  const Token digits = take();
  const bool hex = digits.text.starts_with("0x");
  errno = 0;
  const unsigned long long magnitude = std::strtoull(digits.text.c_str(), nullptr, hex ? 16 : 10);
  if (errno != 0) fail_at(digits.location, "this integer does not fit 64 bits");
  const auto value = static_cast<int64_t>(magnitude);
  return negative ? static_cast<int64_t>(0 - static_cast<uint64_t>(value)) : value;
}

std::string Parser::device_name(std::string text) const {
  if (text != "NPUDEVICE") return text;
  if (device_.empty())
    fail("the device is the placeholder NPUDEVICE; name one with --device, for example npu1");
  return device_;
}

// ---- values ----

ValueId Parser::new_value(const std::string& name, SourceLocation location) {
  module_.values.push_back(Value{name, {}, location, nullptr, 0});
  return static_cast<ValueId>(module_.values.size()) - 1;
}

ValueId Parser::use_value() {
  if (token_.kind != TokenKind::kValue)
    fail(fmt::format("expected a value (%name), found {}", describe(token_)));
  const Token name = take();
  std::string key = name.text;
  if (key.ends_with("#0")) key.resize(key.size() - 2);
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    if (const auto found = scope->names.find(key); found != scope->names.end())
      return found->second;
    if (const auto found = scope->forward.find(key); found != scope->forward.end())
      return found->second;
  }
  const ValueId value = new_value(key, name.location);
  scopes_.back().forward.emplace(key, value);
  return value;
}

ValueId Parser::define_value(const std::string& name, Type type, SourceLocation location) {
  // A region sees the values around it, so what it defines needs names of its own.
  if (is_visible(name)) fail_at(location, fmt::format("'%{}' is defined twice", name));
  Scope& scope = scopes_.back();
  ValueId value = -1;
  if (const auto found = scope.forward.find(name); found != scope.forward.end()) {
    value = found->second;
    scope.forward.erase(found);
  } else {
    value = new_value(name, location);
  }
  scope.names.emplace(name, value);
  Value& entry = module_.values[static_cast<size_t>(value)];
  entry.type = std::move(type);
  entry.location = location;
  return value;
}

void Parser::close_scope() {
  Scope closed = std::move(scopes_.back());
  scopes_.pop_back();
  for (const auto& [name, value] : closed.forward) {
    if (scopes_.empty())
      fail_at(module_.values[static_cast<size_t>(value)].location,
              fmt::format("'%{}' is used but never defined", name));
    scopes_.back().forward.emplace(name, value);
  }
}

void Parser::set_result_type(Operation& operation, size_t index, Type type) {
  if (index < operation.results.size()) type_of(operation.results[index]) = std::move(type);
}

void Parser::set_result_types(Operation& operation, const Type& type) {
  for (size_t i = 0; i < operation.results.size(); ++i) set_result_type(operation, i, type);
}

// ---- regions ----

bool Parser::at_region_end() const {
  return token_.is("}") || token_.kind == TokenKind::kBlock || token_.kind == TokenKind::kEnd;
}

void Parser::parse_region(Operation& operation,
                          const std::vector<std::pair<std::string, Type>>& arguments) {
  const DepthGuard guard(*this);
  const SourceLocation opening = token_.location;
  expect("{", fmt::format("to open the body of {}", operation.name));
  operation.regions.push_back(std::make_unique<Region>());
  Region& region = *operation.regions.back();
  scopes_.emplace_back();
  Block& entry = region.blocks.emplace_back();
  entry.location = token_.location;
  for (const auto& [name, type] : arguments)
    entry.arguments.push_back(define_value(name, type, opening));
  parse_block_body(region, entry);
  while (token_.kind == TokenKind::kBlock) {
    const Token label = take();
    if (region.find_block(label.text) != nullptr)
      fail_at(label.location, fmt::format("block '^{}' is defined twice", label.text));
    const bool first_is_labelled = region.blocks.size() == 1 && entry.operations.empty() &&
                                   entry.label.empty() && entry.arguments.empty();
    Block& block = first_is_labelled ? entry : region.blocks.emplace_back();
    block.label = label.text;
    block.location = label.location;
    if (accept("(")) {
      while (!accept(")")) {
        if (token_.kind != TokenKind::kValue)
          fail(fmt::format("expected a block argument, found {}", describe(token_)));
        const Token name = take();
        expect(":", "before a block argument's type");
        block.arguments.push_back(define_value(name.text, parse_type(), name.location));
        if (!token_.is(")")) expect(",", "between block arguments");
      }
    }
    expect(":", fmt::format("after the block label '^{}'", label.text));
    parse_block_body(region, block);
  }
  if (token_.kind == TokenKind::kEnd)
    fail(fmt::format("expected '}}' to close the body of {} opened on line {}", operation.name,
                     opening.line));
  const SourceLocation closing = token_.location;
  expect("}", fmt::format("to close the body of {}", operation.name));
  verify_terminators(operation, region, closing);
  close_scope();
}

// ---- what the text repeats ----

void Parser::note_type_use(ValueId value, Type type, SourceLocation location) {
  type_uses_.push_back({value, std::move(type), location});
}

void Parser::parse_type_of(ValueId value) {
  const SourceLocation location = token_.location;
  note_type_use(value, parse_type(), location);
}

void Parser::parse_types_of(const Operation& operation, size_t first_operand) {
  const SourceLocation location = token_.location;
  const std::vector<Type> types = parse_type_list();
  if (types.size() != operation.operands.size() - first_operand)
    fail_at(location, fmt::format("{} has {} operands but {} operand types", operation.name,
                                  operation.operands.size() - first_operand, types.size()));
  for (size_t i = 0; i < types.size(); ++i)
    note_type_use(operation.operands[first_operand + i], types[i], location);
}

void Parser::verify_type_uses() const {
  for (const TypeUse& use : type_uses_) {
    const Value& value = module_.values[static_cast<size_t>(use.value)];
    const Type& type = value.type;
    if (type.kind == Type::Kind::kNone) continue;  // a tile, a lock
    if (type.kind != use.type.kind || type.scalar != use.type.scalar ||
        type.shape != use.type.shape)
      fail_at(use.location, fmt::format("'%{}' is used with another type than line {} gives it",
                                        value.name, value.location.line));
  }
}

void Parser::verify_terminators(const Operation& operation, const Region& region,
                                SourceLocation closing) const {
  static const std::set<std::string_view> kTerminators = {
      "aie.end",   "aie.next_bd", "aie.dma_start", "cf.br",        "cf.cond_br",
      "cf.switch", "scf.yield",   "scf.condition", "affine.yield", "func.return"};
  static const std::set<std::string_view> kNeedOne = {"aie.core",
                                                      "aie.mem",
                                                      "aie.memtile_dma",
                                                      "aie.shim_dma",
                                                      "aiex.dma_configure_task",
                                                      "aiex.dma_configure_task_for",
                                                      "scf.while"};
  for (const Block& block : region.blocks) {
    for (const Operation& inner : block.operations)
      if (kTerminators.contains(inner.name) && &inner != &block.operations.back())
        fail_at(inner.location,
                fmt::format("{} must be the last operation of its block", inner.name));
    if (!kNeedOne.contains(operation.name)) continue;
    const bool first = &region == operation.regions.front().get();
    const std::string_view last =
        block.operations.empty() ? std::string_view{} : block.operations.back().name;
    const bool ends = operation.name == "scf.while" && region.blocks.size() == 1
                          ? last == (first ? "scf.condition" : "scf.yield")
                          : kTerminators.contains(last);
    if (!ends)
      fail_at(closing, fmt::format("the body of {} does not end in a terminator", operation.name));
  }
}

bool Parser::is_visible(const std::string& name) const {
  for (const Scope& scope : scopes_)
    if (scope.names.contains(name)) return true;
  return false;
}

void Parser::parse_block_body(Region& region, Block& block) {
  (void)region;
  while (!at_region_end()) parse_operation(block);
}

Successor Parser::parse_successor() {
  if (token_.kind != TokenKind::kBlock)
    fail(fmt::format("expected a block (^name), found {}", describe(token_)));
  Successor successor;
  successor.block = take().text;
  if (!accept("(")) return successor;
  while (!accept(")")) {
    successor.arguments.push_back(use_value());
    if (accept(":")) {
      parse_type_list();
      while (accept(",")) parse_type();
      expect(")", "after the block arguments' types");
      break;
    }
    if (!token_.is(")")) expect(",", "between block arguments");
  }
  return successor;
}

void Parser::parse_operands_until(Operation& operation, std::string_view closing) {
  while (!accept(closing)) {
    add_operand(operation);
    if (!token_.is(closing)) expect(",", "between operands");
  }
}

// ---- operations ----

std::vector<std::string> Parser::parse_result_names() {
  std::vector<std::string> names;
  if (token_.kind != TokenKind::kValue) return names;
  do {
    if (token_.kind != TokenKind::kValue)
      fail(fmt::format("expected a result name, found {}", describe(token_)));
    const std::string name = take().text;
    int64_t count = 1;
    if (accept(":")) count = take_integer("the number of results");
    if (count < 1 || count > 64) fail("an operation has 1 to 64 results of one name");
    names.push_back(name);
    for (int64_t i = 1; i < count; ++i) names.push_back(fmt::format("{}#{}", name, i));
  } while (accept(","));
  expect("=", "after the result names");
  return names;
}

void Parser::skip_location() {
  if (!accept_identifier("loc")) return;
  expect("(", "after loc");
  for (int depth = 1; depth > 0;) {
    if (token_.kind == TokenKind::kEnd) fail("expected ')' to close loc");
    const Token skipped = take();
    depth += skipped.is("(") ? 1 : skipped.is(")") ? -1 : 0;
  }
}

void Parser::parse_operation(Block& block) {
  const SourceLocation start = token_.location;
  const std::vector<std::string> names = parse_result_names();
  Operation operation;
  operation.location = token_.location;
  for (const auto& name : names) operation.results.push_back(define_value(name, {}, start));
  if (token_.kind == TokenKind::kString) {
    operation.name = take().text;
    parse_generic_operation(operation);
  } else {
    operation.name = take_identifier("an operation");
    const OperationParser parser = find_operation_parser(operation.name);
    if (parser == nullptr)
      fail_at(operation.location,
              fmt::format("expected an operation of the supported dialects (aie, aiex, scf, cf, "
                          "affine, arith, math, index, vector, memref, func), found '{}'",
                          operation.name));
    parser(*this, operation);
  }
  skip_location();
  Operation& placed = block.operations.emplace_back(std::move(operation));
  for (size_t i = 0; i < placed.results.size(); ++i) {
    Value& value = module_.values[static_cast<size_t>(placed.results[i])];
    value.definition = &placed;
    value.index = static_cast<int>(i);
  }
}

// "name"(operands) [successors] <{properties}> ({regions}) {attributes} : (types) -> (types)
void Parser::parse_generic_operation(Operation& operation) {
  expect("(", "after a quoted operation name");
  parse_operands_until(operation, ")");
  if (accept("[")) {
    while (!accept("]")) {
      operation.successors.push_back(parse_successor());
      if (!token_.is("]")) expect(",", "between successors");
    }
  }
  if (accept("<")) {
    operation.attributes = parse_dictionary();
    expect(">", "after the properties");
  }
  if (accept("(")) {
    while (!accept(")")) {
      parse_region(operation);
      if (!token_.is(")")) expect(",", "between regions");
    }
  }
  if (token_.is("{"))
    for (auto& [key, value] : parse_dictionary()) operation.set(key, std::move(value));
  expect(":", "before the operation's type");
  parse_type_list();
  expect("->", "between operand and result types");
  const std::vector<Type> types = parse_type_list();
  if (types.size() < operation.results.size())
    fail_at(operation.location, fmt::format("{} has {} results but {} result types", operation.name,
                                            operation.results.size(), types.size()));
  for (size_t i = 0; i < operation.results.size(); ++i) set_result_type(operation, i, types[i]);
}

void Parser::parse_alias_definition() {
  const Token name = take();
  expect("=", "after an alias name");
  if (name.kind == TokenKind::kTypeAlias)
    type_aliases_[name.text] = parse_type();
  else
    attribute_aliases_[name.text] = parse_attribute();
}

Module Parser::parse() {
  Block& block = module_.body.blocks.emplace_back();
  while (token_.kind != TokenKind::kEnd) {
    if (token_.kind == TokenKind::kAttributeAlias || token_.kind == TokenKind::kTypeAlias)
      parse_alias_definition();
    else if (token_.kind == TokenKind::kIdentifier || token_.kind == TokenKind::kString ||
             token_.kind == TokenKind::kValue)
      parse_operation(block);
    else
      fail(fmt::format("expected 'module' or 'aie.device', found {}", describe(token_)));
  }
  close_scope();
  verify_type_uses();
  return std::move(module_);
}

OperationParser find_operation_parser(std::string_view name) {
  for (const auto find : {find_array_parser, find_routing_parser, find_sequence_parser,
                          find_core_parser, find_number_parser, find_vector_parser})
    if (const OperationParser parser = find(name); parser != nullptr) return parser;
  return nullptr;
}

Module parse_module(std::string_view text, std::string_view source_name, std::string_view device) {
  return Parser(text, source_name, device).parse();
}

}  // namespace tandem::npu::mlir

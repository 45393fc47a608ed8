// See affine.h.
// SPDX-License-Identifier: Apache-2.0
#include "npu/aie_text/affine.h"

#include <fmt/format.h>

namespace tandem::npu::mlir {
namespace {

using Kind = Attribute::Kind;

Attribute binary_expression(std::string operation, Attribute a, Attribute b) {
  Attribute tree = string_attribute(std::move(operation), Kind::kWord);
  tree.items.push_back(std::move(a));
  tree.items.push_back(std::move(b));
  return tree;
}

// Reads sums of products over integers, names (dimensions of a map) and values (operands).
class ExpressionReader {
 public:
  ExpressionReader(Parser& parser, Operation* operation, const std::vector<std::string>& names)
      : parser_(parser), operation_(operation), names_(names) {}

  Attribute sum() {
    if (++depth_ > 100) parser_.fail("an expression nests deeper than 100 levels");
    Attribute tree = product();
    for (;;) {
      if (parser_.accept("+"))
        tree = binary_expression("+", std::move(tree), product());
      else if (parser_.accept("-"))
        tree = binary_expression("-", std::move(tree), product());
      else
        break;
    }
    --depth_;
    return tree;
  }

 private:
  Attribute product() {
    Attribute tree = leaf();
    for (;;) {
      if (parser_.accept("*")) {
        tree = binary_expression("*", std::move(tree), leaf());
        continue;
      }
      bool found = false;
      for (const char* word : {"floordiv", "ceildiv", "mod"}) {
        if (!parser_.accept_identifier(word)) continue;
        tree = binary_expression(word, std::move(tree), leaf());
        found = true;
      }
      if (!found) return tree;
    }
  }

  Attribute leaf() {
    const Token& token = parser_.token();
    if (token.is("(")) {
      parser_.take();
      Attribute tree = sum();
      parser_.expect(")", "in an affine expression");
      return tree;
    }
    if (token.is("-")) {
      parser_.take();
      return binary_expression("-", constant_expression(0), leaf());
    }
    if (token.kind == TokenKind::kInteger)
      return constant_expression(parser_.take_integer("a number"));
    if (token.kind == TokenKind::kValue && operation_ != nullptr) {
      Attribute tree = operand_expression(static_cast<int>(operation_->operands.size()));
      parser_.add_operand(*operation_);
      return tree;
    }
    if (token.kind == TokenKind::kIdentifier) {
      for (size_t i = 0; i < names_.size(); ++i) {
        if (names_[i] != token.text) continue;
        parser_.take();
        return operand_expression(static_cast<int>(i));
      }
    }
    parser_.fail(fmt::format("expected an affine expression, found {}", describe(token)));
  }

  Parser& parser_;
  Operation* operation_;
  const std::vector<std::string>& names_;
  int depth_ = 0;
};

void shift_operands(Attribute& tree, int first) {
  if (tree.kind == Kind::kWord && tree.text == "%") tree.integer += first;
  for (Attribute& item : tree.items) shift_operands(item, first);
}

}  // namespace

Attribute constant_expression(int64_t value) { return integer_attribute(value); }

Attribute operand_expression(int number) {
  Attribute tree = string_attribute("%", Kind::kWord);
  tree.integer = number;
  return tree;
}

Attribute fold_map(const Attribute& map, const char* fold) {
  if (map.items.empty()) return {};
  Attribute tree = map.items[0];
  for (size_t i = 1; i < map.items.size(); ++i)
    tree = binary_expression(fold, std::move(tree), map.items[i]);
  return tree;
}

Attribute parse_affine_indices(Parser& parser, Operation& operation) {
  Attribute list;
  list.kind = Kind::kArray;
  parser.expect("[", "before the indices");
  const std::vector<std::string> no_names;
  ExpressionReader reader(parser, &operation, no_names);
  while (!parser.accept("]")) {
    list.items.push_back(reader.sum());
    if (!parser.token().is("]")) parser.expect(",", "between indices");
  }
  return list;
}

Attribute parse_affine_map(Parser& parser) {
  parser.expect("<", "after affine_map");
  std::vector<std::string> names;
  const auto read_names = [&](const char* close) {
    while (!parser.accept(close)) {
      names.push_back(parser.take_identifier("a dimension's name"));
      if (!parser.token().is(close)) parser.expect(",", "between dimensions");
    }
  };
  parser.expect("(", "before the dimensions");
  read_names(")");
  if (parser.accept("[")) read_names("]");
  parser.expect("->", "in an affine map");
  parser.expect("(", "before the map's results");
  Attribute map = string_attribute("affine_map", Kind::kWord);
  map.integer = static_cast<int64_t>(names.size());
  ExpressionReader reader(parser, nullptr, names);
  while (!parser.accept(")")) {
    map.items.push_back(reader.sum());
    if (!parser.token().is(")")) parser.expect(",", "between results");
  }
  parser.expect(">", "to close affine_map");
  return map;
}

Attribute parse_map_application(Parser& parser, Operation& operation, const char* fold) {
  const SourceLocation location = parser.token().location;
  const Attribute map = parser.parse_attribute();
  if (map.text != "affine_map" || map.items.empty() || (fold == nullptr && map.items.size() > 1))
    parser.fail_at(location, fold == nullptr ? "expected an affine map with one result"
                                             : "expected an affine map with results");
  const size_t first = operation.operands.size();
  parser.expect("(", "after the map");
  parser.parse_operands_until(operation, ")");
  if (parser.accept("[")) parser.parse_operands_until(operation, "]");
  if (operation.operands.size() - first != static_cast<size_t>(map.integer))
    parser.fail_at(location, fmt::format("the map takes {} values", map.integer));
  Attribute tree = fold_map(map, fold);
  shift_operands(tree, static_cast<int>(first));
  return tree;
}

}  // namespace tandem::npu::mlir

// The parsed text as a tree of operations, before anything is made of it: names, operands,
// attributes, regions. Custom and generic (quoted) spellings give the same tree.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "npu/aie_text/core_program.h"
#include "npu/aie_text/source_location.h"

namespace tandem::npu::mlir {

// A type as far as the subset needs: a number, or a shaped thing of numbers.
struct Type {
  enum class Kind : uint8_t { kNone, kScalar, kMemref, kTensor, kVector, kObjectFifo, kSubview };
  Kind kind = Kind::kNone;
  ScalarType scalar;
  std::vector<int64_t> shape;    // -1: dynamic
  std::vector<int64_t> strides;  // of a strided memref, in elements; empty: contiguous
  int64_t offset = 0;            // of a strided memref

  int64_t element_count() const;  // -1 when a dimension is dynamic or the product overflows
  int64_t byte_count() const;     // element_count() times the element's bytes
};

struct NamedAttribute;

struct Attribute {
  enum class Kind : uint8_t {
    kUnit,
    kBool,
    kInteger,
    kFloat,
    kString,
    kSymbol,
    kArray,
    kDictionary,
    kDense,  // items are the numbers, one item = splat; or text their bytes in hexadecimal
    kType,
    kWord,  // a bare word or something kept as text
  };
  Kind kind = Kind::kUnit;
  int64_t integer = 0;
  bool hexadecimal = false;  // an integer so written: as a float's value, its bits
  double real = 0;
  std::string text;
  std::vector<Attribute> items;
  std::vector<NamedAttribute> fields;
  Type type;
  SourceLocation location;

  const Attribute* field(std::string_view name) const;
};

struct NamedAttribute {
  std::string key;
  Attribute value;
};

using ValueId = int;

struct Region;

struct Successor {
  std::string block;
  std::vector<ValueId> arguments;
};

struct Operation {
  std::string name;
  SourceLocation location;
  std::vector<ValueId> operands;
  std::vector<ValueId> results;
  std::vector<NamedAttribute> attributes;
  std::vector<Successor> successors;
  std::vector<std::unique_ptr<Region>> regions;

  const Attribute* attribute(std::string_view key) const;
  void set(std::string key, Attribute value);
};

struct Block {
  std::string label;  // empty for an entry block without one
  std::vector<ValueId> arguments;
  std::deque<Operation> operations;
  SourceLocation location;
};

struct Region {
  std::deque<Block> blocks;
  const Block* find_block(std::string_view label) const;
};

struct Value {
  std::string name;
  Type type;
  SourceLocation location;
  const Operation* definition = nullptr;  // nullptr: a block argument
  int index = 0;                          // result number, or argument number
};

struct Module {
  std::string source_name;
  Region body;
  std::vector<Value> values;
};

Attribute integer_attribute(int64_t value, SourceLocation location = {});
Attribute string_attribute(std::string text, Attribute::Kind kind, SourceLocation location = {});

// Visits operations in textual order, outer before inner; the callback returns false to skip the
// operation's regions.
template <typename Visit>
void walk(const Region& region, Visit&& visit) {
  for (const Block& block : region.blocks)
    for (const Operation& operation : block.operations)
      if (visit(operation))
        for (const auto& inner : operation.regions) walk(*inner, visit);
}

}  // namespace tandem::npu::mlir

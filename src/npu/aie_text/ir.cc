// See ir.h.
// SPDX-License-Identifier: Apache-2.0
#include "npu/aie_text/ir.h"

namespace tandem::npu::mlir {

int64_t Type::element_count() const {
  int64_t count = 1;
  for (const int64_t extent : shape) {
    if (extent < 0) return -1;
    if (__builtin_mul_overflow(count, extent, &count)) return -1;
  }
  return count;
}

int64_t Type::byte_count() const {
  const int64_t count = element_count();
  int64_t bits = 0;
  if (count < 0 || __builtin_mul_overflow(count, int64_t{scalar.bits}, &bits)) return -1;
  return bits / 8 + (bits % 8 != 0 ? 1 : 0);
}

const Attribute* Attribute::field(std::string_view name) const {
  for (const auto& [key, value] : fields)
    if (key == name) return &value;
  return nullptr;
}

const Attribute* Operation::attribute(std::string_view key) const {
  for (const auto& [name_of, value] : attributes)
    if (name_of == key) return &value;
  return nullptr;
}

void Operation::set(std::string key, Attribute value) {
  for (auto& [name_of, old] : attributes) {
    if (name_of == key) {
      old = std::move(value);
      return;
    }
  }
  attributes.push_back({std::move(key), std::move(value)});
}

const Block* Region::find_block(std::string_view label) const {
  for (const Block& block : blocks)
    if (block.label == label && !label.empty()) return &block;
  return nullptr;
}

Attribute integer_attribute(int64_t value, SourceLocation location) {
  Attribute attribute;
  attribute.kind = Attribute::Kind::kInteger;
  attribute.integer = value;
  attribute.location = location;
  return attribute;
}

Attribute string_attribute(std::string text, Attribute::Kind kind, SourceLocation location) {
  Attribute attribute;
  attribute.kind = kind;
  attribute.text = std::move(text);
  attribute.location = location;
  return attribute;
}

}  // namespace tandem::npu::mlir

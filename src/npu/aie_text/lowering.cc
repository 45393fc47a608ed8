// What the lowering passes share: operands and attributes read with a check and a sentence.
// SPDX-License-Identifier: Apache-2.0
#include "npu/aie_text/lowering.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "base/error.h"
#include "tensor/bf16.h"
#include "tensor/half.h"

namespace tandem::npu {

using mlir::Attribute;
using mlir::Operation;

std::string Diagnostics::at(SourceLocation location, std::string_view message) const {
  return fmt::format("{}:{}:{}: {}", source_name_, location.line, location.column, message);
}

void Diagnostics::fail(SourceLocation location, std::string_view message) const {
  throw Error(ErrorCode::kInvalidFile, at(location, message));
}

void Diagnostics::unsupported(SourceLocation location, std::string_view message) const {
  throw Error(ErrorCode::kUnsupported, at(location, message));
}

TileCoordinate DeviceLowering::tile_operand(const Operation& op, size_t index) const {
  if (index < op.operands.size())
    if (const auto found = tiles.find(op.operands[index]); found != tiles.end())
      return found->second;
  fail(op.location, fmt::format("operand {} of {} must be a tile", index, op.name));
}

int DeviceLowering::buffer_operand(const Operation& op, size_t index) const {
  if (index < op.operands.size())
    if (const auto found = buffers.find(op.operands[index]); found != buffers.end())
      return found->second;
  fail(op.location, fmt::format("operand {} of {} must be an aie.buffer", index, op.name));
}

int DeviceLowering::lock_operand(const Operation& op, size_t index) const {
  if (index < op.operands.size())
    if (const auto found = locks.find(op.operands[index]); found != locks.end())
      return found->second;
  fail(op.location, fmt::format("operand {} of {} must be an aie.lock", index, op.name));
}

int DeviceLowering::add_buffer(BufferDecl buffer) {
  const int index = static_cast<int>(out.buffers.size());
  if (!buffer.name.empty() && !buffer_names.emplace(buffer.name, index).second)
    fail(buffer.location, fmt::format("a buffer named '{}' exists already", buffer.name));
  out.buffers.push_back(std::move(buffer));
  return index;
}

int DeviceLowering::add_lock(LockDecl lock) {
  out.locks.push_back(std::move(lock));
  return static_cast<int>(out.locks.size()) - 1;
}

const Operation* find_function(const DeviceLowering& lowering, std::string_view name) {
  const Operation* function = nullptr;
  mlir::walk(*lowering.operation.regions[0], [&](const Operation& candidate) {
    if (candidate.name == "func.func" && !candidate.regions.empty() &&
        text_of(lowering, candidate, "sym_name") == name)
      function = &candidate;
    return false;
  });
  return function;
}

int64_t integer_of(const DeviceLowering& lowering, const Operation& op, std::string_view key,
                   std::optional<int64_t> fallback) {
  const Attribute* attribute = op.attribute(key);
  if (attribute == nullptr) {
    if (fallback) return *fallback;
    lowering.fail(op.location, fmt::format("{} needs the attribute '{}'", op.name, key));
  }
  if (attribute->kind != Attribute::Kind::kInteger && attribute->kind != Attribute::Kind::kBool)
    lowering.fail(attribute->location.line > 0 ? attribute->location : op.location,
                  fmt::format("'{}' of {} must be an integer", key, op.name));
  return attribute->integer;
}

int64_t integer_in(const DeviceLowering& lowering, const Operation& op, std::string_view key,
                   int64_t low, int64_t high, std::optional<int64_t> fallback) {
  const int64_t value = integer_of(lowering, op, key, fallback);
  if (value < low || value > high)
    lowering.fail(op.location, fmt::format("'{}' of {} is {}; it must be from {} to {}", key,
                                           op.name, value, low, high));
  return value;
}

bool flag_of(const Operation& op, std::string_view key, bool fallback) {
  const Attribute* attribute = op.attribute(key);
  if (attribute == nullptr) return fallback;
  return attribute->kind == Attribute::Kind::kUnit || attribute->integer != 0;
}

std::string text_of(const DeviceLowering& lowering, const Operation& op, std::string_view key,
                    std::optional<std::string> fallback) {
  const Attribute* attribute = op.attribute(key);
  if (attribute == nullptr) {
    if (fallback) return *fallback;
    lowering.fail(op.location, fmt::format("{} needs the attribute '{}'", op.name, key));
  }
  if (attribute->kind == Attribute::Kind::kInteger) return std::to_string(attribute->integer);
  return attribute->text;
}

DmaDirection direction_of(const DeviceLowering& lowering, const Operation& op,
                          std::string_view key) {
  // The generic form writes the enumerator's number.
  const std::string text = text_of(lowering, op, key);
  if (text == "S2MM" || text == "0") return DmaDirection::kS2MM;
  if (text == "MM2S" || text == "1") return DmaDirection::kMM2S;
  lowering.fail(op.location, fmt::format("expected S2MM or MM2S as '{}', found '{}'", key, text));
}

double real_of(const DeviceLowering& lowering, const Attribute& number, const ScalarType& type) {
  if (number.kind == Attribute::Kind::kFloat) return number.real;
  if (number.kind != Attribute::Kind::kInteger || !number.hexadecimal)
    lowering.fail(number.location,
                  "a float is written with a point, or in hexadecimal as its bits");
  const auto bits = static_cast<uint64_t>(number.integer);
  switch (type.kind) {
    case ScalarType::Kind::kFloat32: return std::bit_cast<float>(static_cast<uint32_t>(bits));
    case ScalarType::Kind::kBfloat16: return bf16_to_f32(static_cast<uint16_t>(bits));
    case ScalarType::Kind::kFloat16: return f16_to_f32(static_cast<uint16_t>(bits));
    default: return std::bit_cast<double>(bits);
  }
}

namespace {

void append_number(const DeviceLowering& lowering, std::vector<std::byte>& bytes,
                   const Attribute& item, const ScalarType& type) {
  const double real = type.is_float() ? real_of(lowering, item, type) : 0;
  uint64_t bits = 0;
  switch (type.kind) {
    case ScalarType::Kind::kFloat32: {
      const auto value = static_cast<float>(real);
      std::memcpy(&bits, &value, sizeof(value));
      break;
    }
    case ScalarType::Kind::kFloat64: std::memcpy(&bits, &real, sizeof(real)); break;
    case ScalarType::Kind::kBfloat16: bits = f32_to_bf16(static_cast<float>(real)); break;
    case ScalarType::Kind::kFloat16: bits = f32_to_f16(static_cast<float>(real)); break;
    default: bits = static_cast<uint64_t>(item.integer); break;
  }
  const auto* raw = reinterpret_cast<const std::byte*>(&bits);
  bytes.insert(bytes.end(), raw, raw + type.bytes());
}

// The bytes written in hexadecimal; those of one element are repeated.
std::vector<std::byte> bytes_of_text(const DeviceLowering& lowering, const Attribute& dense,
                                     const mlir::Type& type) {
  std::vector<std::byte> written;
  for (size_t i = 0; i + 1 < dense.text.size(); i += 2)
    written.push_back(static_cast<std::byte>(std::stoi(dense.text.substr(i, 2), nullptr, 16)));
  const auto wanted = static_cast<size_t>(type.byte_count());
  if (written.size() != wanted && written.size() != static_cast<size_t>(type.scalar.bytes()))
    lowering.fail(dense.location, fmt::format("the type has {} bytes but the value has {}", wanted,
                                              written.size()));
  std::vector<std::byte> bytes;
  while (bytes.size() < wanted) bytes.insert(bytes.end(), written.begin(), written.end());
  return bytes;
}

}  // namespace

std::vector<std::byte> dense_bytes(const DeviceLowering& lowering, const Attribute& dense,
                                   const mlir::Type& type) {
  if (dense.kind != Attribute::Kind::kDense) lowering.fail(dense.location, "expected dense<[...]>");
  const int64_t count = type.element_count();
  if (count < 0 || type.byte_count() > (int64_t{1} << 26))
    lowering.fail(dense.location, "the type of an initial value must have a known, sensible size");
  if (!dense.text.empty()) return bytes_of_text(lowering, dense, type);
  const bool splat = dense.items.size() == 1;
  if (!splat && static_cast<int64_t>(dense.items.size()) != count)
    lowering.fail(dense.location, fmt::format("the type has {} elements but the value has {}",
                                              count, dense.items.size()));
  if (type.scalar.bits % 8 != 0 || type.scalar.bytes() > 8)
    lowering.fail(dense.location, "initial values need elements of 8, 16, 32 or 64 bits");
  std::vector<std::byte> bytes;
  bytes.reserve(static_cast<size_t>(type.byte_count()));
  for (int64_t i = 0; i < count; ++i)
    append_number(lowering, bytes, dense.items[splat ? 0 : static_cast<size_t>(i)], type.scalar);
  return bytes;
}

namespace {

int64_t struct_field(const DeviceLowering& lowering, const Attribute& item, std::string_view key) {
  const Attribute* field = item.field(key);
  if (field == nullptr || field->kind != Attribute::Kind::kInteger)
    lowering.fail(item.location, fmt::format("expected <{} = integer>", key));
  constexpr int64_t kLimit = int64_t{1} << 30;  // more than any descriptor counts
  if (field->integer < 0 || field->integer > kLimit)
    lowering.fail(item.location,
                  fmt::format("{} is {}; it must be from 0 to {}", key, field->integer, kLimit));
  return field->integer;
}

}  // namespace

std::vector<TextDimension> dimensions_of(const DeviceLowering& lowering, const Attribute* list) {
  std::vector<TextDimension> dimensions;
  if (list == nullptr) return dimensions;
  for (const Attribute& item : list->items)
    dimensions.push_back(
        {struct_field(lowering, item, "size"), struct_field(lowering, item, "stride")});
  return dimensions;
}

std::vector<TextPadding> padding_of(const DeviceLowering& lowering, const Attribute* list) {
  std::vector<TextPadding> padding;
  if (list == nullptr) return padding;
  for (const Attribute& item : list->items)
    padding.push_back({struct_field(lowering, item, "const_pad_before"),
                       struct_field(lowering, item, "const_pad_after")});
  return padding;
}

}  // namespace tandem::npu

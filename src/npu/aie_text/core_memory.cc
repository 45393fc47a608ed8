// memref operations of core bodies; see core_compiler.h.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "npu/aie_text/core_compiler.h"

namespace tandem::npu {

using mlir::Attribute;
using mlir::ValueId;

std::vector<int64_t> CoreCompiler::strides_of(const mlir::Type& type) const {
  if (!type.strides.empty()) return type.strides;
  std::vector<int64_t> strides(type.shape.size(), 1);
  for (size_t i = type.shape.size(); i-- > 1;) strides[i - 1] = strides[i] * type.shape[i];
  return strides;
}

void CoreCompiler::check_in_core_memory(const mlir::Type& type, const Operation& operation) const {
  if (type.kind != mlir::Type::Kind::kMemref) fail(operation, "expected a memref");
  constexpr int64_t kLimit = int64_t{1} << 32;  // more than an array's memory
  bool known = type.byte_count() > 0 && type.byte_count() < kLimit;
  for (const int64_t stride : type.strides) known = known && stride >= 0 && stride < kLimit;
  if (!known)
    lowering_.diagnostics.unsupported(operation.location,
                                      "memrefs of unknown or senseless shape or stride in a core");
  if (type.scalar.bits % 8 != 0 || type.scalar.bits > 64)
    lowering_.diagnostics.unsupported(operation.location,
                                      "memory elements other than 8, 16, 32 or 64 bits in a core");
}

int CoreCompiler::offset_address(const Operation& operation, int base, const mlir::Type& source,
                                 const std::vector<int>& offsets) {
  const std::vector<int64_t> strides = strides_of(source);
  for (size_t i = 0; i < offsets.size() && i < strides.size(); ++i) {
    const int address = new_register();
    Instruction& instruction = emit(Opcode::kMultiplyAdd, operation);
    instruction.destination = address;
    instruction.a = base;
    instruction.b = offsets[i];
    instruction.immediate = strides[i] * source.scalar.bytes();
    base = address;
  }
  return base;
}

int CoreCompiler::element_address(const Operation& operation, ValueId memref,
                                  const std::vector<int>& indices) {
  const mlir::Type& type = type_of(memref);
  check_in_core_memory(type, operation);
  if (indices.size() != type.shape.size())
    fail(operation, fmt::format("{} indices for a memref of {} dimensions", indices.size(),
                                type.shape.size()));
  for (size_t i = 0; i < indices.size(); ++i) {
    Instruction& check = emit(Opcode::kCheckIndex, operation);
    check.a = indices[i];
    check.immediate = type.shape[i];
  }
  return offset_address(operation, register_of(memref, operation), type, indices);
}

std::vector<int> CoreCompiler::mixed_registers(const Operation& operation, std::string_view key,
                                               size_t& operand) {
  std::vector<int> registers;
  const Attribute* list = operation.attribute(key);
  if (list == nullptr) fail(operation, fmt::format("{} needs its {}", operation.name, key));
  for (const Attribute& item : list->items) {
    // The generic form marks a dynamic entry with the smallest integer.
    if (item.kind == Attribute::Kind::kInteger && item.integer != INT64_MIN) {
      registers.push_back(constant(item.integer, operation));
    } else {
      if (operand >= operation.operands.size()) fail(operation, "too few operands");
      registers.push_back(register_of(operation.operands[operand++], operation));
    }
  }
  return registers;
}

void CoreCompiler::compile_access(const Operation& operation, bool store) {
  const size_t memref = store ? 1 : 0;
  if (operation.operands.size() <= memref)
    fail(operation, fmt::format("{} needs a memref", operation.name));
  std::vector<int> indices;
  if (const Attribute* expressions = operation.attribute("indices")) {
    for (const Attribute& tree : expressions->items)
      indices.push_back(affine_expression(tree, operation));
  } else if (const Attribute* map = operation.attribute("map")) {
    for (const Attribute& tree : map->items)
      indices.push_back(affine_expression(tree, operation, memref + 1));
  } else {
    for (size_t i = memref + 1; i < operation.operands.size(); ++i)
      indices.push_back(register_of(operation.operands[i], operation));
  }
  const int address = element_address(operation, operation.operands[memref], indices);
  const int stored = store ? register_of(operation.operands[0], operation) : -1;
  const int loaded = store ? -1 : define(operation);
  Instruction& instruction = emit(store ? Opcode::kStore : Opcode::kLoad, operation);
  instruction.type = type_of(operation.operands[memref]).scalar;
  instruction.a = address;
  instruction.b = stored;
  instruction.destination = loaded;
}

// Row by row: one copy for the dimensions that are contiguous in both, a loop for each further out.
void CoreCompiler::compile_copy(const Operation& operation) {
  if (operation.operands.size() != 2) fail(operation, "memref.copy needs source and target");
  const mlir::Type& source = type_of(operation.operands[0]);
  const mlir::Type& target = type_of(operation.operands[1]);
  check_in_core_memory(source, operation);
  check_in_core_memory(target, operation);
  if (source.shape != target.shape || source.scalar != target.scalar)
    fail(operation, "memref.copy needs memrefs of one shape and element type");
  const std::vector<int64_t> from = strides_of(source);
  const std::vector<int64_t> to = strides_of(target);
  size_t loops = source.shape.size();
  int64_t run = 1;  // elements
  while (loops > 0 && from[loops - 1] == run && to[loops - 1] == run) run *= source.shape[--loops];
  std::vector<int> indices;
  const std::function<void()> body = [&] {
    if (indices.size() < loops) {
      const int variable = new_register();
      const int zero = constant(0, operation);
      const int one = constant(1, operation);
      const int end = constant(source.shape[indices.size()], operation);
      indices.push_back(variable);
      count(variable, zero, end, one, operation, body);
      indices.pop_back();
      return;
    }
    const int a =
        offset_address(operation, register_of(operation.operands[0], operation), source, indices);
    const int b =
        offset_address(operation, register_of(operation.operands[1], operation), target, indices);
    Instruction& instruction = emit(Opcode::kCopy, operation);
    instruction.a = a;
    instruction.b = b;
    instruction.immediate = run * source.scalar.bytes();
  };
  body();
}

// memref.subview and memref.reinterpret_cast
void CoreCompiler::compile_view(const Operation& operation) {
  if (operation.operands.empty() || operation.results.empty())
    fail(operation, fmt::format("{} needs a memref and a result", operation.name));
  const mlir::Type& source = type_of(operation.operands[0]);
  check_in_core_memory(source, operation);
  size_t operand = 1;
  const bool subview = operation.name == "memref.subview";
  const std::vector<int> offsets = mixed_registers(operation, "static_offsets", operand);
  // A reinterpret_cast's one offset counts elements whatever the source's shape.
  const mlir::Type flat{mlir::Type::Kind::kMemref, source.scalar, {-1}, {1}, 0};
  registers_[operation.results[0]] = offset_address(
      operation, register_of(operation.operands[0], operation), subview ? source : flat, offsets);
}

// memref.get_global and memref.alloca, which have their places; see core_storage.cc.
void CoreCompiler::compile_storage(const Operation& operation) {
  if (operation.results.empty()) return;
  const int buffer =
      operation.name == "memref.alloca"
          ? lowering_.core_variables.at({tile_, operation.results[0]})
          : lowering_.core_globals.at({tile_, text_of(lowering_, operation, "name")});
  registers_[operation.results[0]] = reference(buffer, operation);
}

bool CoreCompiler::compile_memory(const Operation& operation) {
  const std::string& name = operation.name;
  if (name == "memref.load" || name == "affine.load") {
    compile_access(operation, false);
  } else if (name == "memref.store" || name == "affine.store") {
    compile_access(operation, true);
  } else if (name == "memref.copy") {
    compile_copy(operation);
  } else if (name == "memref.subview" || name == "memref.reinterpret_cast") {
    compile_view(operation);
  } else if (name == "memref.get_global" || name == "memref.alloca") {
    compile_storage(operation);
  } else if (name == "memref.cast" || name == "memref.collapse_shape" ||
             name == "memref.expand_shape" || name == "memref.assume_alignment") {
    if (!operation.results.empty() && !operation.operands.empty())
      registers_[operation.results[0]] = register_of(operation.operands[0], operation);
  } else if (name == "memref.alloc" || name == "memref.dealloc") {
    lowering_.diagnostics.unsupported(
        operation.location,
        name + " in a core, which has no heap; use an aie.buffer or memref.alloca");
  } else {
    return false;
  }
  return true;
}

}  // namespace tandem::npu

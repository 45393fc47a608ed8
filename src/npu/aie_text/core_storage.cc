// The data a core's code brings along besides buffers: module-level constants it reads and
// variables on its stack. Each becomes a buffer of the core's tile.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "npu/aie_text/lowering.h"

namespace tandem::npu {
namespace {

using mlir::Operation;

class StoragePlacer {
 public:
  StoragePlacer(DeviceLowering& lowering, const CoreDecl& core)
      : lowering_(lowering), core_(core) {}

  void place(const Operation& core) { read_code(*core.regions[0], false); }

 private:
  // `scoped`: a function or a counted loop around the code ends the life of its variables.
  void read_code(const mlir::Region& code, bool scoped) {
    mlir::walk(code, [&](const Operation& operation) {
      if (operation.name == "memref.get_global") place_global(operation);
      if (operation.name == "memref.alloca") {
        if (!scoped)
          lowering_.fail(operation.location,
                         "memref.alloca needs a function, scf.for or affine.for around it");
        place_variable(operation);
      }
      if (operation.name == "func.call" || operation.name == "call") read_callee(operation);
      const bool scope = operation.name == "scf.for" || operation.name == "affine.for";
      for (const auto& region : operation.regions) read_code(*region, scoped || scope);
      return false;
    });
  }

  void read_callee(const Operation& call) {
    const Operation* function = find_function(lowering_, text_of(lowering_, call, "callee"));
    if (function != nullptr && read_.insert(function).second)
      read_code(*function->regions[0], true);
  }

  BufferDecl buffer_of(const Operation& operation, const mlir::Type& type) const {
    const int64_t size = type.byte_count();
    if (type.kind != mlir::Type::Kind::kMemref || size < 1 ||
        size > int64_t{lowering_.limits(core_.tile).memory})
      lowering_.fail(operation.location,
                     fmt::format("{} needs a memref type of known shape that fits tile {}",
                                 operation.name, to_text(core_.tile)));
    BufferDecl buffer;
    buffer.tile = core_.tile;
    buffer.size = static_cast<uint32_t>(size);
    buffer.location = operation.location;
    return buffer;
  }

  void place_global(const Operation& operation) {
    const std::string name = text_of(lowering_, operation, "name");
    const auto key = std::pair(core_.tile, name);
    if (lowering_.core_globals.contains(key)) return;
    const auto global = lowering_.globals.find(name);
    if (global == lowering_.globals.end())
      lowering_.fail(operation.location, fmt::format("there is no memref.global '@{}'", name));
    const mlir::Type type =
        operation.results.empty() ? mlir::Type{} : lowering_.value(operation.results[0]).type;
    BufferDecl buffer = buffer_of(operation, type);
    if (const mlir::Attribute* value = global->second->attribute("initial_value"))
      buffer.initial_value = dense_bytes(lowering_, *value, type);
    lowering_.core_globals[key] = add(std::move(buffer), "@" + name);
  }

  void place_variable(const Operation& operation) {
    if (operation.results.empty()) return;
    constexpr uint32_t kAlignment = 32;  // bytes, of a vector register
    BufferDecl buffer = buffer_of(operation, lowering_.value(operation.results[0]).type);
    buffer.address = stack_used_;
    buffer.placed = true;
    stack_used_ += (buffer.size + kAlignment - 1) / kAlignment * kAlignment;
    if (stack_used_ > static_cast<uint32_t>(core_.stack_size))
      lowering_.fail(operation.location,
                     fmt::format("variables of {} bytes exceed the stack of {} bytes of the core "
                                 "of tile {}; give it a larger stack_size",
                                 stack_used_, core_.stack_size, to_text(core_.tile)));
    lowering_.core_variables[{core_.tile, operation.results[0]}] =
        add(std::move(buffer), "%" + lowering_.value(operation.results[0]).name);
  }

  // The name is for messages only: cores and functions have names of their own.
  int add(BufferDecl buffer, std::string name) {
    const int index = lowering_.add_buffer(std::move(buffer));
    lowering_.out.buffers[static_cast<size_t>(index)].name = std::move(name);
    return index;
  }

  DeviceLowering& lowering_;
  const CoreDecl& core_;
  std::set<const Operation*> read_;  // functions
  uint32_t stack_used_ = 0;
};

}  // namespace

void place_core_storage(DeviceLowering& lowering) {
  for_each_core(lowering, [&](const Operation& operation, CoreDecl& core) {
    StoragePlacer(lowering, core).place(operation);
  });
}

}  // namespace tandem::npu

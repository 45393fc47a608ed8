// Calls and the array's operations in core bodies; see core_compiler.h.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "npu/aie_text/core_compiler.h"

namespace tandem::npu {

using mlir::Operation;
using mlir::ValueId;

namespace {

constexpr size_t kMaxCallDepth = 32;

}  // namespace

// ---- calls ----

// The body's instructions in the call's place. Locks are passed by name, all else by a copy.
void CoreCompiler::inline_function(const Operation& call, const Operation& function) {
  if (inlined_.size() >= kMaxCallDepth)
    fail(call, fmt::format("functions call each other deeper than {} levels", kMaxCallDepth));
  const mlir::Region& body = *function.regions[0];
  const mlir::Block& block = body.blocks.front();
  if (block.arguments.size() != call.operands.size())
    fail(call, fmt::format("the function takes {} arguments, not {}", block.arguments.size(),
                           call.operands.size()));
  for (size_t i = 0; i < call.operands.size(); ++i) {
    if (const int lock = lock_of(call.operands[i]); lock >= 0) {
      passed_locks_[block.arguments[i]] = lock;
      continue;
    }
    const int source = register_of(call.operands[i], call);
    const int copy = new_registers(lanes_of(call.operands[i]));
    for (int lane = 0; lane < lanes_of(call.operands[i]); ++lane)
      move(copy + lane, source + lane, call);
    registers_[block.arguments[i]] = copy;
  }
  emit_prologue(body);
  inlined_.push_back({define_results(call), {}});
  compile_region(body);
  for (const int exit : inlined_.back().exits)
    program_.instructions[static_cast<size_t>(exit)].target = here();
  inlined_.pop_back();
}

// Leaves the function being inlined with its results.
void CoreCompiler::compile_return(const Operation& operation) {
  if (inlined_.empty()) fail(operation, "a core's body returns to nobody; end it with aie.end");
  std::vector<int> values;
  for (const ValueId operand : operation.operands)
    append_registers(values, register_of(operand, operation), operand);
  parallel_move(inlined_.back().results, values, operation);
  inlined_.back().exits.push_back(here());
  emit(Opcode::kJump, operation);
  program_.instructions.back().free = true;
}

void CoreCompiler::compile_call(const Operation& operation) {
  const std::string callee = text_of(lowering_, operation, "callee");
  if (const Operation* function = find_function(lowering_, callee)) {
    inline_function(operation, *function);
    return;
  }
  const auto kernel = lowering_.out.kernels.find(callee);
  if (kernel == lowering_.out.kernels.end())
    fail(operation, fmt::format("there is no func.func '@{}'", callee));
  if (kernel->second.arguments.size() != operation.operands.size())
    fail(operation, fmt::format("'@{}' takes {} arguments, not {}", callee,
                                kernel->second.arguments.size(), operation.operands.size()));
  if (!operation.results.empty())
    lowering_.diagnostics.unsupported(operation.location, "kernels that return values");
  for (size_t i = 0; i < operation.operands.size(); ++i) {
    const mlir::Type& type = type_of(operation.operands[i]);
    const KernelArgument& argument = kernel->second.arguments[i];
    const bool buffer = type.kind == mlir::Type::Kind::kMemref;
    if (buffer != argument.is_buffer || type.scalar != argument.type ||
        (buffer && static_cast<uint64_t>(type.element_count()) != argument.count))
      fail(operation, fmt::format("argument {} of '@{}' is not of its declared type", i, callee));
  }
  CallSite site;
  site.symbol = callee;
  for (const ValueId operand : operation.operands)
    site.registers.push_back(register_of(operand, operation));
  emit(Opcode::kCall, operation).immediate = static_cast<int64_t>(program_.calls.size());
  program_.calls.push_back(std::move(site));
}

// ---- the array ----

int CoreCompiler::fifo_end(const Operation& operation) {
  const std::string name = text_of(lowering_, operation, "objFifo_name");
  const std::string port = text_of(lowering_, operation, "port");
  const bool produce = port == "Produce" || port == "0";
  if (!produce && port != "Consume" && port != "1")
    fail(operation, fmt::format("expected Produce or Consume, found '{}'", port));
  const std::string key = name + (produce ? "/P" : "/C");
  if (const auto known = fifo_end_of_name_.find(key); known != fifo_end_of_name_.end())
    return known->second;
  const auto ends = lowering_.fifo_ends.find(name);
  if (ends == lowering_.fifo_ends.end())
    fail(operation, fmt::format("there is no object FIFO '@{}'", name));
  for (const LoweredFifoEnd& candidate : ends->second) {
    if (candidate.tile != tile_ || candidate.end.produce != produce) continue;
    const int index = static_cast<int>(program_.fifo_ends.size());
    program_.fifo_ends.push_back(candidate.end);
    fifo_elements_.push_back(candidate.element);
    fifo_end_of_name_[key] = index;
    return index;
  }
  fail(operation, fmt::format("the core of tile {} is no {} of '@{}', or the FIFO is linked there",
                              to_text(tile_), produce ? "producer" : "consumer", name));
}

// -1: the value is no lock.
int CoreCompiler::lock_of(ValueId value) const {
  if (const auto passed = passed_locks_.find(value); passed != passed_locks_.end())
    return passed->second;
  const auto found = lowering_.locks.find(value);
  return found == lowering_.locks.end() ? -1 : found->second;
}

void CoreCompiler::compile_use_lock(const Operation& operation) {
  const int lock = operation.operands.empty() ? -1 : lock_of(operation.operands[0]);
  if (lock < 0) fail(operation, "aie.use_lock needs an aie.lock");
  const std::string action = text_of(lowering_, operation, "action");
  LockAction parsed = LockAction::kAcquireEqual;
  if (action == "AcquireGreaterEqual" || action == "2")
    parsed = LockAction::kAcquireGreaterEqual;
  else if (action == "Release" || action == "1")
    parsed = LockAction::kRelease;
  else if (action != "Acquire" && action != "0")
    fail(operation,
         fmt::format("expected Acquire, AcquireGreaterEqual or Release, found '{}'", action));
  Instruction& instruction = emit(Opcode::kLock, operation);
  instruction.function = static_cast<uint8_t>(parsed);
  instruction.target = lock;
  instruction.immediate = integer_in(lowering_, operation, "value", 0, kMaxLockValue, 1);
}

void CoreCompiler::compile_acquire(const Operation& operation) {
  const int end = fifo_end(operation);
  const int64_t count = integer_in(lowering_, operation, "size", 1, 10000);
  if (count > static_cast<int64_t>(program_.fifo_ends[static_cast<size_t>(end)].buffers.size()))
    fail(operation, fmt::format("cannot acquire {} elements of a FIFO that holds {}", count,
                                program_.fifo_ends[static_cast<size_t>(end)].buffers.size()));
  if (conditional_depth_ > 0 && !dynamic_fifos_ &&
      program_.fifo_ends[static_cast<size_t>(end)].buffers.size() > 1)
    lowering_.warn(
        operation.location,
        "mlir-aie rotates a FIFO's buffers in scf.for only: on the array this acquire gets the "
        "same ones each time unless the core has dynamic_objfifo_lowering = true, as emulated");
  if (!operation.results.empty()) {
    const mlir::Type& element = fifo_elements_[static_cast<size_t>(end)];
    const mlir::Type& subview = type_of(operation.results[0]);
    if (subview.shape != element.shape || subview.scalar != element.scalar)
      fail(operation, "the subview's elements are not of the FIFO's type");
  }
  const int oldest = define(operation);
  Instruction& instruction = emit(Opcode::kFifoAcquire, operation);
  instruction.target = end;
  instruction.immediate = count;
  instruction.destination = oldest;
  if (!operation.results.empty()) subviews_[operation.results[0]] = end;
}

void CoreCompiler::compile_subview(const Operation& operation) {
  const auto subview =
      operation.operands.empty() ? subviews_.end() : subviews_.find(operation.operands[0]);
  if (subview == subviews_.end()) fail(operation, "expected the result of an acquire");
  const Operation* acquire = lowering_.value(operation.operands[0]).definition;
  const int64_t count = integer_of(lowering_, *acquire, "size", 1);
  const int64_t index = integer_in(lowering_, operation, "index", 0, 10000);
  if (index >= count)
    fail(operation, fmt::format("index {} is beyond the {} elements acquired", index, count));
  const int oldest = register_of(operation.operands[0], operation);
  const int destination = define(operation);
  Instruction& instruction = emit(Opcode::kFifoAccess, operation);
  instruction.target = subview->second;
  instruction.a = oldest;
  instruction.immediate = index;
  instruction.destination = destination;
}

bool CoreCompiler::compile_array_operation(const Operation& operation) {
  const std::string& name = operation.name;
  if (name == "aie.end") {
    emit(Opcode::kEnd, operation);
  } else if (name == "aie.use_lock") {
    compile_use_lock(operation);
  } else if (name == "aie.objectfifo.acquire") {
    compile_acquire(operation);
  } else if (name == "aie.objectfifo.release") {
    const int end = fifo_end(operation);
    Instruction& instruction = emit(Opcode::kFifoRelease, operation);
    instruction.target = end;
    instruction.immediate = integer_in(lowering_, operation, "size", 1, 10000);
  } else if (name == "aie.objectfifo.subview.access") {
    compile_subview(operation);
  } else {
    return name == "aie.event" || name == "aie.buffer" || name == "aie.lock";
  }
  return true;
}

// ---- all cores ----

void lower_cores(DeviceLowering& lowering) {
  for_each_core(lowering, [&](const Operation& operation, CoreDecl& core) {
    core.program = CoreCompiler(lowering, core.tile).compile(operation);
  });
}

}  // namespace tandem::npu

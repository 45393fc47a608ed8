// Values, control flow and the array's operations; see core_compiler.h.
// SPDX-License-Identifier: Apache-2.0
#include "npu/aie_text/core_compiler.h"

#include <fmt/format.h>

#include <set>

namespace tandem::npu {

using mlir::Operation;
using mlir::ValueId;

// ---- registers ----

Instruction& CoreCompiler::emit(Opcode opcode, const Operation& operation) {
  Instruction instruction;
  instruction.opcode = opcode;
  instruction.location = operation.location;
  program_.instructions.push_back(instruction);
  return program_.instructions.back();
}

int CoreCompiler::constant(int64_t value, const Operation& operation) {
  const int destination = new_register();
  Instruction& instruction = emit(Opcode::kConstant, operation);
  instruction.destination = destination;
  instruction.immediate = value;
  return destination;
}

int CoreCompiler::register_of(ValueId value, const Operation& user) {
  if (const auto found = registers_.find(value); found != registers_.end()) return found->second;
  fail(user, fmt::format("'%{}' cannot be used in the core of tile {}", lowering_.value(value).name,
                         to_text(tile_)));
}

int CoreCompiler::define(const Operation& operation, size_t result) {
  const int destination = new_register();
  if (result < operation.results.size()) registers_[operation.results[result]] = destination;
  return destination;
}

void CoreCompiler::move(int destination, int source, const Operation& operation) {
  Instruction& instruction = emit(Opcode::kMove, operation);
  instruction.destination = destination;
  instruction.a = source;
}

void CoreCompiler::parallel_move(const std::vector<int>& destinations,
                                 const std::vector<int>& sources, const Operation& operation) {
  if (destinations.size() != sources.size())
    fail(operation, fmt::format("{} values are passed where {} are expected", sources.size(),
                                destinations.size()));
  std::vector<int> staged = sources;
  if (sources.size() > 1) {
    for (int& source : staged) {
      const int temporary = new_register();
      move(temporary, source, operation);
      source = temporary;
    }
  }
  for (size_t i = 0; i < staged.size(); ++i) move(destinations[i], staged[i], operation);
}

ScalarType CoreCompiler::scalar_of(ValueId value, const Operation& user) const {
  const mlir::Type& type = type_of(value);
  if (type.kind != mlir::Type::Kind::kScalar)
    fail(user, fmt::format("{} needs numbers, not vectors or tensors", user.name));
  if (type.scalar.bits > 64) fail(user, "integers of more than 64 bits are not supported");
  return type.scalar;
}

// ---- prologue ----

void CoreCompiler::emit_outer_value(ValueId value, const Operation& user) {
  if (registers_.contains(value)) return;
  if (const auto buffer = lowering_.buffers.find(value); buffer != lowering_.buffers.end()) {
    const int destination = new_register();
    Instruction& instruction = emit(Opcode::kReference, user);
    instruction.destination = destination;
    instruction.immediate = buffer->second;
    registers_[value] = destination;
    return;
  }
  const Operation* definition = lowering_.value(value).definition;
  if (definition != nullptr && definition->name == "arith.constant") compile_constant(*definition);
}

void CoreCompiler::emit_prologue(const mlir::Region& body) {
  std::set<ValueId> inside;
  mlir::walk(body, [&](const Operation& operation) {
    inside.insert(operation.results.begin(), operation.results.end());
    return true;
  });
  mlir::walk(body, [&](const Operation& operation) {
    for (const ValueId operand : operation.operands)
      if (!inside.contains(operand)) emit_outer_value(operand, operation);
    return true;
  });
}

CoreProgram CoreCompiler::compile(const mlir::Region& body) {
  emit_prologue(body);
  compile_region(body);
  program_.instructions.push_back(Instruction{});  // kEnd, for a body without a terminator
  return std::move(program_);
}

// ---- blocks ----

void CoreCompiler::compile_region(const mlir::Region& region) {
  if (inline_depth_ + static_cast<int>(block_places_.size()) > 64)
    lowering_.fail(region.blocks.empty() ? SourceLocation{} : region.blocks.front().location,
                   "functions call each other deeper than 64 levels");
  block_places_.emplace_back();
  fixups_.emplace_back();
  for (const mlir::Block& block : region.blocks) {
    BlockPlace place;
    for (const ValueId argument : block.arguments) {
      if (!registers_.contains(argument)) registers_[argument] = new_register();
      place.argument_registers.push_back(registers_[argument]);
    }
    if (!block.label.empty()) block_places_.back()[block.label] = std::move(place);
  }
  for (const mlir::Block& block : region.blocks) {
    if (!block.label.empty()) block_places_.back()[block.label].first_instruction = here();
    compile_operations(block);
  }
  for (const Fixup& fixup : fixups_.back()) {
    program_.instructions[static_cast<size_t>(fixup.instruction)].target =
        block_places_.back()[fixup.label].first_instruction;
  }
  block_places_.pop_back();
  fixups_.pop_back();
}

void CoreCompiler::compile_operations(const mlir::Block& block) {
  for (const Operation& operation : block.operations) compile_operation(operation);
}

void CoreCompiler::compile_operation(const Operation& operation) {
  if (compile_control(operation) || compile_array_operation(operation) ||
      compile_arithmetic(operation) || compile_memory(operation))
    return;
  lowering_.diagnostics.unsupported(operation.location,
                                    fmt::format("{} is not supported in a core", operation.name));
}

// ---- control flow ----

bool CoreCompiler::compile_control(const Operation& operation) {
  const std::string& name = operation.name;
  if (name == "scf.for")
    compile_for(operation);
  else if (name == "affine.for")
    compile_affine_for(operation);
  else if (name == "scf.if")
    compile_if(operation);
  else if (name == "scf.while")
    compile_while(operation);
  else if (name == "cf.br" || name == "cf.cond_br")
    compile_branch(operation);
  else if (name == "func.call" || name == "call")
    compile_call(operation);
  else
    // Terminators are read by the operation they end.
    return name == "scf.yield" || name == "affine.yield" || name == "scf.condition" ||
           name == "func.return" || name == "return";
  return true;
}

std::vector<int> CoreCompiler::yielded_registers(const mlir::Region& region,
                                                 std::string_view terminator, size_t first) {
  std::vector<int> registers;
  const mlir::Block& last = region.blocks.back();
  if (last.operations.empty() || last.operations.back().name != terminator) return registers;
  const Operation& operation = last.operations.back();
  for (size_t i = first; i < operation.operands.size(); ++i)
    registers.push_back(register_of(operation.operands[i], operation));
  return registers;
}

void CoreCompiler::compile_for(const Operation& operation) {
  if (operation.operands.size() < 3 || operation.regions.empty())
    fail(operation, "scf.for needs bounds, a step and a body");
  compile_counted_loop(operation, register_of(operation.operands[0], operation),
                       register_of(operation.operands[1], operation),
                       register_of(operation.operands[2], operation), 3);
}

void CoreCompiler::compile_affine_for(const Operation& operation) {
  const mlir::Attribute* lower = operation.attribute("lower");
  const mlir::Attribute* upper = operation.attribute("upper");
  if (lower == nullptr || upper == nullptr)
    fail(operation, "affine.for is supported in its custom spelling only");
  const int64_t step = integer_in(lowering_, operation, "step", 1, int64_t{1} << 40, 1);
  compile_counted_loop(operation, affine_expression(*lower, operation),
                       affine_expression(*upper, operation), constant(step, operation),
                       static_cast<size_t>(integer_of(lowering_, operation, "bound_operands", 0)));
}

void CoreCompiler::compile_counted_loop(const Operation& operation, int lower, int upper, int step,
                                        size_t first_initial) {
  const mlir::Region& body = *operation.regions[0];
  if (body.blocks.size() != 1) fail(operation, "a loop's body is one block");
  const mlir::Block& block = body.blocks.front();
  const size_t carried = operation.operands.size() - first_initial;
  if (block.arguments.size() != carried + 1)
    fail(operation, "a loop's body takes its variable and one argument per carried value");
  std::vector<int> arguments;
  std::vector<int> initial;
  for (const ValueId argument : block.arguments) {
    registers_[argument] = new_register();
    arguments.push_back(registers_[argument]);
  }
  const int variable = arguments.front();
  arguments.erase(arguments.begin());
  for (size_t i = 0; i < carried; ++i)
    initial.push_back(register_of(operation.operands[first_initial + i], operation));
  parallel_move(arguments, initial, operation);
  move(variable, lower, operation);
  const int head = here();
  const int condition = new_register();
  Instruction& compare = emit(Opcode::kCompare, operation);
  compare.function = static_cast<uint8_t>(Predicate::kLtSigned);
  compare.type = {ScalarType::Kind::kIndex, 64};
  compare.destination = condition;
  compare.a = variable;
  compare.b = upper;
  const int branch = here();
  emit(Opcode::kBranch, operation).a = condition;
  program_.instructions.back().target = here();
  compile_region(body);
  const std::string_view yield = operation.name == "scf.for" ? "scf.yield" : "affine.yield";
  parallel_move(arguments, yielded_registers(body, yield, 0), operation);
  Instruction& increment = emit(Opcode::kBinary, operation);
  increment.function = static_cast<uint8_t>(BinaryOp::kAdd);
  increment.type = {ScalarType::Kind::kIndex, 64};
  increment.destination = variable;
  increment.a = variable;
  increment.b = step;
  emit(Opcode::kJump, operation).target = head;
  program_.instructions[static_cast<size_t>(branch)].other_target = here();
  for (size_t i = 0; i < operation.results.size() && i < arguments.size(); ++i)
    registers_[operation.results[i]] = arguments[i];
}

void CoreCompiler::compile_if(const Operation& operation) {
  if (operation.operands.empty() || operation.regions.empty())
    fail(operation, "scf.if needs a condition and a body");
  std::vector<int> results;
  for (size_t i = 0; i < operation.results.size(); ++i) results.push_back(define(operation, i));
  const int branch = here();
  emit(Opcode::kBranch, operation).a = register_of(operation.operands[0], operation);
  program_.instructions.back().target = here();
  compile_region(*operation.regions[0]);
  if (!results.empty())
    parallel_move(results, yielded_registers(*operation.regions[0], "scf.yield", 0), operation);
  const bool has_else = operation.regions.size() > 1 && !operation.regions[1]->blocks.empty();
  const int skip = here();
  if (has_else) emit(Opcode::kJump, operation);
  program_.instructions[static_cast<size_t>(branch)].other_target = here();
  if (!has_else) return;
  compile_region(*operation.regions[1]);
  if (!results.empty())
    parallel_move(results, yielded_registers(*operation.regions[1], "scf.yield", 0), operation);
  program_.instructions[static_cast<size_t>(skip)].target = here();
}

void CoreCompiler::compile_while(const Operation& operation) {
  if (operation.regions.size() != 2) fail(operation, "scf.while needs two regions");
  const mlir::Region& before = *operation.regions[0];
  const mlir::Region& after = *operation.regions[1];
  const auto argument_registers = [&](const mlir::Region& region) {
    std::vector<int> registers;
    if (region.blocks.empty()) return registers;
    for (const ValueId argument : region.blocks.front().arguments) {
      registers_[argument] = new_register();
      registers.push_back(registers_[argument]);
    }
    return registers;
  };
  const std::vector<int> before_arguments = argument_registers(before);
  const std::vector<int> after_arguments = argument_registers(after);
  std::vector<int> initial;
  for (const ValueId operand : operation.operands)
    initial.push_back(register_of(operand, operation));
  parallel_move(before_arguments, initial, operation);
  const int head = here();
  compile_region(before);
  const Operation& condition =
      before.blocks.back().operations.empty() ? operation : before.blocks.back().operations.back();
  if (condition.name != "scf.condition" || condition.operands.empty())
    fail(operation, "the first region of scf.while must end in scf.condition");
  const std::vector<int> passed = yielded_registers(before, "scf.condition", 1);
  // The values leave the loop as results and enter its body as arguments.
  std::vector<int> results;
  for (size_t i = 0; i < operation.results.size(); ++i) results.push_back(define(operation, i));
  if (!results.empty()) parallel_move(results, passed, operation);
  const int branch = here();
  emit(Opcode::kBranch, operation).a = register_of(condition.operands[0], condition);
  program_.instructions.back().target = here();
  parallel_move(after_arguments, passed, operation);
  compile_region(after);
  parallel_move(before_arguments, yielded_registers(after, "scf.yield", 0), operation);
  emit(Opcode::kJump, operation).target = head;
  program_.instructions[static_cast<size_t>(branch)].other_target = here();
}

void CoreCompiler::compile_branch(const Operation& operation) {
  const bool conditional = operation.name == "cf.cond_br";
  if (operation.successors.size() != (conditional ? 2u : 1u))
    fail(operation, "a branch needs its target blocks");
  const auto pass = [&](const mlir::Successor& successor) {
    const auto place = block_places_.back().find(successor.block);
    if (place == block_places_.back().end())
      fail(operation, fmt::format("there is no block '^{}' in this region", successor.block));
    std::vector<int> sources;
    for (const ValueId argument : successor.arguments)
      sources.push_back(register_of(argument, operation));
    parallel_move(place->second.argument_registers, sources, operation);
    fixups_.back().push_back({here(), successor.block});
    emit(Opcode::kJump, operation);
  };
  if (!conditional) {
    pass(operation.successors[0]);
    return;
  }
  const int branch = here();
  emit(Opcode::kBranch, operation).a = register_of(operation.operands[0], operation);
  program_.instructions.back().target = here();
  pass(operation.successors[0]);
  program_.instructions[static_cast<size_t>(branch)].other_target = here();
  pass(operation.successors[1]);
}

// ---- calls ----

void CoreCompiler::inline_function(const Operation& call, const Operation& function) {
  if (++inline_depth_ > 32) fail(call, "functions call each other deeper than 32 levels");
  const mlir::Region& body = *function.regions[0];
  if (body.blocks.size() != 1) fail(call, "a function with several blocks cannot be called");
  const mlir::Block& block = body.blocks.front();
  if (block.arguments.size() != call.operands.size())
    fail(call, fmt::format("the function takes {} arguments, not {}", block.arguments.size(),
                           call.operands.size()));
  for (size_t i = 0; i < call.operands.size(); ++i) {
    const int copy = new_register();
    move(copy, register_of(call.operands[i], call), call);
    registers_[block.arguments[i]] = copy;
  }
  emit_prologue(body);
  compile_region(body);
  const std::vector<int> returned = yielded_registers(body, "func.return", 0);
  for (size_t i = 0; i < call.results.size(); ++i) {
    if (i >= returned.size()) fail(call, "the function returns fewer values");
    registers_[call.results[i]] = returned[i];
  }
  --inline_depth_;
}

void CoreCompiler::compile_call(const Operation& operation) {
  const std::string callee = text_of(lowering_, operation, "callee");
  const Operation* function = nullptr;
  mlir::walk(*lowering_.operation.regions[0], [&](const Operation& candidate) {
    if (candidate.name == "func.func" && !candidate.regions.empty() &&
        text_of(lowering_, candidate, "sym_name") == callee)
      function = &candidate;
    return false;
  });
  if (function != nullptr) {
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
    fifo_end_of_name_[key] = index;
    return index;
  }
  fail(operation, fmt::format("the core of tile {} is no {} of '@{}', or the FIFO is linked there",
                              to_text(tile_), produce ? "producer" : "consumer", name));
}

void CoreCompiler::compile_use_lock(const Operation& operation) {
  const int lock = lowering_.lock_operand(operation, 0);
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

bool CoreCompiler::compile_array_operation(const Operation& operation) {
  const std::string& name = operation.name;
  if (name == "aie.end") {
    emit(Opcode::kEnd, operation);
  } else if (name == "aie.use_lock") {
    compile_use_lock(operation);
  } else if (name == "aie.objectfifo.acquire") {
    const int end = fifo_end(operation);
    const int64_t count = integer_in(lowering_, operation, "size", 1, 10000);
    if (count > static_cast<int64_t>(program_.fifo_ends[static_cast<size_t>(end)].buffers.size()))
      fail(operation, fmt::format("cannot acquire {} elements of a FIFO that holds {}", count,
                                  program_.fifo_ends[static_cast<size_t>(end)].buffers.size()));
    const int oldest = define(operation);
    Instruction& instruction = emit(Opcode::kFifoAcquire, operation);
    instruction.target = end;
    instruction.immediate = count;
    instruction.destination = oldest;
    if (!operation.results.empty()) subviews_[operation.results[0]] = end;
  } else if (name == "aie.objectfifo.release") {
    const int end = fifo_end(operation);
    Instruction& instruction = emit(Opcode::kFifoRelease, operation);
    instruction.target = end;
    instruction.immediate = integer_in(lowering_, operation, "size", 1, 10000);
  } else if (name == "aie.objectfifo.subview.access") {
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
  } else {
    return name == "aie.event" || name == "aie.buffer" || name == "aie.lock";
  }
  return true;
}

// ---- all cores ----

void lower_cores(DeviceLowering& lowering) {
  size_t next = 0;
  mlir::walk(*lowering.operation.regions[0], [&](const Operation& operation) {
    if (operation.name != "aie.core") return false;
    CoreDecl& core = lowering.out.cores[next++];
    if (!operation.regions.empty())
      core.program = CoreCompiler(lowering, core.tile).compile(*operation.regions[0]);
    return false;
  });
}

}  // namespace tandem::npu

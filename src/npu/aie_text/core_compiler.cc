// Values and control flow; see core_compiler.h.
// SPDX-License-Identifier: Apache-2.0
#include "npu/aie_text/core_compiler.h"

#include <fmt/format.h>

#include <set>

#include "npu/aie_text/affine.h"

namespace tandem::npu {

using mlir::ValueId;

namespace {

constexpr int64_t kMaxLanes = 1024;
// Far beyond what a core's program memory holds; functions that call each other multiply.
constexpr size_t kMaxInstructions = 250'000;

}  // namespace

// ---- registers ----

Instruction& CoreCompiler::emit(Opcode opcode, const Operation& operation) {
  if (program_.instructions.size() >= kMaxInstructions)
    fail(operation, fmt::format("the program of the core of tile {} exceeds {} instructions",
                                to_text(tile_), kMaxInstructions));
  Instruction instruction;
  instruction.opcode = opcode;
  instruction.location = operation.location;
  program_.instructions.push_back(instruction);
  return program_.instructions.back();
}

int CoreCompiler::emit_immediate(Opcode opcode, int64_t value, const Operation& operation) {
  const int destination = new_register();
  Instruction& instruction = emit(opcode, operation);
  instruction.destination = destination;
  instruction.immediate = value;
  return destination;
}

int CoreCompiler::constant(int64_t value, const Operation& operation) {
  return emit_immediate(Opcode::kConstant, value, operation);
}

int CoreCompiler::register_of(ValueId value, const Operation& user) {
  if (const auto found = registers_.find(value); found != registers_.end()) return found->second;
  fail(user, fmt::format("'%{}' cannot be used in the core of tile {}", lowering_.value(value).name,
                         to_text(tile_)));
}

int CoreCompiler::lanes_of(ValueId value) const {
  const mlir::Type& type = type_of(value);
  if (type.kind != mlir::Type::Kind::kVector) return 1;
  const int64_t count = type.element_count();
  if (count < 1 || count > kMaxLanes)
    lowering_.diagnostics.unsupported(
        lowering_.value(value).location,
        fmt::format("vectors of none or more than {} elements", kMaxLanes));
  return static_cast<int>(count);
}

void CoreCompiler::append_registers(std::vector<int>& list, int first, ValueId value) const {
  for (int lane = 0; lane < lanes_of(value); ++lane) list.push_back(first + lane);
}

int CoreCompiler::define_argument(ValueId argument) {
  return registers_[argument] = new_registers(lanes_of(argument));
}

int CoreCompiler::define(const Operation& operation, size_t result) {
  if (result >= operation.results.size()) return new_register();
  return define_argument(operation.results[result]);
}

Instruction& CoreCompiler::emit_lane(Opcode opcode, const Operation& operation, int lane) {
  Instruction& instruction = emit(opcode, operation);
  instruction.free = lane > 0;
  return instruction;
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
  if (type.kind != mlir::Type::Kind::kScalar && type.kind != mlir::Type::Kind::kVector)
    fail(user, fmt::format("{} needs numbers or vectors of them", user.name));
  if (type.scalar.bits > 64) fail(user, "integers of more than 64 bits are not supported");
  return type.scalar;
}

int CoreCompiler::reference(int buffer, const Operation& user) {
  return emit_immediate(Opcode::kReference, buffer, user);
}

// ---- prologue ----

void CoreCompiler::emit_outer_value(ValueId value, const Operation& user) {
  if (registers_.contains(value)) return;
  if (const auto buffer = lowering_.buffers.find(value); buffer != lowering_.buffers.end()) {
    registers_[value] = reference(buffer->second, user);
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
    for (const mlir::Successor& successor : operation.successors)
      for (const ValueId argument : successor.arguments)
        if (!inside.contains(argument)) emit_outer_value(argument, operation);
    return true;
  });
}

CoreProgram CoreCompiler::compile(const Operation& core) {
  const mlir::Region& body = *core.regions[0];
  dynamic_fifos_ = flag_of(core, "dynamic_objfifo_lowering");
  conditional_depth_ = body.blocks.size() > 1 ? 1 : 0;
  emit_prologue(body);
  compile_region(body);
  program_.instructions.push_back(Instruction{});  // kEnd, for a body without a terminator
  return std::move(program_);
}

// ---- blocks ----

void CoreCompiler::compile_region(const mlir::Region& region) {
  block_places_.emplace_back();
  fixups_.emplace_back();
  for (const mlir::Block& block : region.blocks) {
    BlockPlace place;
    for (const ValueId argument : block.arguments) {
      if (!registers_.contains(argument)) define_argument(argument);
      append_registers(place.argument_registers, registers_[argument], argument);
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

void CoreCompiler::compile_conditional_region(const mlir::Region& region) {
  ++conditional_depth_;
  compile_region(region);
  --conditional_depth_;
}

void CoreCompiler::compile_operations(const mlir::Block& block) {
  for (const Operation& operation : block.operations) compile_operation(operation);
}

void CoreCompiler::compile_operation(const Operation& operation) {
  if (compile_control(operation) || compile_array_operation(operation) ||
      compile_arithmetic(operation) || compile_memory(operation) || compile_vector(operation) ||
      compile_cascade(operation))
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
  else if (name == "scf.index_switch")
    compile_index_switch(operation);
  else if (name == "scf.while")
    compile_while(operation);
  else if (name == "cf.br" || name == "cf.cond_br")
    compile_branch(operation);
  else if (name == "cf.switch")
    compile_switch(operation);
  else if (name == "func.call" || name == "call")
    compile_call(operation);
  else if (name == "func.return" || name == "return")
    compile_return(operation);
  else
    // Other terminators are read by the operation they end.
    return name == "scf.yield" || name == "affine.yield" || name == "scf.condition";
  return true;
}

std::vector<int> CoreCompiler::yielded_registers(const mlir::Region& region,
                                                 std::string_view terminator, size_t first) {
  std::vector<int> registers;
  const mlir::Block& last = region.blocks.back();
  if (last.operations.empty() || last.operations.back().name != terminator) return registers;
  const Operation& operation = last.operations.back();
  for (size_t i = first; i < operation.operands.size(); ++i)
    append_registers(registers, register_of(operation.operands[i], operation),
                     operation.operands[i]);
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
  const int64_t step = integer_in(lowering_, operation, "step", 1, int64_t{1} << 40, 1);
  size_t first_initial = static_cast<size_t>(integer_of(lowering_, operation, "bound_operands", 0));
  if (const mlir::Attribute* segments = operation.attribute("operandSegmentSizes");
      segments != nullptr && segments->items.size() == 3)
    first_initial = static_cast<size_t>(segments->items[0].integer + segments->items[1].integer);
  if (first_initial > operation.operands.size() || operation.regions.empty())
    fail(operation, "affine.for lacks operands or a body");
  const int lower = affine_bound(operation, false);
  const int upper = affine_bound(operation, true);
  compile_counted_loop(operation, lower, upper, constant(step, operation), first_initial);
}

// A bound as the custom spelling has it, or the generic form's map: the greatest of the results
// below, the least above.
int CoreCompiler::affine_bound(const Operation& operation, bool upper) {
  if (const mlir::Attribute* tree = operation.attribute(upper ? "upper" : "lower"))
    return affine_expression(*tree, operation);
  const mlir::Attribute* map = operation.attribute(upper ? "upperBoundMap" : "lowerBoundMap");
  const mlir::Attribute* segments = operation.attribute("operandSegmentSizes");
  if (map == nullptr || segments == nullptr || segments->items.empty())
    fail(operation, "affine.for needs its bounds");
  const auto first = upper ? static_cast<size_t>(segments->items[0].integer) : size_t{0};
  return affine_expression(mlir::fold_map(*map, upper ? "min" : "max"), operation, first);
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
  const int variable = define_argument(block.arguments.front());
  for (size_t i = 0; i < carried; ++i) {
    const ValueId argument = block.arguments[i + 1];
    const ValueId value = operation.operands[first_initial + i];
    append_registers(arguments, define_argument(argument), argument);
    append_registers(initial, register_of(value, operation), value);
  }
  parallel_move(arguments, initial, operation);
  count(variable, lower, upper, step, operation, [&] {
    compile_region(body);
    const std::string_view yield = operation.name == "scf.for" ? "scf.yield" : "affine.yield";
    parallel_move(arguments, yielded_registers(body, yield, 0), operation);
  });
  for (size_t i = 0; i < operation.results.size() && i < carried; ++i)
    registers_[operation.results[i]] = registers_[block.arguments[i + 1]];
}

void CoreCompiler::count(int variable, int lower, int upper, int step, const Operation& operation,
                         const std::function<void()>& body) {
  move(variable, lower, operation);
  const int head = here();
  const int branch = branch_if(Predicate::kLtSigned, variable, upper, operation);
  body();
  Instruction& increment = emit(Opcode::kBinary, operation);
  increment.function = static_cast<uint8_t>(BinaryOp::kAdd);
  increment.type = {ScalarType::Kind::kIndex, 64};
  increment.destination = variable;
  increment.a = variable;
  increment.b = step;
  emit(Opcode::kJump, operation).target = head;
  program_.instructions[static_cast<size_t>(branch)].other_target = here();
}

std::vector<int> CoreCompiler::define_results(const Operation& operation) {
  std::vector<int> registers;
  for (size_t i = 0; i < operation.results.size(); ++i)
    append_registers(registers, define(operation, i), operation.results[i]);
  return registers;
}

void CoreCompiler::compile_if(const Operation& operation) {
  if (operation.operands.empty() || operation.regions.empty())
    fail(operation, "scf.if needs a condition and a body");
  const std::vector<int> results = define_results(operation);
  const int branch = branch_on(register_of(operation.operands[0], operation), operation);
  compile_conditional_region(*operation.regions[0]);
  if (!results.empty())
    parallel_move(results, yielded_registers(*operation.regions[0], "scf.yield", 0), operation);
  const bool has_else = operation.regions.size() > 1 && !operation.regions[1]->blocks.empty();
  const int skip = here();
  if (has_else) emit(Opcode::kJump, operation);
  program_.instructions[static_cast<size_t>(branch)].other_target = here();
  if (!has_else) return;
  compile_conditional_region(*operation.regions[1]);
  if (!results.empty())
    parallel_move(results, yielded_registers(*operation.regions[1], "scf.yield", 0), operation);
  program_.instructions[static_cast<size_t>(skip)].target = here();
}

// Cases are compared one after the other; the first region is the default.
void CoreCompiler::compile_index_switch(const Operation& operation) {
  const mlir::Attribute* cases = operation.attribute("cases");
  if (operation.operands.empty() || cases == nullptr ||
      operation.regions.size() != cases->items.size() + 1)
    fail(operation, "scf.index_switch needs an index and a region per case and for the default");
  const std::vector<int> results = define_results(operation);
  const int selector = register_of(operation.operands[0], operation);
  const auto compile_case = [&](const mlir::Region& region) {
    compile_conditional_region(region);
    if (!results.empty())
      parallel_move(results, yielded_registers(region, "scf.yield", 0), operation);
  };
  std::vector<int> exits;
  for (size_t i = 0; i < cases->items.size(); ++i) {
    const int branch = branch_if_equal(selector, cases->items[i].integer, operation);
    compile_case(*operation.regions[i + 1]);
    exits.push_back(here());
    emit(Opcode::kJump, operation);
    program_.instructions[static_cast<size_t>(branch)].other_target = here();
  }
  compile_case(*operation.regions[0]);
  for (const int exit : exits) program_.instructions[static_cast<size_t>(exit)].target = here();
}

void CoreCompiler::compile_while(const Operation& operation) {
  if (operation.regions.size() != 2) fail(operation, "scf.while needs two regions");
  const mlir::Region& before = *operation.regions[0];
  const mlir::Region& after = *operation.regions[1];
  const auto argument_registers = [&](const mlir::Region& region) {
    std::vector<int> registers;
    if (region.blocks.empty()) return registers;
    for (const ValueId argument : region.blocks.front().arguments)
      append_registers(registers, define_argument(argument), argument);
    return registers;
  };
  const std::vector<int> before_arguments = argument_registers(before);
  const std::vector<int> after_arguments = argument_registers(after);
  std::vector<int> initial;
  for (const ValueId operand : operation.operands)
    append_registers(initial, register_of(operand, operation), operand);
  parallel_move(before_arguments, initial, operation);
  const int head = here();
  compile_conditional_region(before);
  const Operation& condition =
      before.blocks.back().operations.empty() ? operation : before.blocks.back().operations.back();
  if (condition.name != "scf.condition" || condition.operands.empty())
    fail(operation, "the first region of scf.while must end in scf.condition");
  const std::vector<int> passed = yielded_registers(before, "scf.condition", 1);
  // The values leave the loop as results and enter its body as arguments.
  const std::vector<int> results = define_results(operation);
  if (!results.empty()) parallel_move(results, passed, operation);
  const int branch = branch_on(register_of(condition.operands[0], condition), operation);
  parallel_move(after_arguments, passed, operation);
  compile_conditional_region(after);
  parallel_move(before_arguments, yielded_registers(after, "scf.yield", 0), operation);
  emit(Opcode::kJump, operation).target = head;
  program_.instructions[static_cast<size_t>(branch)].other_target = here();
}

int CoreCompiler::branch_if(Predicate predicate, int a, int b, const Operation& operation) {
  const int condition = new_register();
  Instruction& compare = emit(Opcode::kCompare, operation);
  compare.function = static_cast<uint8_t>(predicate);
  compare.type = {ScalarType::Kind::kIndex, 64};
  compare.destination = condition;
  compare.a = a;
  compare.b = b;
  return branch_on(condition, operation);
}

int CoreCompiler::branch_on(int condition, const Operation& operation) {
  const int branch = here();
  emit(Opcode::kBranch, operation).a = condition;
  program_.instructions.back().target = here();
  return branch;
}

int CoreCompiler::branch_if_equal(int selector, int64_t value, const Operation& operation) {
  return branch_if(Predicate::kEq, selector, constant(value, operation), operation);
}

void CoreCompiler::jump_to(const mlir::Successor& successor, const Operation& operation) {
  const auto place = block_places_.back().find(successor.block);
  if (place == block_places_.back().end())
    fail(operation, fmt::format("there is no block '^{}' in this region", successor.block));
  std::vector<int> sources;
  for (const ValueId argument : successor.arguments)
    append_registers(sources, register_of(argument, operation), argument);
  parallel_move(place->second.argument_registers, sources, operation);
  fixups_.back().push_back({here(), successor.block});
  emit(Opcode::kJump, operation);
}

void CoreCompiler::compile_branch(const Operation& operation) {
  const bool conditional = operation.name == "cf.cond_br";
  if (operation.successors.size() != (conditional ? 2u : 1u))
    fail(operation, "a branch needs its target blocks");
  if (!conditional) {
    jump_to(operation.successors[0], operation);
    return;
  }
  const int branch = branch_on(register_of(operation.operands[0], operation), operation);
  jump_to(operation.successors[0], operation);
  program_.instructions[static_cast<size_t>(branch)].other_target = here();
  jump_to(operation.successors[1], operation);
}

void CoreCompiler::compile_switch(const Operation& operation) {
  const mlir::Attribute* cases = operation.attribute("cases");
  if (operation.operands.empty() || cases == nullptr ||
      operation.successors.size() != cases->items.size() + 1)
    fail(operation, "cf.switch is supported in its custom spelling only");
  const int selector = register_of(operation.operands[0], operation);
  for (size_t i = 0; i < cases->items.size(); ++i) {
    const int branch = branch_if_equal(selector, cases->items[i].integer, operation);
    jump_to(operation.successors[i + 1], operation);
    program_.instructions[static_cast<size_t>(branch)].other_target = here();
  }
  jump_to(operation.successors[0], operation);
}

}  // namespace tandem::npu

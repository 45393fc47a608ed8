// Runs core programs; see array.h and core_program.h. A core computes ahead on its own clock and
// meets the array's time at every lock, acquire and release.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "npu/emulator/arithmetic.h"
#include "npu/emulator/array.h"

namespace tandem::npu {
namespace {

// A core that computes this long without touching a lock gives the others, and the limits, a turn.
constexpr int kSliceInstructions = 100'000;
constexpr Cycles kSliceCycles = 1e6;

// Instructions that only read and write registers; false: a division by zero.
bool compute(const Instruction& instruction, std::vector<int64_t>& r) {
  const auto reg = [&r](int number) { return r[static_cast<size_t>(number)]; };
  int64_t result = 0;
  switch (instruction.opcode) {
    case Opcode::kConstant: result = instruction.immediate; break;
    case Opcode::kMove: result = reg(instruction.a); break;
    case Opcode::kMultiplyAdd:
      result = static_cast<int64_t>(static_cast<uint64_t>(reg(instruction.a)) +
                                    static_cast<uint64_t>(reg(instruction.b)) *
                                        static_cast<uint64_t>(instruction.immediate));
      break;
    case Opcode::kBinary: {
      const auto value = apply_binary(static_cast<BinaryOp>(instruction.function),
                                      reg(instruction.a), reg(instruction.b), instruction.type);
      if (!value) return false;
      result = *value;
      break;
    }
    case Opcode::kCompare:
      result = apply_compare(static_cast<Predicate>(instruction.function), reg(instruction.a),
                             reg(instruction.b), instruction.type)
                   ? 1
                   : 0;
      break;
    case Opcode::kCompareFloat:
      result =
          apply_compare_float(instruction.function, reg(instruction.a), reg(instruction.b)) ? 1 : 0;
      break;
    case Opcode::kSelect:
      result = reg(instruction.a) != 0 ? reg(instruction.b) : reg(instruction.c);
      break;
    case Opcode::kUnary:
      result = apply_unary(static_cast<UnaryOp>(instruction.function), reg(instruction.a),
                           instruction.type);
      break;
    case Opcode::kFusedMultiplyAdd:
      result =
          apply_fused(reg(instruction.a), reg(instruction.b), reg(instruction.c), instruction.type);
      break;
    default:
      result = apply_convert(static_cast<ConvertOp>(instruction.function), reg(instruction.a),
                             instruction.source_type, instruction.type);
  }
  r[static_cast<size_t>(instruction.destination)] = result;
  return true;
}

}  // namespace

void Array::wake_core(int index) {
  CoreState& core = cores_[static_cast<size_t>(index)];
  if (core.ended) return;
  core.waiting_lock = -1;
  core.waits_for_cascade = false;
  core.waiting_port = -1;
  core.local_time = std::max(core.local_time, now_);
  const std::vector<Instruction>& program = core.declaration->program.instructions;
  const Cycles slice_end = core.local_time + kSliceCycles;
  for (int count = 0; count < kSliceInstructions && core.local_time < slice_end; ++count) {
    if (core.pc >= program.size()) {
      core.ended = true;
      return;
    }
    const Step step = step_core(core, index, program[core.pc]);
    if (step == Step::kBlocked) return;
    if (step == Step::kEnded) {
      core.ended = true;
      return;
    }
  }
  schedule({AgentKind::kCore, index}, core.local_time);
}

// True when the core's clock is the array's; otherwise it is woken again when it is.
bool Array::synchronise(CoreState& core, int index) {
  if (core.local_time <= now_) return true;
  schedule({AgentKind::kCore, index}, core.local_time);
  return false;
}

Array::Step Array::step_core(CoreState& core, int index, const Instruction& instruction) {
  auto& r = core.registers;
  const auto reg = [&r](int number) -> int64_t& { return r[static_cast<size_t>(number)]; };
  Cycles cost = instruction.free ? 0 : timing_.core_instruction;
  switch (instruction.opcode) {
    case Opcode::kConstant:
    case Opcode::kMove:
    case Opcode::kMultiplyAdd:
      compute(instruction, r);
      cost = 0;  // addresses and constants fold into other instructions
      break;
    case Opcode::kBinary:
    case Opcode::kCompare:
    case Opcode::kCompareFloat:
    case Opcode::kSelect:
    case Opcode::kConvert:
    case Opcode::kUnary:
    case Opcode::kFusedMultiplyAdd:
      if (!compute(instruction, r)) fail(instruction.location, "division by zero");
      break;
    case Opcode::kCheckIndex:
      if (reg(instruction.a) < 0 || reg(instruction.a) >= instruction.immediate)
        fail(instruction.location, fmt::format("index {} is outside the dimension of {}",
                                               reg(instruction.a), instruction.immediate));
      cost = 0;
      break;
    case Opcode::kLoad:
    case Opcode::kStore:
    case Opcode::kCopy: step_memory(core, instruction); break;
    case Opcode::kReference: {
      const BufferDecl& buffer = device().buffers[static_cast<size_t>(instruction.immediate)];
      reg(instruction.destination) =
          make_reference(buffer.tile.column, buffer.tile.row, buffer.address);
      cost = 0;
      break;
    }
    case Opcode::kJump:
      core.pc = static_cast<size_t>(instruction.target);
      core.local_time += cost;
      core.busy_cycles += cost;
      return Step::kContinue;
    case Opcode::kBranch:
      core.pc = static_cast<size_t>(reg(instruction.a) != 0 ? instruction.target
                                                            : instruction.other_target);
      return Step::kContinue;
    case Opcode::kCall:
      // The kernel's data must be as at the time it starts.
      if (!synchronise(core, index)) return Step::kBlocked;
      if (!step_call(core, index, instruction)) return Step::kBlocked;
      break;
    case Opcode::kCascadePut:
    case Opcode::kCascadeGet:
      if (!synchronise(core, index) || !step_cascade(core, index, instruction))
        return Step::kBlocked;
      break;
    case Opcode::kStreamPut:
    case Opcode::kStreamGet:
      if (!synchronise(core, index) || !step_stream(core, instruction)) return Step::kBlocked;
      break;
    case Opcode::kEnd: return Step::kEnded;
    case Opcode::kLock: return step_lock(core, index, instruction);
    case Opcode::kFifoAcquire: return step_fifo_acquire(core, index, instruction);
    case Opcode::kFifoAccess: {
      const FifoEnd& end =
          core.declaration->program.fifo_ends[static_cast<size_t>(instruction.target)];
      const auto element = static_cast<uint64_t>(reg(instruction.a) + instruction.immediate);
      const BufferDecl& buffer =
          device().buffers[static_cast<size_t>(end.buffers[element % end.buffers.size()])];
      reg(instruction.destination) =
          make_reference(buffer.tile.column, buffer.tile.row, buffer.address);
      cost = 0;
      break;
    }
    case Opcode::kFifoRelease:
      if (!synchronise(core, index)) return Step::kBlocked;
      step_fifo_release(core, instruction);
      break;
  }
  ++core.pc;
  core.local_time += cost;
  core.busy_cycles += cost;
  return Step::kContinue;
}

// ---- locks and FIFOs ----

Array::Step Array::step_lock(CoreState& core, int index, const Instruction& instruction) {
  if (!synchronise(core, index)) return Step::kBlocked;
  const auto action = static_cast<LockAction>(instruction.function);
  const auto value = static_cast<int>(instruction.immediate);
  const LockRef lock = device_lock(instruction.target);
  if (action == LockAction::kRelease) {
    release(lock, value, instruction.location);
  } else if (!acquire(lock, value, action == LockAction::kAcquireGreaterEqual,
                      {AgentKind::kCore, index})) {
    core.waiting_lock = instruction.target;
    return Step::kBlocked;
  }
  ++core.pc;
  core.local_time += timing_.lock_operation;
  return Step::kContinue;
}

// Only what is not held yet is acquired; the result numbers the oldest element held.
Array::Step Array::step_fifo_acquire(CoreState& core, int index, const Instruction& instruction) {
  const auto which = static_cast<size_t>(instruction.target);
  const FifoEnd& end = core.declaration->program.fifo_ends[which];
  CoreState::Fifo& fifo = core.fifos[which];
  const int wanted = static_cast<int>(instruction.immediate) - fifo.held;
  if (wanted > 0) {
    if (!synchronise(core, index)) return Step::kBlocked;
    if (end.acquire_lock >= 0 && !acquire(device_lock(end.acquire_lock), wanted * end.lock_units,
                                          true, {AgentKind::kCore, index})) {
      core.waiting_lock = end.acquire_lock;
      return Step::kBlocked;
    }
    fifo.held += wanted;
    core.local_time += timing_.lock_operation;
  }
  core.registers[static_cast<size_t>(instruction.destination)] = static_cast<int64_t>(fifo.oldest);
  ++core.pc;
  return Step::kContinue;
}

void Array::step_fifo_release(CoreState& core, const Instruction& instruction) {
  const auto which = static_cast<size_t>(instruction.target);
  const FifoEnd& end = core.declaration->program.fifo_ends[which];
  CoreState::Fifo& fifo = core.fifos[which];
  const auto count = static_cast<int>(instruction.immediate);
  if (count > fifo.held)
    fail(instruction.location, fmt::format("{} elements of '@{}' are released but {} are held",
                                           count, end.name, fifo.held));
  fifo.held = std::max(0, fifo.held - count);
  fifo.oldest += static_cast<uint64_t>(count);
  if (end.release_lock >= 0)
    release(device_lock(end.release_lock), count * end.lock_units, instruction.location);
}

// ---- memory ----

std::byte* Array::core_memory(CoreState& core, int64_t reference, uint64_t size,
                              SourceLocation location, TileState** tile) {
  const uint64_t offset = reference_offset(reference);
  *tile = find_tile({reference_column(reference), reference_row(reference)});
  if (*tile == nullptr || offset + size > (*tile)->memory.size())
    fail(location, fmt::format("the core of tile {} reaches byte {} of tile ({}, {}), beyond its "
                               "memory",
                               to_text(core.tile), offset + size, reference_column(reference),
                               reference_row(reference)));
  return (*tile)->memory.data() + offset;
}

void Array::step_memory(CoreState& core, const Instruction& instruction) {
  auto& r = core.registers;
  const int64_t first = r[static_cast<size_t>(instruction.a)];
  TileState* tile = nullptr;
  if (instruction.opcode == Opcode::kCopy) {
    const auto size = static_cast<uint64_t>(instruction.immediate);
    const int64_t second = r[static_cast<size_t>(instruction.b)];
    const std::byte* source = core_memory(core, first, size, instruction.location, &tile);
    check_written(*tile, reference_offset(first), size, instruction.location, "memref.copy");
    std::byte* target = core_memory(core, second, size, instruction.location, &tile);
    std::memmove(target, source, size);
    mark_written(*tile, reference_offset(second), size);
    core.local_time += static_cast<Cycles>(size) / 32;
    return;
  }
  const auto size = static_cast<uint64_t>(instruction.type.bytes());
  std::byte* memory = core_memory(core, first, size, instruction.location, &tile);
  if (instruction.opcode == Opcode::kLoad) {
    if (tile->written[reference_offset(first) / 4] == 0)
      check_written(*tile, reference_offset(first), size, instruction.location,
                    fmt::format("the core of tile {}", to_text(core.tile)));
    r[static_cast<size_t>(instruction.destination)] = load_scalar(memory, instruction.type);
  } else {
    store_scalar(memory, r[static_cast<size_t>(instruction.b)], instruction.type);
    mark_written(*tile, reference_offset(first), size);
  }
}

// ---- kernels ----

std::vector<KernelValue> Array::kernel_arguments(CoreState& core, const KernelDecl& declaration,
                                                 const CallSite& site, SourceLocation location) {
  std::vector<KernelValue> values(site.registers.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const KernelArgument& argument = declaration.arguments[i];
    const int64_t value = core.registers[static_cast<size_t>(site.registers[i])];
    if (argument.is_buffer) {
      values[i].size = argument.count * static_cast<uint64_t>(argument.type.bits) / 8;
      TileState* tile = nullptr;
      std::byte* memory = core_memory(core, value, values[i].size, location, &tile);
      if (options_.move_data) values[i].buffer = memory;
      // Which of its buffers a kernel writes is not known.
      mark_written(*tile, reference_offset(value), values[i].size);
    } else if (argument.type.is_float()) {
      values[i].real = as_real(value);
    } else {
      values[i].integer = value;
    }
  }
  return values;
}

// False while the kernel waits for its cascade; it goes on where it was.
bool Array::step_call(CoreState& core, int index, const Instruction& instruction) {
  const CallSite& site =
      core.declaration->program.calls[static_cast<size_t>(instruction.immediate)];
  if (core.kernel == nullptr) begin_call(core, site, instruction);
  if (!run_kernel(core, index)) return false;
  const Cycles end = std::max(core.call_began + core.call_cost, now_);
  if (trace_.enabled())
    trace_.add(fmt::format("core {}", to_text(core.tile)), site.symbol, core.call_began, end);
  core.local_time = end;
  core.busy_cycles += core.call_cost;
  core.kernel.reset();
  ++kernel_calls_;
  return true;
}

// Looks the kernel up, with its cost, and makes it ready to run.
void Array::begin_call(CoreState& core, const CallSite& site, const Instruction& instruction) {
  const KernelDecl& declaration = device().kernels.at(site.symbol);
  std::vector<KernelValue> values = kernel_arguments(core, declaration, site, instruction.location);
  const Kernel* kernel =
      options_.kernels == nullptr ? nullptr : options_.kernels->find(site.symbol);
  void* function = nullptr;
  if (kernel == nullptr && options_.move_data) {
    if (options_.kernels != nullptr) function = options_.kernels->find_library_symbol(site.symbol);
    if (function == nullptr)
      throw Error(ErrorCode::kNotFound,
                  at(instruction.location,
                     fmt::format("no kernel '{}' is built in or in a library given with --kernels",
                                 site.symbol)));
  }
  core.call_began = core.local_time;
  core.call_cost = timing_.unknown_kernel_call;
  if (kernel != nullptr && kernel->cycles)
    core.call_cost = static_cast<Cycles>(kernel->cycles(values));
  else
    warn(instruction.location, fmt::format("kernel '{}' has no cost: {} cycles a call are assumed",
                                           site.symbol, timing_.unknown_kernel_call));
  core.call_cost *= timing_.kernel_cost_factor;
  if (kernel != nullptr && kernel->operations) operations_ += kernel->operations(values);
  std::function<void()> body;
  if (options_.move_data && kernel != nullptr && kernel->run)
    body = [kernel, values = std::move(values)] { kernel->run(values); };
  else if (function != nullptr)
    body = [function, &declaration, values = std::move(values)] {
      call_library_kernel(function, declaration, values);
    };
  core.kernel = std::make_unique<KernelCall>(std::move(body));
}

// ---- the cascade ----

bool Array::run_kernel(CoreState& core, int index) {
  // Without a neighbour on the cascade nothing can make a kernel wait, so it needs no stack.
  if (!options_.move_data || (core.cascade_target < 0 && core.cascade_source < 0)) {
    core.kernel->run_through();
    return true;
  }
  CoreCascade cascade(*this, index);
  return core.kernel->resume(cascade);
}

bool Array::CoreCascade::try_put(const CascadeWord& word) {
  return array_.put_cascade(index_, word);
}
bool Array::CoreCascade::try_get(CascadeWord& word) { return array_.get_cascade(index_, word); }

// False while the neighbour's FIFO is full.
bool Array::put_cascade(int index, const CascadeWord& word) {
  CoreState& core = cores_[static_cast<size_t>(index)];
  if (core.cascade_target < 0)
    throw Error(ErrorCode::kInvalidFile,
                at(core.declaration->location,
                   fmt::format("the core of tile {} writes to a cascade that leads nowhere",
                               to_text(core.tile))));
  CoreState& target = cores_[static_cast<size_t>(core.cascade_target)];
  core.waits_for_cascade = target.cascade_words.size() >= kCascadeDepth;
  if (core.waits_for_cascade) return false;
  target.cascade_words.push_back(word);
  if (target.waits_for_cascade) schedule({AgentKind::kCore, core.cascade_target}, now_);
  return true;
}

bool Array::get_cascade(int index, CascadeWord& word) {
  CoreState& core = cores_[static_cast<size_t>(index)];
  if (core.cascade_source < 0)
    throw Error(ErrorCode::kInvalidFile,
                at(core.declaration->location,
                   fmt::format("the core of tile {} reads a cascade that nothing leads to",
                               to_text(core.tile))));
  core.waits_for_cascade = core.cascade_words.empty();
  if (core.waits_for_cascade) return false;
  word = core.cascade_words.front();
  core.cascade_words.pop_front();
  if (cores_[static_cast<size_t>(core.cascade_source)].waits_for_cascade)
    schedule({AgentKind::kCore, core.cascade_source}, now_);
  return true;
}

bool Array::step_cascade(CoreState& core, int index, const Instruction& instruction) {
  const int bytes = instruction.type.bytes();
  CascadeWord word{};
  const bool put = instruction.opcode == Opcode::kCascadePut;
  if (!put && !get_cascade(index, word)) return false;
  for (int lane = 0; lane < instruction.immediate; ++lane) {
    std::byte* at = word.data() + lane * bytes;
    const int number = (put ? instruction.a : instruction.destination) + lane;
    int64_t& value = core.registers[static_cast<size_t>(number)];
    if (put)
      store_scalar(at, value, instruction.type);
    else
      value = load_scalar(at, instruction.type);
  }
  return !put || put_cascade(index, word);
}

}  // namespace tandem::npu

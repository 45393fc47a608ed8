// The event loop and the results; see emulator.h and array.h.
// SPDX-License-Identifier: Apache-2.0
#include "npu/emulator/emulator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "npu/emulator/array.h"

namespace tandem::npu {

namespace {

// How long transfers that nobody waits for may go on after the sequence.
constexpr Cycles kDrainCycles = 1e7;

}  // namespace

uint64_t* Array::generation_of(AgentId agent) {
  switch (agent.kind) {
    case AgentKind::kController: return &controller_generation_;
    case AgentKind::kCore: return &cores_[static_cast<size_t>(agent.index)].generation;
    case AgentKind::kChannel: return &channels_[static_cast<size_t>(agent.index)].generation;
    case AgentKind::kTransfer: break;
  }
  return &channels_[static_cast<size_t>(agent.index)].transfer_generation;
}

// Each agent has one event at most: scheduling it again voids the one before.
void Array::schedule(AgentId agent, Cycles time) {
  queue_.schedule(time, agent, ++*generation_of(agent));
}

void Array::dispatch(const Event& event) {
  const bool exists = event.agent.kind == AgentKind::kController ||
                      (event.agent.kind == AgentKind::kCore
                           ? event.agent.index < static_cast<int>(cores_.size())
                           : event.agent.index < static_cast<int>(channels_.size()));
  if (!exists || *generation_of(event.agent) != event.generation) return;
  now_ = event.time;
  ++events_;
  switch (event.agent.kind) {
    case AgentKind::kController: wake_controller(); break;
    case AgentKind::kCore: wake_core(event.agent.index); break;
    case AgentKind::kChannel: wake_channel(event.agent.index); break;
    case AgentKind::kTransfer: finish_transfer(event.agent.index); break;
  }
}

void Array::check_limits(Cycles time) {
  if (time > static_cast<Cycles>(options_.cycle_limit))
    throw Error(ErrorCode::kTimeout,
                fmt::format("{}: the run passes {} simulated cycles without an end; the limit can "
                            "be raised",
                            design_.source_name, options_.cycle_limit));
  if (events_ % 64 != 0) return;
  const std::chrono::duration<double> wall = Clock::now() - started_;
  if (wall.count() > options_.wall_seconds_limit)
    throw Error(ErrorCode::kTimeout,
                fmt::format("{}: the emulation takes longer than {} seconds; the limit can be "
                            "raised",
                            design_.source_name, options_.wall_seconds_limit));
}

EmulationResult Array::run(std::span<const ControllerInstruction> sequence,
                           std::span<HostBuffer> buffers) {
  started_ = Clock::now();
  sequence_ = sequence;
  buffers_ = buffers;
  next_instruction_ = 0;
  controller_done_ = false;
  controller_waiting_ = false;
  any_push_ = false;
  phases_.clear();
  warnings_.clear();
  known_warnings_.clear();
  trace_.clear();
  check_buffers(buffers);
  controller_busy_ = 0;
  host_read_ = host_written_ = kernel_calls_ = operations_ = events_ = 0;
  for (DmaChannel& channel : channels_) {
    channel.tokens = 0;
    channel.busy_cycles = 0;
    channel.total_bytes = 0;
  }
  for (CoreState& core : cores_) core.busy_cycles = 0;
  const Cycles start = now_;
  phase_began_ = now_;
  schedule({AgentKind::kController, 0}, now_);
  const auto unfinished = [this] {
    return !controller_done_ || (host_writes_pending() && now_ < end_ + kDrainCycles);
  };
  while (!queue_.empty() && unfinished()) {
    const Event event = queue_.pop();
    check_limits(event.time - start);
    dispatch(event);
  }
  if (!controller_done_) report_deadlock();
  if (host_writes_pending())
    warn({},
         "the sequence has ended without waiting for a transfer to the host, which did not "
         "finish");
  return make_result(end_ - start);
}

EmulationResult Array::make_result(Cycles elapsed) {
  EmulationResult result;
  result.cycles = static_cast<uint64_t>(std::llround(elapsed));
  result.seconds = elapsed / timing_.clock_hz;
  result.launch_seconds = timing_.launch_seconds;
  result.phases = phases_;
  result.host_bytes_read = host_read_;
  result.host_bytes_written = host_written_;
  result.kernel_calls = kernel_calls_;
  result.operations = operations_;
  result.events = events_;
  result.warnings = warnings_;
  if (trace_.enabled()) result.trace = trace_.to_json();
  if (elapsed <= 0) return result;
  BoundShares& shares = result.shares;
  for (const DmaChannel& channel : channels_)
    if (channel.tile.row == 0)
      shares.shim_stream = std::max(shares.shim_stream, channel.busy_cycles / elapsed);
  for (const CoreState& core : cores_)
    shares.core = std::max(shares.core, core.busy_cycles / elapsed);
  const double dram_cycle = timing_.dram_bytes_per_second / timing_.clock_hz;
  shares.dram = static_cast<double>(std::max(host_read_, host_written_)) / (dram_cycle * elapsed);
  shares.controller = controller_busy_ / elapsed;
  const std::pair<double, const char*> ranked[] = {{shares.core, "core"},
                                                   {shares.shim_stream, "shim stream"},
                                                   {shares.dram, "dram"},
                                                   {shares.controller, "controller"}};
  result.bound =
      std::max_element(std::begin(ranked), std::end(ranked), [](const auto& a, const auto& b) {
        return a.first < b.first;
      })->second;
  return result;
}

class Emulator::State {
 public:
  State(const Design& parsed, const EmulatorOptions& chosen)
      : design(parsed), options(chosen), array(design, options) {}
  const Design& design;
  EmulatorOptions options;
  Array array;
};

Emulator::Emulator(const Design& design, const EmulatorOptions& options)
    : state_(std::make_unique<State>(design, options)) {}
Emulator::~Emulator() = default;

EmulationResult Emulator::run(std::span<HostBuffer> buffers) {
  return state_->array.run(state_->design.sequence, buffers);
}

EmulationResult Emulator::run(std::span<const ControllerInstruction> sequence,
                              std::span<HostBuffer> buffers) {
  return state_->array.run(sequence, buffers);
}

EmulationResult emulate(const Design& design, const EmulatorOptions& options,
                        std::span<HostBuffer> buffers) {
  return Emulator(design, options).run(buffers);
}

}  // namespace tandem::npu

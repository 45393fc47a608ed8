// The simulated array: tiles, channels, cores and controller acting on each other through one event
// queue. Implemented by subject: array.cc (loading, memory, locks, registers), dma.cc (channels),
// streams.cc (transfers and bandwidth), control_packets.cc, core_streams.cc, core_interpreter.cc,
// controller.cc, deadlock.cc.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "npu/aie_text/registers.h"
#include "npu/emulator/address_pattern.h"
#include "npu/emulator/emulator.h"
#include "npu/emulator/kernel_call.h"
#include "npu/emulator/tile.h"
#include "npu/emulator/trace_recorder.h"

namespace tandem::npu {

// Words a core's stream port holds in each direction.
inline constexpr uint32_t kCoreStreamWords = 4;

// A core with its program's state.
struct CoreState {
  const CoreDecl* declaration = nullptr;
  TileCoordinate tile;
  size_t pc = 0;
  std::vector<int64_t> registers;
  struct Fifo {
    uint64_t oldest = 0;  // elements released so far
    int held = 0;
  };
  std::vector<Fifo> fifos;
  bool ended = false;
  int waiting_lock = -1;  // device lock it waits for

  // Neighbours on the cascade, as cores of the array; words arrived and not read yet.
  int cascade_source = -1;
  int cascade_target = -1;
  std::deque<CascadeWord> cascade_words;
  bool waits_for_cascade = false;
  int waiting_port = -1;  // the channel that is the stream port it waits for

  // The kernel being called.
  std::unique_ptr<KernelCall> kernel;
  Cycles call_began = 0;
  Cycles call_cost = 0;

  Cycles local_time = 0;
  Cycles busy_cycles = 0;
  uint64_t generation = 0;
};

class Array {
 public:
  Array(const Design& design, const EmulatorOptions& options);

  // Runs a sequence to its end; the array keeps its state afterwards.
  EmulationResult run(std::span<const ControllerInstruction> sequence,
                      std::span<HostBuffer> buffers);

 private:
  using Clock = std::chrono::steady_clock;

  // A core's cascade, for the kernel it runs.
  class CoreCascade final : public Cascade {
   public:
    CoreCascade(Array& array, int index) : array_(array), index_(index) {}
    bool try_put(const CascadeWord& word) override;
    bool try_get(CascadeWord& word) override;

   private:
    Array& array_;
    int index_;
  };

  // array.cc
  void load_device(int device);
  void load_channels();
  void load_routes();
  void load_cores();
  TileState& tile_at(TileCoordinate tile);
  TileState* find_tile(TileCoordinate tile);
  DmaChannel& channel_at(TileCoordinate tile, DmaDirection direction, int index);
  DmaChannel& control_port(TileCoordinate tile, DmaDirection direction);
  DmaChannel& core_port(TileCoordinate tile, DmaDirection direction);
  DmaChannel& stream_end(const StreamPort& port, DmaDirection direction);
  const DeviceDesign& device() const { return design_.devices[static_cast<size_t>(device_)]; }
  [[noreturn]] void fail(SourceLocation location, const std::string& message) const;
  void warn(SourceLocation location, const std::string& message);
  std::string at(SourceLocation location, const std::string& message) const;
  void check_written(const TileState& tile, uint64_t offset, uint64_t size, SourceLocation location,
                     const std::string& reader);
  static void mark_written(TileState& tile, uint64_t offset, uint64_t size);

  // Locks: true when taken; otherwise the agent waits and is woken by the next change.
  struct LockRef {
    TileState* tile = nullptr;
    int id = 0;
  };
  LockRef dma_lock(const DmaChannel& channel, int number);
  LockRef device_lock(int index);
  bool acquire(LockRef lock, int value, bool greater_equal, AgentId agent);
  void set_lock(LockRef lock, int value, SourceLocation location);
  void release(LockRef lock, int value, SourceLocation location);

  // Registers, as the controller writes them.
  void write_register(uint32_t address, uint32_t value, SourceLocation location);
  uint32_t read_register(uint32_t address, SourceLocation location);
  void write_descriptor_word(TileState& tile, int id, uint32_t word, uint32_t value,
                             SourceLocation location);
  void push_task(TileState& tile, DmaDirection direction, int index, uint32_t value,
                 SourceLocation location);

  // dma.cc
  void wake_channel(int index);
  void start_next_task(int index);
  void begin_descriptor(int index, Cycles delay);
  void take_lock(int index);
  void enter_streaming(int index);
  void finish_descriptor(int index);
  void finish_task(int index);
  Cycles task_overhead(const DmaChannel& channel) const;
  std::string channel_name(const DmaChannel& channel) const;
  TileState& memory_of(const DmaChannel& channel, uint64_t address, uint64_t size,
                       uint64_t& offset);
  void gather(DmaChannel& channel, uint32_t position, std::span<std::byte> bytes);
  void scatter(DmaChannel& channel, uint32_t position, std::span<const std::byte> bytes);

  // streams.cc
  void pump(int source);
  void pump_sources(int target);
  const std::vector<StreamTarget>& targets(const DmaChannel& channel, int packet_id) const;
  int current_packet(const DmaChannel& channel) const;
  bool targets_ready(const std::vector<StreamTarget>& targets, int source, uint32_t& room) const;
  void start_transfer(int source, uint32_t bytes, uint32_t from_fifo);
  void start_prefill(int source, uint32_t bytes);
  void settle_prefill(int source);
  void finish_transfer(int source);
  void deliver(DmaChannel& channel, const std::vector<StreamTarget>& targets);
  void share_dram();
  double channel_rate(const DmaChannel& channel) const;
  void schedule_transfer_end(DmaChannel& channel, int index);

  // control_packets.cc
  void receive_control(DmaChannel& port, std::span<const std::byte> bytes);
  void execute_control(DmaChannel& port, size_t words);

  // core_streams.cc
  bool step_stream(CoreState& core, const Instruction& instruction);
  void wake_port(int channel);
  AgentId agent_of(int channel) const;

  // core_interpreter.cc
  void wake_core(int index);
  void reset_core(CoreState& core);
  enum class Step { kContinue, kBlocked, kEnded };
  Step step_core(CoreState& core, int index, const Instruction& instruction);
  Step step_lock(CoreState& core, int index, const Instruction& instruction);
  Step step_fifo_acquire(CoreState& core, int index, const Instruction& instruction);
  void step_fifo_release(CoreState& core, const Instruction& instruction);
  void step_memory(CoreState& core, const Instruction& instruction);
  bool step_call(CoreState& core, int index, const Instruction& instruction);
  void begin_call(CoreState& core, const CallSite& site, const Instruction& instruction);
  bool run_kernel(CoreState& core, int index);
  bool step_cascade(CoreState& core, int index, const Instruction& instruction);
  bool put_cascade(int index, const CascadeWord& word);
  bool get_cascade(int index, CascadeWord& word);
  std::byte* core_memory(CoreState& core, int64_t reference, uint64_t size, SourceLocation location,
                         TileState** tile);
  std::vector<KernelValue> kernel_arguments(CoreState& core, const KernelDecl& declaration,
                                            const CallSite& site, SourceLocation location);
  bool synchronise(CoreState& core, int index);

  // controller.cc
  void wake_controller();
  Cycles execute(const ControllerInstruction& instruction);
  bool take_tokens(const ControllerInstruction& instruction);
  void close_phase(const std::string& name);
  void check_buffers(std::span<HostBuffer> buffers);
  bool host_writes_pending() const;

  // deadlock.cc
  [[noreturn]] void report_deadlock();
  std::string describe_wait(AgentId agent) const;
  bool waits_to_put(const CoreState& core) const;
  std::vector<AgentId> blockers(AgentId agent) const;
  std::vector<AgentId> stream_partners(int channel) const;
  std::vector<AgentId> lock_providers(const TileState& tile, int id) const;
  std::string agent_name(AgentId agent) const;

  // Results.
  EmulationResult make_result(Cycles end);
  void check_limits(Cycles time);
  void dispatch(const Event& event);
  uint64_t* generation_of(AgentId agent);
  void schedule(AgentId agent, Cycles time);

  const Design& design_;
  const EmulatorOptions& options_;
  const TimingParameters& timing_;
  const Geometry* geometry_ = nullptr;
  int device_ = -1;
  int columns_ = 0;
  std::map<TileCoordinate, TileState> tiles_;
  std::vector<DmaChannel> channels_;
  std::vector<CoreState> cores_;
  std::vector<std::byte> scratch_;
  EventQueue queue_;
  Cycles now_ = 0;
  uint64_t events_ = 0;
  Clock::time_point started_;

  // Controller.
  std::span<const ControllerInstruction> sequence_;
  std::span<HostBuffer> buffers_;
  size_t next_instruction_ = 0;
  bool controller_done_ = false;
  bool controller_waiting_ = false;
  bool any_push_ = false;
  uint64_t controller_generation_ = 0;
  Cycles controller_busy_ = 0;
  Cycles phase_began_ = 0;
  Cycles end_ = 0;
  std::vector<PhaseTime> phases_;

  std::set<int> sharing_;  // channels with a transfer that shares DRAM
  uint64_t host_read_ = 0;
  uint64_t host_written_ = 0;
  uint64_t kernel_calls_ = 0;
  uint64_t operations_ = 0;
  std::vector<std::string> warnings_;
  std::set<std::string> known_warnings_;
  TraceRecorder trace_;
};

}  // namespace tandem::npu

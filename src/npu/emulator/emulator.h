// Runs a Design on a simulated array: exact data, locks, streams and DMA, and predicted time.
// Everything reported as time here is predicted, never measured.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/json_value.h"
#include "npu/aie_text/design.h"
#include "npu/emulator/kernel_table.h"
#include "npu/emulator/timing.h"

namespace tandem::npu {

// One argument of the runtime sequence. `bytes` may be empty when data is not moved; `size` counts.
struct HostBuffer {
  std::span<std::byte> bytes;
  uint64_t size = 0;
};

struct EmulatorOptions {
  TimingParameters timing;  // clock and costs; see timing.h
  bool move_data = true;    // false: the same events without touching data
  const KernelTable* kernels = nullptr;
  bool record_trace = false;    // fills EmulationResult::trace
  bool track_unwritten = true;  // report reads of tile memory nobody wrote
  uint64_t cycle_limit = 20'000'000'000;
  double wall_seconds_limit = 600;
  bool stop_at_warning = false;  // a warning becomes an error
};

struct PhaseTime {
  std::string name;
  uint64_t cycles = 0;
};

// What bounded the run: shares of the elapsed cycles, each between 0 and 1 and overlapping.
struct BoundShares {
  double shim_stream = 0;  // busiest shim channel
  double dram = 0;         // bytes moved against what DRAM alone would allow
  double core = 0;         // busiest core computing
  double controller = 0;   // executing instructions rather than waiting
};

// NOLINTNEXTLINE(bugprone-exception-escape): the JSON library's moves only assert
struct EmulationResult {
  uint64_t cycles = 0;  // from the first instruction to the end of the sequence
  double seconds = 0;   // the same at the array clock, without the launch
  double launch_seconds = 0;
  std::vector<PhaseTime> phases;
  BoundShares shares;
  std::string bound;                // the largest share's name
  uint64_t host_bytes_read = 0;     // DDR to array
  uint64_t host_bytes_written = 0;  // array to DDR
  uint64_t kernel_calls = 0;
  uint64_t operations = 0;  // multiplies and adds of kernels that say so, padding included
  uint64_t events = 0;
  std::vector<std::string> warnings;  // "file:line:column: text", each once
  Json trace;                         // Chrome trace events, when asked for
};

// Runs the sequence once on a freshly loaded array. Throws kInvalidFile for a design that breaks a
// rule at run time, kTimeout for a deadlock (named as the cycle of waits) or a limit, kUsage for
// wrong buffers, kNotFound for a kernel nobody provides.
EmulationResult emulate(const Design& design, const EmulatorOptions& options,
                        std::span<HostBuffer> buffers);

// The same array kept loaded between runs, as a hardware context keeps it: cores stay where they
// wait, memories and locks keep their state. The design and options must outlive it.
class Emulator {
 public:
  Emulator(const Design& design, const EmulatorOptions& options);
  ~Emulator();
  Emulator(const Emulator&) = delete;
  Emulator& operator=(const Emulator&) = delete;

  // Runs the design's sequence, or the given instructions in its place (decoded transactions).
  EmulationResult run(std::span<HostBuffer> buffers);
  EmulationResult run(std::span<const ControllerInstruction> sequence,
                      std::span<HostBuffer> buffers);

 private:
  class State;
  std::unique_ptr<State> state_;
};

// As text for people and as JSON.
std::string to_text(const EmulationResult& result);
Json to_json(const EmulationResult& result);

}  // namespace tandem::npu

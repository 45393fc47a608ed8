// The NPU as a backend: the two projections of attention (qkv and out) on the array, everything
// else declined. On silicon through the kernel driver, or on the emulator through a fake one; the
// same code either way.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "npu/compiler.h"
#include "npu/emulator/timing.h"
#include "npu/geometry.h"
#include "npu/int4_layout.h"

namespace tandem::npu {

struct NpuOptions {
  bool emulated = false;
  ScaleMode scales = ScaleMode::kInteger;
  std::chrono::microseconds run_timeout = std::chrono::seconds(10);

  // Silicon. Its generation and, when `node` is empty, its device node are detected.
  std::string node;
  CompilerOptions compiler;
  std::filesystem::path kernel_sources;  // empty: those the program carries

  // Emulator.
  Generation generation = Generation::kNpu1;
  double clock_hz = 0;             // 0: the generation's default
  double launch_seconds = 0;       // 0: the timing model's
  double emulation_seconds = 600;  // wall time that one run may take
  bool zero_results = false;       // a fault for tests: sums arrive as zeros
};

// What one op has cost in one phase.
struct NpuOpCounters {
  Op op = Op::kQkv;
  Phase phase = Phase::kDecode;
  uint64_t steps = 0, rows = 0, runs = 0;  // runs of the array; a step may take several
  uint64_t array_bytes = 0;                // read and written by the array; emulated only
  double predicted_array_us = 0;           // emulated only, without the launch
  double predicted_launch_us = 0;          // emulated only
  double host_us = 0;                      // wall: norms, conversion
  double device_us = 0;                    // wall: waiting for the device, or emulating it
};

class NpuBackend : public Backend {
 public:
  // Since construction; not while a program runs. Ops that never ran are left out.
  virtual std::vector<NpuOpCounters> counters() const = 0;
};

// Throws kNotFound or kUnsupported (no usable NPU, with the fix), kOutOfMemory.
std::unique_ptr<NpuBackend> make_npu_backend(const NpuOptions& options);

}  // namespace tandem::npu

// The timing model's constants, one place, each with its source. All are fitted to micro-benchmarks
// (single channels, aggregate bandwidth, controller instructions), none to whole designs.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "npu/geometry.h"

namespace tandem::npu {

struct TimingParameters {
  double clock_hz = 1.028e9;  // Phoenix under Linux; 1.797e9 was seen on a desktop under Windows

  // Streams: one 32-bit word per cycle and port (AIE2). A shim channel reaches 98.9 % of it.
  double stream_bytes_per_cycle = 4;
  double shim_bytes_per_cycle = 4;
  double shim_efficiency = 0.989;    // 7.11 GB/s of 4 B x 1.797 GHz
  uint32_t stream_fifo_bytes = 112;  // 16 words at an input, 12 at an output
  uint32_t hop_cycles = 4;           // external to external; added once per transfer

  // DRAM shared by the shim channels: total = (demand^-p + dram^-p)^(-1/p). Seven measured mixes
  // of columns and channels on a 96 GB/s desktop agree within 0.7 %.
  double dram_bytes_per_second = 78e9;
  double dram_sharing_power = 2.3;
  // Bytes of a run that cost nothing extra: efficiency = run / (run + this).
  double scattered_read_overhead_bytes = 413;

  // DMA tasks, cycles.
  uint32_t descriptor_setup = 4;
  uint32_t channel_start = 2;
  uint32_t descriptor_chain = 2;
  uint32_t memory_latency = 5;
  uint32_t lock_operation = 1;
  uint32_t shim_read_task = 325;
  uint32_t shim_write_task = 179;
  double shim_read_cold = 1330;  // first task of a channel, decaying by the factor per task
  double shim_cold_decay = 0.31;
  double shim_write_cold = 341;  // first task only

  // Controller, cycles per instruction.
  uint32_t write32 = 100;
  uint32_t mask_write32 = 210;
  uint32_t block_write_base = 99;  // 203 for 8 words
  uint32_t block_write_word = 13;
  uint32_t address_patch = 112;
  uint32_t queue_push_first = 3050;
  uint32_t queue_push = 520;
  uint32_t sync = 112;

  // Host: one submission, and what loading a context or a device adds.
  double launch_seconds = 50e-6;
  double reconfigure_seconds = 3.4e-3;

  // A core's own instructions and a kernel nobody gave a cost for.
  uint32_t core_instruction = 1;
  uint32_t unknown_kernel_call = 100;
  double kernel_cost_factor = 1;  // what-if: multiplies every kernel's cycles
};

// The published clock of a generation under Linux, and its channel width.
TimingParameters default_timing(Generation generation);

}  // namespace tandem::npu

// See timing.h.
// SPDX-License-Identifier: Apache-2.0
#include "npu/emulator/timing.h"

namespace tandem::npu {

TimingParameters default_timing(Generation generation) {
  const Geometry& geometry = geometry_of(generation);
  TimingParameters timing;
  timing.clock_hz = geometry.clocks.front().array_hz;
  timing.shim_bytes_per_cycle = geometry.shim_bytes_per_cycle;
  timing.stream_bytes_per_cycle = geometry.core_bytes_per_cycle;
  timing.shim_efficiency = geometry.bandwidth.stream_efficiency;
  timing.dram_bytes_per_second = geometry.bandwidth.dram_rate;
  timing.dram_sharing_power = geometry.bandwidth.power;
  return timing;
}

}  // namespace tandem::npu

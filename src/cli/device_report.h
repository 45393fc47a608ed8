// What each device of a plan did in a benchmark: a table for people, and the same as JSON.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/benchmark.h"

namespace tandem {

// A device in one phase of a test. Times are wall times of this machine: measured, or, of an
// emulated device, those of emulating it.
struct DeviceReport {
  std::string name;
  bool emulated = false;
  Phase phase = Phase::kPrefill;
  std::string nodes;    // "qkv x16, out x16"
  uint32_t layers = 0;  // that it has nodes in
  DeviceUse use;
  uint64_t idle_ns = 0;          // of the phase, neither busy nor handing memory over
  double bandwidth = 0;          // bytes per second that its memory gives, measured; 0: unknown
  uint32_t steps_in_flight = 1;  // at most
  DeviceMemory memory;
  uint64_t driver_memory = 0;  // see DeviceCounters
};

// `bandwidths` by device, in bytes per second. Phases in which nothing ran are left out.
std::vector<DeviceReport> device_reports(Engine& engine, const BenchmarkResult& result,
                                         const std::vector<double>& bandwidths);

Json to_json(const std::vector<DeviceReport>& reports);

// Two Markdown tables: devices, and what matters most with measured, emulated and predicted
// figures in columns of their own.
std::string device_tables(const std::vector<DeviceReport>& reports, const BenchmarkResult& result);

}  // namespace tandem

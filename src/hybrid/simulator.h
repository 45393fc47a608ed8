// A machine running a plan, as events in time: segments of the plan in the order they depend on
// each other, devices that take one at a time, memory bandwidth and cores that devices share. All
// it says is predicted.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "hybrid/cost_table.h"
#include "hybrid/plan.h"
#include "hybrid/workload.h"

namespace tandem {

// A run of nodes on one device: what a coordinator records as a program.
struct PlanSegment {
  uint32_t device = 0;  // of the cost table
  uint32_t first = 0, end = 0;
};
// Of a phase, in order. Throws kUsage when the table lacks a device, kUnsupported when a device
// cannot run its node.
std::vector<PlanSegment> segments_of(const CostTable& table, const Plan& plan, Phase phase);

// A segment's turn on its device.
struct SimulatedSpan {
  uint32_t item = 0;  // chunk, or step of a group of sequences
  PlanSegment segment;
  double start_us = 0, end_us = 0;
  double bytes = 0;
};

struct Simulation {
  double us = 0;  // from the first start to the last end
  double tokens_per_second = 0;
  std::vector<SimulatedSpan> spans;  // by end
  std::vector<double> busy_us;       // per device
  std::vector<double> bytes;         // per device
};

// What the work takes when every task has the machine to itself.
struct SimulationBounds {
  double sum_us = 0;            // all tasks one after another
  double critical_path_us = 0;  // the longest chain of tasks that wait for each other
  double busiest_us = 0;        // the device with most work
};

Simulation simulate(const CostTable& table, const Plan& plan, const Workload& workload);
SimulationBounds bounds_of(const CostTable& table, const Plan& plan, const Workload& workload);

// For chrome://tracing and Perfetto: a lane for each device.
Json trace_of(const Simulation& simulation, const CostTable& table);

}  // namespace tandem

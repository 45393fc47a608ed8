// What each device did while steps ran: counted by the thread that runs it, read between steps.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tandem {

// Of one device in one phase.
struct DeviceUse {
  uint64_t tokens = 0;      // rows of the steps that the device had a part in
  uint64_t nodes = 0;       // plan nodes run, each once a step
  uint64_t submits = 0;     // programs run
  uint64_t busy_ns = 0;     // from handing over a program to its end
  uint64_t bytes = 0;       // weights, cache and activations its programs had to read and write
  uint64_t operations = 0;  // multiply-adds times two
  uint64_t edges = 0;       // operands and cache rows that another device had written
  uint64_t edge_bytes = 0;
  uint64_t staged_copies = 0;  // copies between shared pages and the device's own memory
  uint64_t staged_bytes = 0;
  uint64_t transfer_ns = 0;      // spent on making memory visible to and from the device
  double predicted_seconds = 0;  // of an emulated device: in place of the busy time, by its model

  DeviceUse& operator+=(const DeviceUse& other) {
    tokens += other.tokens;
    nodes += other.nodes;
    submits += other.submits;
    busy_ns += other.busy_ns;
    bytes += other.bytes;
    operations += other.operations;
    edges += other.edges;
    edge_bytes += other.edge_bytes;
    staged_copies += other.staged_copies;
    staged_bytes += other.staged_bytes;
    transfer_ns += other.transfer_ns;
    predicted_seconds += other.predicted_seconds;
    return *this;
  }
};

// Of all devices in one phase, in the order of the plan's devices, and how long the steps took.
struct PhaseUse {
  std::vector<DeviceUse> devices;
  uint64_t wall_ns = 0;

  PhaseUse& operator+=(const PhaseUse& other) {
    devices.resize(other.devices.size());
    for (size_t i = 0; i < devices.size(); ++i) devices[i] += other.devices[i];
    wall_ns += other.wall_ns;
    return *this;
  }
};

}  // namespace tandem

// What each node of a model costs on each device of a machine: measured there (measure_blocks.h) or
// predicted from a machine file (machine.h). It is all that a planner or a simulator knows.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backend/op.h"
#include "hybrid/model_shape.h"

namespace tandem {

class JsonPlace;

// A node, once, in a step of `rows` rows whose sequences hold `position` tokens before it.
struct CostPoint {
  uint32_t rows = 1, position = 0;
  double us = 0;     // on the device alone, inside a longer program: no launch, no edge
  double bytes = 0;  // read and written meanwhile
};

struct NodeTime {
  double us = 0, bytes = 0;
};

// A kind of node on a device in one phase.
struct PhaseCost {
  std::string unsupported;        // why the device cannot run it; empty when it can
  std::vector<CostPoint> points;  // a full grid, by rows, then by position; empty: unsupported

  bool supported() const { return unsupported.empty(); }
  // Between points by straight lines: a fixed part and a part per row, for every pair of row
  // counts. Beyond the last by the last line; below the first by the first line, but no less than
  // in proportion to the rows and no more than the first. Never negative. Needs supported().
  NodeTime at(uint32_t rows, uint32_t position) const;
};

struct NodeCost {
  // Resident on the device for one such node. A tied embedding's are the head's where that runs
  // too.
  uint64_t weight_bytes = 0;
  std::array<PhaseCost, 2> phases;

  const PhaseCost& phase(Phase phase) const { return phases[static_cast<size_t>(phase)]; }
  PhaseCost& phase(Phase phase) { return phases[static_cast<size_t>(phase)]; }
};

struct DeviceCost {
  std::string name;  // as in plans
  bool emulated = false, software = false;
  uint32_t pool = 0;          // index of the memory it keeps weights in
  uint64_t memory_size = 0;   // bytes of it that the device can use; 0: all
  double read_bandwidth = 0;  // bytes per second, alone; 0: not known
  double launch_us = 0;       // to start and end a program, whatever is in it
  double wake_us = 0;         // what a launch takes more after waiting for another device
  uint32_t host_cores = 0;    // cores of the host that it computes with
  std::array<NodeCost, kNodeKindCount> nodes;

  const NodeCost& node(NodeKind kind) const { return nodes[static_cast<size_t>(kind)]; }
  NodeCost& node(NodeKind kind) { return nodes[static_cast<size_t>(kind)]; }
};

// Making what one device wrote visible to another.
struct EdgeCost {
  double fixed_us = 0;
  double bytes_per_second = 0;  // 0: memory is shared, bytes cost nothing
  double us(double bytes) const {
    return fixed_us + (bytes_per_second > 0 ? 1e6 * bytes / bytes_per_second : 0);
  }
};

struct MemoryPool {
  std::string name;
  uint64_t size = 0;
};

// What a device keeps of its own bandwidth while these devices all stream from memory.
struct Contention {
  std::vector<double> shares;  // by device; 0: not among them
};

struct CostTable {
  ModelShape model;
  std::string machine;      // what it describes
  bool predicted = false;   // computed from figures, not measured
  uint32_t host_cores = 0;  // cores that the devices' host_cores share; 0: no limit
  std::vector<MemoryPool> pools;
  std::vector<DeviceCost> devices;
  std::vector<std::vector<EdgeCost>> edges;  // [from][to]; the diagonal is free
  std::vector<Contention> contention;

  // Index of a device by name; throws kUsage naming those there are.
  uint32_t device(std::string_view name) const;
  // Row counts that all devices have prefill points for: the chunks a plan may use.
  std::vector<uint32_t> chunks() const;
};

// JSON, one line per node. Throws kInvalidFile with the place for whatever is missing, negative,
// absurd or contradictory.
CostTable parse_cost_table(std::string_view json, const std::string& file_name);
CostTable read_cost_table(const std::string& path);
CostTable cost_table_at(const JsonPlace& place);  // of a larger document
std::string format_cost_table(const CostTable& table);

}  // namespace tandem

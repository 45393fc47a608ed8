// Cost tables for tests: small ones by hand, and random ones.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <random>
#include <string>

#include "hybrid/cost_table.h"

namespace tandem {

// Random tables of whole numbers, so that sums in any order are equal.
class RandomTables {
 public:
  explicit RandomTables(uint32_t seed) : generator_(seed) {}

  uint32_t below(uint32_t end) {
    return std::uniform_int_distribution<uint32_t>(0, end - 1)(generator_);
  }

  // Device 0 runs everything; the others lack some nodes. Costs at 1 and 3 rows, positions 0 and 8.
  CostTable make(uint32_t device_count, uint32_t layer_count) {
    CostTable table;
    table.machine = "a random machine";
    table.model = model(layer_count);
    table.pools = {{"host", 4000 + below(4000)}, {"own", 1 + below(2000)}};
    for (uint32_t d = 0; d < device_count; ++d) table.devices.push_back(device(d));
    table.edges.assign(device_count, std::vector<EdgeCost>(device_count));
    for (uint32_t from = 0; from < device_count; ++from)
      for (uint32_t to = 0; to < device_count; ++to)
        if (from != to) table.edges[from][to] = {static_cast<double>(below(30)), 0};
    return table;
  }

 private:
  ModelShape model(uint32_t layer_count) {
    ModelShape model;
    model.name = "a random model";
    for (uint32_t layer = 0; layer < layer_count; ++layer) model.global.push_back(below(2) == 0);
    model.hidden = model.ffn = model.head_dim = 2;
    model.heads = model.kv_heads = 1;
    model.vocab = 4;
    model.window = 4;
    return model;
  }

  DeviceCost device(uint32_t index) {
    DeviceCost device;
    device.name = "device" + std::to_string(index);
    device.pool = below(2);
    device.launch_us = below(20);
    device.wake_us = device.launch_us / 2;
    device.read_bandwidth = 1e6 * (50 + below(50));
    for (NodeCost& node : device.nodes) {
      node.weight_bytes = below(400);
      for (PhaseCost& phase : node.phases) {
        if (index > 0 && below(6) == 0) {
          phase.unsupported = "chance";
          continue;
        }
        const uint32_t fixed = below(40), row = below(40), position = below(3);
        for (uint32_t rows : {1u, 3u})
          for (uint32_t at : {0u, 8u})
            phase.points.push_back({rows, at,
                                    static_cast<double>(fixed + rows * (row + at * position)),
                                    static_cast<double>(100 * rows)});
      }
    }
    return device;
  }

  std::mt19937 generator_;
};

}  // namespace tandem

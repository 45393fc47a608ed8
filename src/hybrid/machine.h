// A machine by figures that were published for it, each with its source, and the costs of a model's
// nodes that follow from them: a roofline per node. All such costs are predicted.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "hybrid/cost_table.h"

namespace tandem {

// A number with where it comes from, or, where nobody published one, why we assume it.
struct Figure {
  double value = 0;
  std::string source;
  bool assumed = false;
};

enum class MachineDeviceKind : uint8_t { kProcessor, kArray };

struct MachineDevice {
  std::string name;  // as in plans
  MachineDeviceKind kind = MachineDeviceKind::kProcessor;
  Figure read_bandwidth;  // bytes per second, alone
  Figure launch_us;
  // A processor: operations per second of quantised products over many rows, and of attention.
  Figure matrix_rate, attention_rate;
  // An array (an NPU): the generation its timing model knows and the clock.
  std::string generation;
  Figure clock_hz;
};

// Bandwidth measured on some machine with this memory system, bytes per second by device name.
struct MeasuredContention {
  std::string source;
  std::vector<std::pair<std::string, double>> alone;
  std::vector<std::vector<std::pair<std::string, double>>> together;
};

struct Machine {
  std::string name;
  Figure memory_size;       // bytes
  Figure memory_bandwidth;  // bytes per second, theoretical peak
  Figure edge_us;           // a hand-over between devices; bytes cost nothing, memory is shared
  std::vector<MachineDevice> devices;
  MeasuredContention contention;
};

// Throws kInvalidFile with the place for missing, negative, absurd or unsourced figures.
Machine parse_machine(std::string_view json, const std::string& file_name);
Machine read_machine(const std::string& path);

// Asks the NPU's timing model, which stands beside this module: the predicted time of an attention
// projection on the array, without its launch, with a peak memory bandwidth.
struct ArrayRequest {
  std::string generation;
  double clock_hz = 0, memory_bandwidth = 0;
  const LayerConfig* layer = nullptr;
  Op op = Op::kQkv;
  Phase phase = Phase::kDecode;
  uint32_t rows = 1;
};
struct ArrayTime {
  double us = 0;
  double bytes = 0;           // read and written by the array
  uint64_t weight_bytes = 0;  // resident
};
using ArrayTimer = std::function<ArrayTime(const ArrayRequest&)>;

// Costs of a model of a published size or of a file (`config` and `shape` of the same model).
CostTable predict_costs(const Machine& machine, const ModelConfig& config, const ModelShape& shape,
                        const ArrayTimer& array_timer);

}  // namespace tandem

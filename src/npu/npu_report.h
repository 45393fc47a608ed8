// What the NPU would do for a model's attention layers: bytes and predicted time, from the event
// simulation of the emitted designs. Every time in it is predicted, none measured.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/op.h"
#include "base/json.h"
#include "npu/geometry.h"
#include "npu/int4_layout.h"

namespace tandem::npu {

struct NpuReportOptions {
  Generation generation = Generation::kNpu1;
  ScaleMode scales = ScaleMode::kInteger;
  uint32_t decode_rows = 1;
  uint32_t prefill_rows = 256;
  std::vector<double> clocks_hz;  // empty: 1.028 and 1.797 GHz on npu1, 1.8 GHz on npu2
  std::vector<double> launches_us = {50, 110};  // per run: seen under Linux and under Windows
  // Peak of the machine's memory, bytes per second; 0: of the one the timing model was fitted on.
  double memory_bandwidth = 0;
};

// One projection in one phase at one clock.
struct NpuOpReport {
  Op op = Op::kQkv;
  Phase phase = Phase::kDecode;
  uint32_t rows = 0, inputs = 0, outputs = 0;
  std::string tile;           // outputs x inputs of a weight tile
  uint64_t weight_bytes = 0;  // packed, resident on the NPU
  uint64_t array_bytes = 0;   // read and written by the array in one run
  double clock_hz = 0;
  double array_us = 0;  // predicted, without the launch
  std::string bound;    // what binds
};

// Both projections of a layer, one run each.
struct NpuLayerReport {
  Phase phase = Phase::kDecode;
  uint32_t rows = 0;
  double clock_hz = 0;
  double launch_us = 0;
  double layer_us = 0;                 // predicted, two launches included
  double layer_tokens_per_second = 0;  // of one layer's projections alone
  double model_tokens_per_second = 0;  // of all layers' projections, nothing else counted
};

struct NpuReport {
  std::string model, generation;
  uint32_t layers = 0;
  uint64_t file_bytes_per_layer = 0;      // Q4_0 in the file
  uint64_t resident_bytes_per_layer = 0;  // packed weights with their scales
  uint64_t target_bytes_per_layer = 0;    // 48 MB for the 27B layer, in proportion for others
  std::vector<NpuOpReport> ops;
  std::vector<NpuLayerReport> per_layer;
};

// One run of a projection: a spec of kQkv or kAttnOut with phase, max_rows and config. More rows
// than a design takes count as several runs, launches not included. Throws kUnsupported when the
// projection does not fit the array.
NpuOpReport predict_projection(const OpSpec& spec, const NpuReportOptions& options,
                               double clock_hz);

// `layer` is any layer: the projections of all have the same shape. Throws kUnsupported when a
// projection does not fit the array.
NpuReport make_npu_report(const std::string& model, const LayerConfig& layer, uint32_t layers,
                          const NpuReportOptions& options);

std::string to_text(const NpuReport& report);
Json to_json(const NpuReport& report);

}  // namespace tandem::npu

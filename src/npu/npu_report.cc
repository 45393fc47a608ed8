// SPDX-License-Identifier: Apache-2.0
#include "npu/npu_report.h"

#include <fmt/format.h>

#include <array>
#include <iterator>

#include "backend/phase_name.h"
#include "base/json_value.h"
#include "npu/aie_text/design.h"
#include "npu/designs/designs.h"
#include "npu/emulator/emulator.h"
#include "npu/kernels/builtin_kernels.h"
#include "npu/projection_kernel.h"
#include "npu/projection_layout.h"

namespace tandem::npu {
namespace {

constexpr std::array kNpu1Clocks = {1.028e9, 1.797e9};  // seen under Linux, under Windows
constexpr double kNpu2Clock = 1.8e9;
constexpr uint32_t kLaunchesPerLayer = 2;

// The design target: 48 MB for the 66 060 288 weights of a 27B attention layer.
constexpr double kTargetBytesPerWeight = 48e6 / 66060288;

std::vector<double> clocks_of(const NpuReportOptions& options) {
  if (!options.clocks_hz.empty()) return options.clocks_hz;
  if (options.generation == Generation::kNpu1) return {kNpu1Clocks.begin(), kNpu1Clocks.end()};
  return {kNpu2Clock};
}

TimingParameters timing_of(const NpuReportOptions& options, double clock_hz) {
  TimingParameters timing = default_timing(options.generation);
  timing.clock_hz = clock_hz;
  const double fitted_on = geometry_of(options.generation).bandwidth.dram_peak;
  if (options.memory_bandwidth > 0)
    timing.dram_bytes_per_second *= options.memory_bandwidth / fitted_on;
  return timing;
}

void append_layers(const NpuReportOptions& options, Phase phase, NpuReport* report) {
  for (const double clock : clocks_of(options)) {
    double array_us = 0;
    uint32_t rows = 0;
    for (const NpuOpReport& op : report->ops) {
      if (op.phase != phase || op.clock_hz != clock) continue;
      array_us += op.array_us;
      rows = op.rows;
    }
    for (const double launch_us : options.launches_us) {
      NpuLayerReport layer{phase, rows, clock, launch_us, 0, 0, 0};
      layer.layer_us = array_us + kLaunchesPerLayer * launch_us;
      layer.layer_tokens_per_second = rows * 1e6 / layer.layer_us;
      layer.model_tokens_per_second = layer.layer_tokens_per_second / report->layers;
      report->per_layer.push_back(layer);
    }
  }
}

}  // namespace

NpuOpReport predict_projection(const OpSpec& spec, const NpuReportOptions& options,
                               double clock_hz) {
  const ProjectionShape shape = projection_shape(spec);
  DesignRequest request;
  request.generation = options.generation;
  request.op = shape.op;
  request.phase = spec.phase;
  request.rows = design_rows(spec);
  request.inputs = shape.inputs;
  request.outputs = shape.outputs;
  request.scales = options.scales;
  const EmittedDesign emitted = emit_design(request);
  const Int4Layout layout = projection_layout(request).weights;
  const Design design = parse_design(emitted.text);
  std::vector<HostBuffer> buffers;
  for (const HostArgument& argument : design.arguments) buffers.push_back({{}, argument.size});

  KernelTable kernels;
  add_builtin_kernels(kernels);
  EmulatorOptions emulator;
  emulator.timing = timing_of(options, clock_hz);
  emulator.move_data = false;
  emulator.kernels = &kernels;
  const EmulationResult result = emulate(design, emulator, buffers);
  const uint32_t runs = (spec.max_rows + request.rows - 1) / request.rows;

  NpuOpReport row;
  row.op = spec.op;
  row.phase = spec.phase;
  row.rows = runs * request.rows;
  row.inputs = shape.inputs;
  row.outputs = shape.outputs;
  row.tile = fmt::format("{}x{}", layout.tile_rows, layout.tile_depth);
  row.weight_bytes = layout.weights_size() + size_t{shape.outputs} * sizeof(float);
  row.array_bytes = runs * (result.host_bytes_read + result.host_bytes_written);
  row.clock_hz = clock_hz;
  row.array_us = runs * result.seconds * 1e6;
  row.bound = result.bound;
  return row;
}

NpuReport make_npu_report(const std::string& model, const LayerConfig& layer, uint32_t layers,
                          const NpuReportOptions& options) {
  NpuReport report;
  report.model = model;
  report.generation = geometry_of(options.generation).name;
  report.layers = layers;
  for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) {
    for (const Op op : {Op::kQkv, Op::kAttnOut}) {
      OpSpec spec;
      spec.op = op;
      spec.phase = phase;
      spec.max_rows = phase == Phase::kDecode ? options.decode_rows : options.prefill_rows;
      spec.config = &layer;
      for (const double clock : clocks_of(options))
        report.ops.push_back(predict_projection(spec, options, clock));
      if (phase != Phase::kDecode) continue;
      const NpuOpReport& row = report.ops.back();
      const size_t weights = size_t{row.inputs} * row.outputs;
      report.file_bytes_per_layer += dtype_size(DType::kQ4_0, weights);
      report.resident_bytes_per_layer += row.weight_bytes;
      report.target_bytes_per_layer +=
          static_cast<uint64_t>(kTargetBytesPerWeight * static_cast<double>(weights));
    }
    append_layers(options, phase, &report);
  }
  return report;
}

std::string to_text(const NpuReport& report) {
  std::string text = fmt::format(
      "{} on {}: attention projections of {} layers, all times predicted\n"
      "bytes per layer: {:.2f} MB in the file, {:.2f} MB on the NPU, target {:.1f} MB\n\n"
      "{:8} {:4} {:>5} {:>6} {:>6} {:>8} {:>9} {:>6} {:>10}  {}\n",
      report.model, report.generation, report.layers,
      static_cast<double>(report.file_bytes_per_layer) / 1e6,
      static_cast<double>(report.resident_bytes_per_layer) / 1e6,
      static_cast<double>(report.target_bytes_per_layer) / 1e6, "phase", "op", "rows", "K", "N",
      "tile", "MB moved", "GHz", "array us", "bound by");
  auto out = std::back_inserter(text);
  for (const NpuOpReport& op : report.ops)
    fmt::format_to(out, "{:8} {:4} {:5} {:6} {:6} {:>8} {:9.3f} {:6.3f} {:10.1f}  {}\n",
                   phase_name(op.phase), op_info(op.op).name, op.rows, op.inputs, op.outputs,
                   op.tile, static_cast<double>(op.array_bytes) / 1e6, op.clock_hz / 1e9,
                   op.array_us, op.bound);
  fmt::format_to(out, "\n{:8} {:>5} {:>6} {:>10} {:>10} {:>14} {:>18}\n", "phase", "rows", "GHz",
                 "launch us", "layer us", "tok/s a layer", "tok/s all layers");
  for (const NpuLayerReport& layer : report.per_layer)
    fmt::format_to(out, "{:8} {:5} {:6.3f} {:10.0f} {:10.1f} {:14.1f} {:18.2f}\n",
                   phase_name(layer.phase), layer.rows, layer.clock_hz / 1e9, layer.launch_us,
                   layer.layer_us, layer.layer_tokens_per_second, layer.model_tokens_per_second);
  return text;
}

Json to_json(const NpuReport& report) {
  Json ops = Json::array();
  for (const NpuOpReport& op : report.ops)
    ops.push_back({{"phase", phase_name(op.phase)},
                   {"op", op_info(op.op).name},
                   {"rows", op.rows},
                   {"k", op.inputs},
                   {"n", op.outputs},
                   {"tile", op.tile},
                   {"weight_bytes", op.weight_bytes},
                   {"array_bytes", op.array_bytes},
                   {"clock_hz", op.clock_hz},
                   {"predicted_array_us", op.array_us},
                   {"bound", op.bound}});
  Json layers = Json::array();
  for (const NpuLayerReport& layer : report.per_layer)
    layers.push_back({{"phase", phase_name(layer.phase)},
                      {"rows", layer.rows},
                      {"clock_hz", layer.clock_hz},
                      {"launch_us", layer.launch_us},
                      {"predicted_layer_us", layer.layer_us},
                      {"layer_tokens_per_second", layer.layer_tokens_per_second},
                      {"model_tokens_per_second", layer.model_tokens_per_second}});
  return Json{{"model", report.model},
              {"generation", report.generation},
              {"emulated", true},
              {"layers", report.layers},
              {"file_bytes_per_layer", report.file_bytes_per_layer},
              {"resident_bytes_per_layer", report.resident_bytes_per_layer},
              {"target_bytes_per_layer", report.target_bytes_per_layer},
              {"ops", std::move(ops)},
              {"per_layer", std::move(layers)}};
}

}  // namespace tandem::npu

// SPDX-License-Identifier: Apache-2.0
#include "npu/npu_accuracy.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <memory>
#include <random>
#include <utility>

#include "base/error.h"
#include "base/json_value.h"
#include "npu/npu_backend.h"
#include "npu/projection_kernel.h"
#include "tensor/quantize.h"
#include "tensor/shared_memory.h"

namespace tandem::npu {
namespace {

constexpr uint32_t kRows = 4;  // one run of a decode design
constexpr float kWeightDeviation = 0.02f;
constexpr std::chrono::minutes kTimeout{10};

const char* scales_name(ScaleMode scales) {
  return scales == ScaleMode::kInteger ? "integer" : "exact";
}

void fill_normal(float* values, size_t count, float deviation, std::mt19937& random) {
  std::normal_distribution<float> normal(0, deviation);
  for (size_t i = 0; i < count; ++i) values[i] = normal(random);
}

TensorView random_matrix(std::vector<std::byte>* bytes, uint32_t rows, uint32_t cols,
                         std::mt19937& random) {
  const size_t stride = dtype_size(DType::kQ4_0, cols);
  bytes->resize(rows * stride);
  std::vector<float> values(cols);
  for (uint32_t row = 0; row < rows; ++row) {
    fill_normal(values.data(), cols, kWeightDeviation, random);
    quantize_row(DType::kQ4_0, values.data(), bytes->data() + row * stride, cols);
  }
  return view_of_bytes(bytes->data(), DType::kQ4_0, {1, rows, cols});
}

// The rows as the product sees them: after the norm for kQkv, as they are for kAttnOut.
std::vector<double> product_inputs(const OpSpec& spec, const TensorView& x,
                                   std::span<const float> norm) {
  std::vector<double> inputs;
  for (uint32_t row = 0; row < kRows; ++row) {
    const float* values = x.row_as<float>(row);
    double scale = 1;
    if (spec.op == Op::kQkv) {
      double squares = 0;
      for (uint32_t i = 0; i < x.cols(); ++i) squares += double{values[i]} * values[i];
      scale = 1 / std::sqrt(squares / x.cols() + spec.config->norm_epsilon);
    }
    for (uint32_t i = 0; i < x.cols(); ++i)
      inputs.push_back(values[i] * scale * (spec.op == Op::kQkv ? double{norm[i]} : 1));
  }
  return inputs;
}

// y[kRows, outputs] in double, and for kAttnOut its norm.
std::vector<double> reference(const OpSpec& spec, const TensorView& x,
                              std::span<const TensorView> weights) {
  const bool norm_first = spec.op == Op::kQkv;
  const TensorView& norm_view = norm_first ? weights.front() : weights.back();
  std::vector<float> norm(norm_view.element_count());
  dequantize_row(norm_view.dtype, norm_view.data(), norm.data(), norm.size());
  const std::vector<double> inputs = product_inputs(spec, x, norm);
  const uint32_t outputs = projection_shape(spec).outputs;
  std::vector<double> y(size_t{kRows} * outputs);
  std::vector<float> w(x.cols());
  uint32_t output = 0;
  for (const TensorView& matrix : weights.subspan(norm_first ? 1 : 0, weights.size() - 1))
    for (uint32_t n = 0; n < matrix.rows(); ++n, ++output) {
      dequantize_row(matrix.dtype, matrix.row(0, n), w.data(), w.size());
      for (uint32_t row = 0; row < kRows; ++row) {
        double sum = 0;
        for (size_t k = 0; k < w.size(); ++k) sum += w[k] * inputs[row * w.size() + k];
        y[size_t{row} * outputs + output] = sum;
      }
    }
  if (norm_first) return y;
  for (uint32_t row = 0; row < kRows; ++row) {
    double* values = y.data() + size_t{row} * outputs;
    double squares = 0;
    for (uint32_t n = 0; n < outputs; ++n) squares += values[n] * values[n];
    const double scale = 1 / std::sqrt(squares / outputs + spec.config->norm_epsilon);
    for (uint32_t n = 0; n < outputs; ++n) values[n] *= scale * norm[n];
  }
  return y;
}

void run_projection(Backend& backend, const OpSpec& spec, std::span<const TensorView> weights,
                    const TensorView& y, const TensorView& x, const TensorView& batch) {
  if (const Support support = backend.supports(spec); !support.ok)
    throw Error(ErrorCode::kUnsupported, fmt::format("the array does not take {}: {}",
                                                     op_info(spec.op).name, support.reason));
  const auto loaded = backend.load(spec, weights);
  const auto kernel = backend.prepare(spec, loaded.get());
  const std::array args = {y, x};
  const std::array steps = {Step{kernel.get(), args}};
  const auto program = backend.record(steps, batch);
  if (backend.wait(backend.submit(*program, 1), kTimeout) != Status::kDone)
    throw Error(ErrorCode::kInternal, backend.failure());
}

double relative_error(const std::vector<double>& want, const TensorView& got) {
  double error = 0, magnitude = 0;
  for (uint32_t row = 0; row < kRows; ++row)
    for (uint32_t n = 0; n < got.cols(); ++n) {
      const double wanted = want[size_t{row} * got.cols() + n];
      error += std::pow(got.row_as<float>(row)[n] - wanted, 2);
      magnitude += wanted * wanted;
    }
  return std::sqrt(error / magnitude);
}

void append_rows(const OpSpec& spec, std::span<const TensorView> weights,
                 std::span<const std::unique_ptr<NpuBackend>> backends, NpuAccuracyReport* report) {
  const ProjectionShape shape = projection_shape(spec);
  SharedMemory memory(Arena::size_of(DType::kI32, {1, 1 + kRows, 4}) +
                          Arena::size_of(DType::kF32, {1, kRows, shape.inputs}) +
                          Arena::size_of(DType::kF32, {1, kRows, shape.outputs}),
                      "a comparison");
  Arena arena(memory);
  const TensorView batch = arena.allocate(DType::kI32, {1, 1 + kRows, 4});
  *batch.row_as<BatchHeader>(0) = {kRows, 0, 0, 0};
  const TensorView x = arena.allocate(DType::kF32, {1, kRows, shape.inputs});
  const TensorView y = arena.allocate(DType::kF32, {1, kRows, shape.outputs});
  std::mt19937 random(spec.layer);
  fill_normal(x.row_as<float>(0), x.element_count(), 1, random);
  const std::vector<double> want = reference(spec, x, weights);
  for (const ScaleMode scales : {ScaleMode::kInteger, ScaleMode::kExact}) {
    std::fill_n(y.row_as<float>(0), y.element_count(), 0.0f);  // no residual to hide behind
    run_projection(*backends[static_cast<size_t>(scales)], spec, weights, y, x, batch);
    report->rows.push_back(
        {spec.layer, spec.op, scales, shape.inputs, shape.outputs, relative_error(want, y)});
  }
}

}  // namespace

ProjectionSource random_projections(const LayerConfig& layer) {
  struct State {
    std::mt19937 random{1};
    std::vector<float> norm;
    std::array<std::vector<std::byte>, 3> matrices;
  };
  auto state = std::make_shared<State>();
  state->norm.assign(layer.hidden, 1.0f);
  return [state, layer](uint32_t, Op op) -> std::vector<TensorView> {
    const TensorView norm = view_of_bytes(reinterpret_cast<const std::byte*>(state->norm.data()),
                                          DType::kF32, {1, 1, layer.hidden});
    const auto matrix = [&](size_t index, uint32_t rows, uint32_t cols) {
      return random_matrix(&state->matrices[index], rows, cols, state->random);
    };
    if (op == Op::kAttnOut) return {matrix(0, layer.hidden, layer.q_width()), norm};
    return {norm, matrix(0, layer.q_width(), layer.hidden),
            matrix(1, layer.kv_width(), layer.hidden), matrix(2, layer.kv_width(), layer.hidden)};
  };
}

NpuAccuracyReport make_accuracy_report(const std::string& model, const LayerConfig& config,
                                       uint32_t layers, Generation generation,
                                       const ProjectionSource& source) {
  NpuAccuracyReport report;
  report.model = model;
  report.generation = geometry_of(generation).name;
  std::array<std::unique_ptr<NpuBackend>, 2> backends;  // by ScaleMode
  for (const ScaleMode scales : {ScaleMode::kInteger, ScaleMode::kExact}) {
    NpuOptions options;
    options.emulated = true;
    options.generation = generation;
    options.scales = scales;
    options.run_timeout = kTimeout;
    backends[static_cast<size_t>(scales)] = make_npu_backend(options);
  }
  for (uint32_t layer = 0; layer < layers; ++layer)
    for (const Op op : {Op::kQkv, Op::kAttnOut}) {
      const std::vector<TensorView> weights = source(layer, op);
      OpSpec spec;
      spec.op = op;
      spec.layer = static_cast<uint16_t>(layer);
      spec.max_rows = kRows;
      spec.config = &config;
      spec.weights.count = static_cast<uint32_t>(weights.size());
      for (size_t i = 0; i < weights.size(); ++i) spec.weights.types[i] = weights[i].dtype;
      append_rows(spec, weights, backends, &report);
    }
  return report;
}

std::string to_text(const NpuAccuracyReport& report) {
  std::string text = fmt::format(
      "{} on {}, emulated: outputs of the projections against the same product in double\n"
      "weights: {}; {} rows of random activations\n\n{:>5} {:4} {:>6} {:>6} {:8} {:>8}\n",
      report.model, report.generation, report.weights, kRows, "layer", "op", "K", "N", "scales",
      "error %");
  auto out = std::back_inserter(text);
  for (const NpuAccuracyRow& row : report.rows)
    fmt::format_to(out, "{:5} {:4} {:6} {:6} {:8} {:8.3f}\n", row.layer, op_info(row.op).name,
                   row.inputs, row.outputs, scales_name(row.scales), 100 * row.error);
  return text;
}

Json to_json(const NpuAccuracyReport& report) {
  Json rows = Json::array();
  for (const NpuAccuracyRow& row : report.rows)
    rows.push_back({{"layer", row.layer},
                    {"op", op_info(row.op).name},
                    {"k", row.inputs},
                    {"n", row.outputs},
                    {"scales", scales_name(row.scales)},
                    {"relative_error", row.error}});
  return Json{{"model", report.model},
              {"generation", report.generation},
              {"emulated", true},
              {"weights", report.weights},
              {"rows", std::move(rows)}};
}

}  // namespace tandem::npu

// SPDX-License-Identifier: Apache-2.0
#include "npu/projection_kernel.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "tensor/quantize.h"

namespace tandem::npu {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr uint32_t kDecodeRows = 4;     // rows of the array's multiply
constexpr uint32_t kPrefillRows = 256;  // 64 on each of the four core rows
constexpr uint32_t kPrefillRowStep = 16;

// Adds the time since `*start` to `*sum` and starts anew.
void lap(std::chrono::steady_clock::time_point* start, double* sum) {
  const auto now = std::chrono::steady_clock::now();
  *sum += Seconds(now - *start).count();
  *start = now;
}

// 1 / rms of a row.
float inverse_rms(const float* x, size_t count, float epsilon) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += double{x[i]} * x[i];
  return static_cast<float>(1 / std::sqrt(sum / static_cast<double>(count) + epsilon));
}

}  // namespace

ProjectionShape projection_shape(const OpSpec& spec) {
  const LayerConfig& config = *spec.config;
  if (spec.op == Op::kQkv) return {DesignOp::kQkv, config.hidden, config.qkv_width()};
  TANDEM_CHECK(spec.op == Op::kAttnOut, "op %d is no projection", static_cast<int>(spec.op));
  return {DesignOp::kOut, config.q_width(), config.hidden};
}

uint32_t design_rows(const OpSpec& spec) {
  if (spec.phase == Phase::kDecode) return std::clamp(spec.max_rows, 1u, kDecodeRows);
  const uint32_t rounded =
      (spec.max_rows + kPrefillRowStep - 1) / kPrefillRowStep * kPrefillRowStep;
  return std::clamp(rounded, kPrefillRowStep, kPrefillRows);
}

std::unique_ptr<ProjectionWeights> load_projection_weights(Device& device, const Int4Layout& layout,
                                                           const OpSpec& spec,
                                                           std::span<const TensorView> file) {
  const bool norm_first = spec.op == Op::kQkv;
  const TensorView& norm = norm_first ? file.front() : file.back();
  auto weights = std::make_unique<ProjectionWeights>();
  weights->layout = layout;
  weights->norm.resize(norm.element_count());
  dequantize_row(norm.dtype, norm.data(), weights->norm.data(), weights->norm.size());
  weights->packed = device.allocate(layout.weights_size());
  weights->row_scales.resize(layout.outputs);
  weights->report =
      pack_weights(layout, file.subspan(norm_first ? 1 : 0, file.size() - 1),
                   weights->packed->host().first(layout.weights_size()), weights->row_scales);
  weights->packed->sync();
  return weights;
}

RunResult ProjectionKernel::run(std::span<const TensorView> args, uint32_t count,
                                ProjectionTimes* times) const noexcept {
  for (uint32_t first = 0; first < count; first += design_.layout.rows) {
    const uint32_t rows = std::min(design_.layout.rows, count - first);
    const RunResult result = run_rows(args, first, rows, times);
    if (result.status != Status::kDone) return result;
  }
  return {};
}

RunResult ProjectionKernel::run_array(ProjectionTimes* times) const noexcept {
  auto start = std::chrono::steady_clock::now();
  std::array<const Buffer*, 3> buffers{};
  buffers[design_.order[0]] = weights_.packed.get();
  buffers[design_.order[1]] = design_.activations.get();
  buffers[design_.order[2]] = design_.results.get();
  design_.activations->sync();
  const RunResult result = design_.loaded->run(buffers, timeout_);
  design_.results->sync();
  lap(&start, &times->device_seconds);
  ++times->runs;
  return result;
}

RunResult ProjectionKernel::run_rows(std::span<const TensorView> args, uint32_t first,
                                     uint32_t count, ProjectionTimes* times) const noexcept {
  auto start = std::chrono::steady_clock::now();
  const ProjectionLayout& layout = design_.layout;
  const uint32_t inputs = layout.weights.inputs, outputs = layout.weights.outputs;
  const TensorView& target = args[0];
  const TensorView& source = args[1];
  const std::byte* x = source.row(0, first);
  size_t stride = source.strides[1];
  if (op_ == Op::kQkv) {
    for (uint32_t row = 0; row < count; ++row) {
      const float* in = source.row_as<float>(first + row);
      float* out = design_.normed.data() + size_t{row} * inputs;
      const float scale = inverse_rms(in, inputs, epsilon_);
      for (uint32_t i = 0; i < inputs; ++i) out[i] = in[i] * scale * weights_.norm[i];
    }
    x = reinterpret_cast<const std::byte*>(design_.normed.data());
    stride = inputs * sizeof(float);
  }
  pack_activations(layout, x, stride, count,
                   design_.activations->host().first(layout.activations_size()),
                   design_.row_scales);
  lap(&start, &times->host_seconds);
  if (const RunResult result = run_array(times); result.status != Status::kDone) return result;

  start = std::chrono::steady_clock::now();
  const auto results = design_.results->host().first(layout.results_size());
  if (op_ == Op::kQkv) {
    unpack_results(layout, results, weights_.row_scales, design_.row_scales, count,
                   target.row(0, first), target.strides[1]);
  } else {
    unpack_results(layout, results, weights_.row_scales, design_.row_scales, count,
                   reinterpret_cast<std::byte*>(design_.sums.data()), outputs * sizeof(float));
    for (uint32_t row = 0; row < count; ++row) {
      const float* sum = design_.sums.data() + size_t{row} * outputs;
      float* out = target.row_as<float>(first + row);
      const float scale = inverse_rms(sum, outputs, epsilon_);
      for (uint32_t i = 0; i < outputs; ++i) out[i] += sum[i] * scale * weights_.norm[i];
    }
  }
  lap(&start, &times->host_seconds);
  return {};
}

}  // namespace tandem::npu

// What the array's number formats cost: the outputs of a layer's projections on the emulated array
// against the same products in double.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "backend/op.h"
#include "base/json.h"
#include "npu/geometry.h"
#include "npu/int4_layout.h"
#include "tensor/tensor_view.h"

namespace tandem::npu {

// A projection's weights as backend/op.h lists them, of any type; the views' bytes must live until
// the next call.
using ProjectionSource = std::function<std::vector<TensorView>(uint32_t layer, Op op)>;

// Weights of a layer of this shape in Q4_0, from a normal distribution, with norms of 1.
ProjectionSource random_projections(const LayerConfig& layer);

struct NpuAccuracyRow {
  uint32_t layer = 0;
  Op op = Op::kQkv;
  ScaleMode scales = ScaleMode::kInteger;
  uint32_t inputs = 0, outputs = 0;
  // Root mean square of the difference, as a share of that of the product. The activations come
  // from a normal distribution. On kAttnOut both sides are taken after the norm.
  double error = 0;
};

struct NpuAccuracyReport {
  std::string model, generation;
  std::string weights;  // for people: where they are from
  std::vector<NpuAccuracyRow> rows;
};

// Both projections of the first `layers` layers with integer and with exact scales. Throws
// kUnsupported when a projection does not fit the array.
NpuAccuracyReport make_accuracy_report(const std::string& model, const LayerConfig& config,
                                       uint32_t layers, Generation generation,
                                       const ProjectionSource& source);

std::string to_text(const NpuAccuracyReport& report);
Json to_json(const NpuAccuracyReport& report);

}  // namespace tandem::npu

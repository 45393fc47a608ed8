// From a request to the design that answers it.
// SPDX-License-Identifier: Apache-2.0
#include "npu/designs/designs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "npu/designs/attention.h"
#include "npu/designs/gemm.h"

namespace tandem::npu {
namespace {

template <typename T>
struct Name {
  T value;
  std::string_view name;
};
constexpr std::array<Name<DesignOp>, 3> kOps = {
    {{DesignOp::kQkv, "qkv"}, {DesignOp::kOut, "out"}, {DesignOp::kGemm, "gemm"}}};
constexpr std::array<Name<GemmType>, 4> kTypes = {{{GemmType::kInt8, "int8"},
                                                   {GemmType::kInt16, "int16"},
                                                   {GemmType::kInt32, "int32"},
                                                   {GemmType::kBf16, "bf16"}}};

template <typename T, size_t kCount>
const T* find(const std::array<Name<T>, kCount>& names, std::string_view name) {
  const auto found = std::find_if(names.begin(), names.end(),
                                  [&](const Name<T>& row) { return row.name == name; });
  return found == names.end() ? nullptr : &found->value;
}

uint32_t columns_of(const DesignRequest& request) {
  const Geometry& geometry = geometry_of(request.generation);
  if (request.columns > geometry.columns)
    throw Error(ErrorCode::kUsage, fmt::format("{} columns asked of {}, which has {}",
                                               request.columns, geometry.name, geometry.columns));
  return request.columns == 0 ? geometry.columns : request.columns;
}

}  // namespace

ProjectionLayout projection_layout(const DesignRequest& request) {
  if (request.inputs == 0 || request.outputs == 0)
    throw Error(ErrorCode::kUsage, "a projection needs its numbers of inputs and outputs");
  const Int4Layout weights =
      choose_int4_layout(geometry_of(request.generation), columns_of(request), request.outputs,
                         request.inputs, request.scales);
  return projection_layout(weights, request.phase, request.rows);
}

EmittedDesign emit_design(const DesignRequest& request) {
  if (request.op == DesignOp::kGemm) return emit_gemm(request, columns_of(request));
  const ProjectionLayout layout = projection_layout(request);
  EmittedDesign design = request.phase == Phase::kDecode ? emit_decode(request, layout)
                                                         : emit_prefill(request, layout);
  design.buffers = {{"weights", layout.weights.weights_size(), false},
                    {"activations", layout.activations_size(), false},
                    {"results", layout.results_size(), true}};
  return design;
}

std::string_view to_text(DesignOp op) { return kOps[static_cast<size_t>(op)].name; }
std::string_view to_text(GemmType type) { return kTypes[static_cast<size_t>(type)].name; }
const DesignOp* find_design_op(std::string_view name) { return find(kOps, name); }
const GemmType* find_gemm_type(std::string_view name) { return find(kTypes, name); }

}  // namespace tandem::npu

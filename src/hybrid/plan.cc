// SPDX-License-Identifier: Apache-2.0
#include "hybrid/plan.h"

#include <fmt/format.h>

#include "model/config.h"

namespace tandem {
namespace {

bool is_projection(Op op) { return op == Op::kQkv || op == Op::kAttnOut; }

// Both phases alike; `device_of(op)` is the index of the device that runs such nodes.
template <typename DeviceOf>
Plan plan_by_op(std::vector<std::string> devices, uint32_t layer_count, DeviceOf device_of) {
  Plan plan;
  plan.model = model_label(layer_count);
  plan.devices = std::move(devices);
  for (const Node& node : forward_pass(layer_count)) plan.prefill.push_back(device_of(node.op));
  plan.decode = plan.prefill;
  return plan;
}

}  // namespace

std::string model_label(uint32_t layer_count) {
  for (const PublishedSize& size : published_sizes())
    if (size.shape.layers == layer_count) return fmt::format("gemma3-{}", size.name);
  return fmt::format("gemma3-{}-layers", layer_count);
}

Plan single_device_plan(const std::string& device, uint32_t layer_count) {
  return plan_by_op({device}, layer_count, [](Op) { return 0u; });
}

Plan projections_plan(const std::string& projections, const std::string& rest,
                      uint32_t layer_count) {
  return plan_by_op({projections, rest}, layer_count,
                    [](Op op) { return is_projection(op) ? 0u : 1u; });
}

Plan hybrid_plan(const std::string& projections, const std::string& ffn, const std::string& rest,
                 uint32_t layer_count) {
  return plan_by_op({projections, ffn, rest}, layer_count, [](Op op) {
    return is_projection(op) ? 0u : op == Op::kFfn ? 1u : 2u;
  });
}

}  // namespace tandem

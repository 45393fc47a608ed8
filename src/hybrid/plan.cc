// SPDX-License-Identifier: Apache-2.0
#include "hybrid/plan.h"

namespace tandem {

Plan single_device_plan(const std::string& device, uint32_t layer_count) {
  const size_t node_count = forward_pass(layer_count).size();
  Plan plan;
  plan.devices = {device};
  plan.prefill.assign(node_count, 0);
  plan.decode.assign(node_count, 0);
  return plan;
}

Plan projections_plan(const std::string& projections, const std::string& rest,
                      uint32_t layer_count) {
  Plan plan;
  plan.devices = {projections, rest};
  for (const Node& node : forward_pass(layer_count))
    plan.prefill.push_back(node.op == Op::kQkv || node.op == Op::kAttnOut ? 0 : 1);
  plan.decode = plan.prefill;
  return plan;
}

}  // namespace tandem

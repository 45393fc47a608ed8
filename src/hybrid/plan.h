// The execution plan: which device runs each node, for prefill and for decode.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/blocks.h"

namespace tandem {

// Device indices by node, in the order of forward_pass(). kArgmax runs where the head does.
struct Plan {
  std::vector<std::string> devices;       // names as in BackendInfo
  std::vector<uint32_t> prefill, decode;  // per node: index into `devices`
};

// Every node of both phases on one device.
Plan single_device_plan(const std::string& device, uint32_t layer_count);

// The attention projections (qkv, out) of all layers on one device, everything else on another:
// what an NPU, which runs nothing but projections, is used with.
Plan projections_plan(const std::string& projections, const std::string& rest,
                      uint32_t layer_count);

}  // namespace tandem

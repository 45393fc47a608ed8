// The execution plan: which device runs each node, for prefill and for decode.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/blocks.h"
#include "tensor/dtype.h"

namespace tandem {

// Devices of a plan, at most: who holds rows of the cache is a bit for each, and one for the host.
inline constexpr uint32_t kMaxPlanDevices = 31;

// Device indices by node, in the order of forward_pass(). kArgmax runs where the head does.
struct Plan {
  std::string model;                      // what it is for: model_label() of its layer count
  std::vector<std::string> devices;       // names as open_backend() takes them
  std::vector<uint32_t> prefill, decode;  // per node: index into `devices`
  uint32_t chunk = 0;                     // prefill rows of one step; 0: the micro-batch (-ub)
  uint32_t pipeline_depth = 1;            // prompt chunks, or groups of sequences, in flight
  std::optional<DType> kv;                // cache type; unset: as -ctk says
};

// Whether a device runs a node in either phase.
inline bool runs(const Plan& plan, size_t node, uint32_t device) {
  return plan.prefill[node] == device || plan.decode[node] == device;
}

// "gemma3-4b" for the layer count of a published size, "gemma3-12-layers" for another. All that a
// plan depends on is the number of layers, and no two published sizes have the same.
std::string model_label(uint32_t layer_count);

// Every node of both phases on one device.
Plan single_device_plan(const std::string& device, uint32_t layer_count);

// The attention projections (qkv, out) of all layers on one device, everything else on another:
// what an NPU, which runs nothing but projections, is used with.
Plan projections_plan(const std::string& projections, const std::string& rest,
                      uint32_t layer_count);

// The attention projections of all layers on one device, their FFNs on another, the rest on a
// third.
Plan hybrid_plan(const std::string& projections, const std::string& ffn, const std::string& rest,
                 uint32_t layer_count);

}  // namespace tandem

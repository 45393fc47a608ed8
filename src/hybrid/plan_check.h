// Whether devices can take a plan: what they run, and what fits their memory. Allocates nothing.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "hybrid/coordinator.h"
#include "hybrid/plan.h"
#include "model/config.h"
#include "model/weights.h"

namespace tandem {

// What a plan is to run, and on what.
struct PlanTarget {
  const ModelConfig& config;
  const ModelWeights& weights;
  std::span<Backend* const> backends;  // in the order of the plan's devices
  bool shadowed = false;  // each device's weights are in the host's memory too (hybrid/shadow.h)
};

// Throws kUnsupported with the first node that its device runs neither whole nor in parts: phase,
// node, layer, device and why. `source` is what the plan is called in messages: a file's name.
void check_support(const Plan& plan, const PlanTarget& target, const CoordinatorShape& shape,
                   std::string_view source);

// The sizes that a plan's memory is counted from: of a file (PlanTarget), or of a cost table.
struct PlanSizes {
  const ModelConfig& config;
  bool tied = false;  // embedding and head are one table, which a device that runs both holds once
  std::function<uint64_t(size_t node, uint32_t device)> weights;  // of a node alone
};

// Bytes that devices of a plan need, in a coordinator of this shape, of a memory that they share:
// the weights of each, and one cache and one set of activations for all. Nothing for devices that
// the plan does not use.
DeviceMemory shared_need(const Plan& plan, const PlanSizes& sizes, const CoordinatorShape& shape,
                         std::span<const uint32_t> devices);

// Bytes of a layer's cache.
uint64_t layer_cache_size(const ModelConfig& config, uint32_t layer, const CoordinatorShape& shape);

// Beside what is counted: code, tokenizer, compiled shaders, buffers for uploads.
inline constexpr uint64_t kMemoryMargin = uint64_t{128} << 20;

// Bytes that a coordinator of this shape needs on each device, from the file's sizes.
std::vector<DeviceMemory> memory_needs(const Plan& plan, const PlanTarget& target,
                                       const CoordinatorShape& shape);

struct Shortfall {
  std::string device;  // its name, or "the host" for devices that share the host's memory
  uint64_t needed = 0, available = 0;
};
// Where the plan does not fit: a device by itself, or all that work in the host's memory together.
std::optional<Shortfall> find_shortfall(const Plan& plan, const PlanTarget& target,
                                        const CoordinatorShape& shape);

}  // namespace tandem

// Whether devices can take a plan: what they run, and what fits their memory. Allocates nothing.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
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

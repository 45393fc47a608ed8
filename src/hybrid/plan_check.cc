// SPDX-License-Identifier: Apache-2.0
#include "hybrid/plan_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "backend/phase_name.h"
#include "base/check.h"
#include "base/error.h"
#include "base/host_memory.h"
#include "hybrid/node_support.h"

namespace tandem {
namespace {

// Of a file. Some devices read the embedding's rows there.
PlanSizes sizes_of(const PlanTarget& target) {
  const auto nodes = forward_pass(static_cast<uint32_t>(target.config.layers.size()));
  return {target.config, target.weights.tied(), [&target, nodes](size_t node, uint32_t device) {
            const bool maps = target.backends[device]->info().maps_embedding;
            return nodes[node].op == Op::kEmbed && maps
                       ? 0
                       : target.weights.node(nodes[node].op, nodes[node].layer).size();
          }};
}

// Weights of the nodes that a device runs in either phase.
uint64_t weight_size(const Plan& plan, const PlanSizes& sizes, std::span<const Node> nodes,
                     uint32_t device) {
  const bool in_head = sizes.tied && runs(plan, nodes.size() - 1, device);
  uint64_t total = 0;
  for (size_t i = 0; i < nodes.size(); ++i)
    if (runs(plan, i, device) && !(nodes[i].op == Op::kEmbed && in_head))
      total += sizes.weights(i, device);
  return total;
}

}  // namespace

void check_support(const Plan& plan, const PlanTarget& target, const CoordinatorShape& shape,
                   std::string_view source) {
  TANDEM_CHECK(plan.devices.size() == target.backends.size(), "%zu devices, %zu backends",
               plan.devices.size(), target.backends.size());
  constexpr std::array kPhases = {Phase::kPrefill, Phase::kDecode};
  const auto nodes = forward_pass(static_cast<uint32_t>(target.config.layers.size()));
  for (size_t i = 0; i < nodes.size(); ++i) {
    const auto check = [&](uint32_t device, std::span<const Phase> phases) {
      const Backend& backend = *target.backends[device];
      const WeightTypes types = target.weights.node(nodes[i].op, nodes[i].layer).types();
      const NodeSupport support =
          node_support(backend, target.config, shape, nodes[i], phases, types);
      if (!support.ops.empty()) return;
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("{}: /{}: {} cannot run {} ({}); give it to another device", source,
                              phase_name(phases.front()), backend.info().name, node_name(nodes[i]),
                              support.reason));
    };
    const std::span<const Phase> both(kPhases);
    if (plan.prefill[i] == plan.decode[i]) {
      check(plan.prefill[i], both);
    } else {
      check(plan.prefill[i], both.first(1));
      check(plan.decode[i], both.last(1));
    }
  }
}

uint64_t layer_cache_size(const ModelConfig& config, uint32_t layer,
                          const CoordinatorShape& shape) {
  ModelConfig alone;
  alone.layers = {config.layers[layer]};
  return KvCache::size_of(alone, Coordinator::cache_shape(shape));
}

DeviceMemory shared_need(const Plan& plan, const PlanSizes& sizes, const CoordinatorShape& shape,
                         std::span<const uint32_t> devices) {
  const auto nodes = forward_pass(static_cast<uint32_t>(sizes.config.layers.size()));
  const auto on_any = [&](size_t node) {
    return std::any_of(devices.begin(), devices.end(),
                       [&](uint32_t device) { return runs(plan, node, device); });
  };
  DeviceMemory need;
  bool used = false;
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (!on_any(i)) continue;
    used = true;
    if (nodes[i].op == Op::kAttnCore)
      need.cache += layer_cache_size(sizes.config, nodes[i].layer, shape);
  }
  if (!used) return need;
  for (uint32_t device : devices) need.weights += weight_size(plan, sizes, nodes, device);
  // The scratch of a device that takes nodes whole is its own, and about as large.
  need.activations = Coordinator::activation_size(sizes.config, shape);
  return need;
}

std::vector<DeviceMemory> memory_needs(const Plan& plan, const PlanTarget& target,
                                       const CoordinatorShape& shape) {
  const PlanSizes sizes = sizes_of(target);
  std::vector<DeviceMemory> needs;
  for (uint32_t device = 0; device < target.backends.size(); ++device)
    needs.push_back(shared_need(plan, sizes, shape, {&device, 1}));
  return needs;
}

std::optional<Shortfall> find_shortfall(const Plan& plan, const PlanTarget& target,
                                        const CoordinatorShape& shape) {
  const PlanSizes sizes = sizes_of(target);
  const auto check = [&](const std::string& name, std::span<const uint32_t> devices,
                         uint64_t weights_more, uint64_t available) -> std::optional<Shortfall> {
    const uint64_t needed =
        shared_need(plan, sizes, shape, devices).total() + weights_more + kMemoryMargin;
    if (needed > available) return Shortfall{name, needed, available};
    return std::nullopt;
  };
  std::vector<uint32_t> on_host;  // or with a shadow there
  uint64_t weights_again = 0;     // of a device that has both
  for (uint32_t device = 0; device < target.backends.size(); ++device) {
    const Backend& backend = *target.backends[device];
    if (auto lacking = check(backend.info().name, {&device, 1}, 0, backend.available_memory()))
      return lacking;
    const bool host = backend.info().host_memory;
    if (host || target.shadowed) on_host.push_back(device);
    if (host && target.shadowed)
      weights_again += shared_need(plan, sizes, shape, {&device, 1}).weights;
  }
  if (on_host.size() < 2 && !target.shadowed) return std::nullopt;
  return check("the host", on_host, weights_again, available_host_memory());
}

}  // namespace tandem

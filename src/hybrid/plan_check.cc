// SPDX-License-Identifier: Apache-2.0
#include "hybrid/plan_check.h"

#include <fmt/format.h>

#include <array>

#include "backend/phase_name.h"
#include "base/check.h"
#include "base/error.h"
#include "base/host_memory.h"
#include "hybrid/node_support.h"

namespace tandem {
namespace {

// Beside what is counted: code, tokenizer, compiled shaders, buffers for uploads.
constexpr uint64_t kMargin = uint64_t{128} << 20;

// Bytes of the cache of a layer, as KvCache lays it out.
uint64_t cache_size(const ModelConfig& config, uint32_t layer, const CoordinatorShape& shape) {
  ModelConfig alone;
  alone.layers = {config.layers[layer]};
  return KvCache::size_of(alone, Coordinator::cache_shape(shape));
}

// Weights of the nodes that a device runs in either phase. Some devices read the embedding's rows
// in the file.
uint64_t weight_size(const Plan& plan, const PlanTarget& target, std::span<const Node> nodes,
                     uint32_t device) {
  const bool maps = target.backends[device]->info().maps_embedding;
  const bool in_head = target.weights.tied() && runs(plan, nodes.size() - 1, device);
  uint64_t total = 0;
  for (size_t i = 0; i < nodes.size(); ++i)
    if (runs(plan, i, device) && !(nodes[i].op == Op::kEmbed && (maps || in_head)))
      total += target.weights.node(nodes[i].op, nodes[i].layer).size();
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

std::vector<DeviceMemory> memory_needs(const Plan& plan, const PlanTarget& target,
                                       const CoordinatorShape& shape) {
  const auto nodes = forward_pass(static_cast<uint32_t>(target.config.layers.size()));
  std::vector<DeviceMemory> needs(target.backends.size());
  for (uint32_t device = 0; device < needs.size(); ++device) {
    bool used = false;
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (!runs(plan, i, device)) continue;
      used = true;
      if (nodes[i].op == Op::kAttnCore)
        needs[device].cache += cache_size(target.config, nodes[i].layer, shape);
    }
    if (!used) continue;
    needs[device].weights = weight_size(plan, target, nodes, device);
    // The scratch of a device that takes nodes whole is its own, and about as large.
    needs[device].activations = Coordinator::activation_size(target.config, shape);
  }
  return needs;
}

std::optional<Shortfall> find_shortfall(const Plan& plan, const PlanTarget& target,
                                        const CoordinatorShape& shape) {
  const std::vector<DeviceMemory> needs = memory_needs(plan, target, shape);
  uint64_t host = 0;
  uint32_t sharing = 0;
  for (uint32_t device = 0; device < needs.size(); ++device) {
    const Backend& backend = *target.backends[device];
    const uint64_t pages = needs[device].cache + needs[device].activations;
    const uint64_t needed = needs[device].weights + pages + kMargin;
    const uint64_t available = backend.available_memory();
    if (needed > available) return Shortfall{backend.info().name, needed, available};
    if (backend.info().host_memory) {
      host += needs[device].weights;
      ++sharing;
    }
    if (!target.shadowed) continue;
    host += needs[device].weights;
    ++sharing;
  }
  if (sharing < 2) return std::nullopt;
  host += KvCache::size_of(target.config, Coordinator::cache_shape(shape)) +
          Coordinator::activation_size(target.config, shape) + kMargin;
  const uint64_t available = available_host_memory();
  if (host > available) return Shortfall{"the host", host, available};
  return std::nullopt;
}

}  // namespace tandem

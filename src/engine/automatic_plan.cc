// SPDX-License-Identifier: Apache-2.0
#include "engine/automatic_plan.h"

#include <algorithm>
#include <memory>

#include "backend/backends.h"
#include "base/threads.h"

namespace tandem {
namespace {

void insert(std::vector<uint32_t>& ascending, uint32_t value) {
  const auto place = std::lower_bound(ascending.begin(), ascending.end(), value);
  if (place == ascending.end() || *place != value) ascending.insert(place, value);
}

// Ends at `last`.
void bound(std::vector<uint32_t>& ascending, uint32_t last) {
  ascending.erase(std::lower_bound(ascending.begin(), ascending.end(), last), ascending.end());
  ascending.push_back(last);
}

}  // namespace

std::vector<std::string> plannable_devices() {
  std::vector<std::string> names;
  for (const DeviceListing& listing : list_devices())
    if (listing.usable && !listing.software && !listing.emulated) names.push_back(listing.name);
  return names;
}

CostTable measure_this_machine(const ModelConfig& config, const ModelWeights& weights,
                               std::span<const std::string> devices, const PlanRequest& request,
                               BlockBenchOptions options) {
  if (options.threads == 0) options.threads = default_thread_count();
  // The rows of all steps that the prompt will have.
  const uint32_t chunk =
      request.chunk > 0 ? std::min(request.chunk, request.prompt) : request.prompt;
  bound(options.prefill_rows, chunk);
  if (const uint32_t last = request.prompt % chunk; last > 0) insert(options.prefill_rows, last);
  // Attention grows with the position up to a layer's window, if it has one.
  for (const LayerConfig& layer : config.layers)
    if (layer.window > 0) insert(options.positions, layer.window);
  bound(options.positions, request.prompt + request.generate);
  // Steps in flight share the sequences among them.
  for (uint32_t rows = request.sequences; rows > 0; rows /= 2) insert(options.sequences, rows);
  std::vector<std::unique_ptr<Backend>> open;
  std::vector<Backend*> backends;
  for (const std::string& name : devices) {
    open.push_back(open_backend(name, {options.threads, {}}));
    backends.push_back(open.back().get());
  }
  return measure_costs(config, weights, backends, options);
}

Plan plan_automatically(const ModelConfig& config, const ModelWeights& weights,
                        const PlanRequest& request, const BlockBenchOptions& options) {
  const std::vector<std::string> devices = plannable_devices();
  if (devices.size() == 1)
    return single_device_plan(devices.front(), static_cast<uint32_t>(config.layers.size()));
  return make_plan(measure_this_machine(config, weights, devices, request, options), request);
}

}  // namespace tandem

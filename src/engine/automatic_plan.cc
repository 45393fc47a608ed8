// SPDX-License-Identifier: Apache-2.0
#include "engine/automatic_plan.h"

#include <algorithm>
#include <memory>

#include "backend/backends.h"
#include "base/threads.h"

namespace tandem {

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
  std::vector<uint32_t>& rows = options.prefill_rows;
  const uint32_t longest = request.chunk > 0 ? request.chunk : request.prompt;
  rows.erase(std::remove_if(rows.begin(), rows.end(), [&](uint32_t r) { return r >= longest; }),
             rows.end());
  rows.push_back(longest);
  std::vector<uint32_t>& positions = options.positions;
  const uint32_t last = std::max(1u, request.prompt + request.generate);
  positions.erase(
      std::remove_if(positions.begin(), positions.end(), [&](uint32_t p) { return p >= last; }),
      positions.end());
  positions.push_back(last);
  if (request.sequences > options.sequences.back()) options.sequences.push_back(request.sequences);
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

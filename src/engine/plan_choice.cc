// SPDX-License-Identifier: Apache-2.0
#include "engine/plan_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "backend/backends.h"
#include "base/error.h"
#include "base/log.h"
#include "engine/automatic_plan.h"
#include "engine/engine.h"
#include "hybrid/plan_file.h"

namespace tandem {
namespace {

constexpr std::string_view kCpu = "cpu", kVulkan = "vulkan", kNpu = "npu", kEmulatedNpu = "npu-emu";
constexpr std::string_view kAuto = "auto", kHybrid = "hybrid";
constexpr uint32_t kAutomaticDepth = 2;  // steps in flight that a plan may use unasked

bool starts_with(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

// The first that `accept` takes; empty when there is none.
template <typename Accept>
std::string find_device(Accept accept) {
  for (const DeviceListing& listing : list_devices())
    if (listing.usable && accept(listing)) return listing.name;
  return {};
}

// What may run in place of a device that is not here.
std::string stand_in_for(std::string_view name) {
  if (name == kNpu)
    return find_device([](const DeviceListing& d) { return d.name == kEmulatedNpu; });
  if (name == kVulkan)
    return find_device(
        [](const DeviceListing& d) { return d.software && starts_with(d.name, kVulkan); });
  return {};
}

// By costs measured now, for llama-bench's prompt and generation.
Plan automatic_plan(const EngineOptions& options, const ModelConfig& config,
                    const ModelWeights& weights) {
  PlanRequest request;
  request.sequences = options.sequences;
  request.context = options.context;
  request.chunk = options.micro_batch;
  request.depth = kAutomaticDepth;
  BlockBenchOptions bench;
  bench.kv = options.kv.value_or(DType::kF16);
  bench.threads = options.threads;
  return plan_automatically(config, weights, request, bench);
}

// Everything on one device; an NPU, which runs nothing but projections, has the CPU beside it.
Plan plan_for_device(const std::string& device, uint32_t layer_count) {
  if (!starts_with(device, kNpu)) return single_device_plan(device, layer_count);
  return projections_plan(device, std::string(kCpu), layer_count);
}

bool is_absence(const Error& error) {
  return error.code() == ErrorCode::kNotFound || error.code() == ErrorCode::kUnsupported;
}

// `place` stands before messages.
std::unique_ptr<Backend> open_device(const std::string& name, const std::string& place,
                                     const EngineOptions& options) {
  const BackendOptions backend_options{options.threads, {}};
  try {
    return open_backend(name, backend_options);
  } catch (const Error& error) {
    const std::string message = place + error.what();
    const std::string other = is_absence(error) ? stand_in_for(name) : std::string();
    if (other.empty()) throw Error(error.code(), message);
    const bool allowed = options.stand_ins || options.plan == kHybrid;
    if (!allowed)
      throw Error(error.code(),
                  fmt::format("{}; or give --stand-ins to run its nodes on {}", message, other));
    std::unique_ptr<Backend> backend = open_backend(other, backend_options);
    log(LogLevel::kWarn,
        fmt::format("{} ({}) stands in for {}: {}", other,
                    backend->info().emulated ? "emulated" : "software", name, error.what()));
    return backend;
  }
}

void open_devices(OpenPlan& open, const EngineOptions& options) {
  const bool from_file = !options.plan.empty() && options.plan != kAuto && options.plan != kHybrid;
  std::vector<std::string>& names = open.plan.devices;
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string place = from_file ? fmt::format("{}: /devices/{}: ", open.source, i)
                              : options.plan.empty() ? std::string()
                                                     : open.source + ": ";
    open.backends.push_back(open_device(names[i], place, options));
    const std::string& opened = open.backends.back()->info().name;
    const auto same = std::find_if(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(i),
                                   [&](const std::string& name) { return name == opened; });
    if (same != names.begin() + static_cast<std::ptrdiff_t>(i))
      throw Error(ErrorCode::kUsage,
                  fmt::format("{}{} is {}, which the plan has already; give its nodes to that",
                              place, names[i], opened));
    names[i] = opened;
  }
}

}  // namespace

OpenPlan open_plan(const EngineOptions& options, const ModelConfig& config,
                   const ModelWeights& weights) {
  const auto layer_count = static_cast<uint32_t>(config.layers.size());
  OpenPlan open;
  open.source = "--device " + options.device;
  if (options.plan.empty()) {
    open.plan = plan_for_device(options.device, layer_count);
  } else if (options.plan == kAuto) {
    open.plan = automatic_plan(options, config, weights);
    open.source = "--plan auto";
  } else if (options.plan == kHybrid) {
    open.plan =
        hybrid_plan(std::string(kNpu), std::string(kVulkan), std::string(kCpu), layer_count);
    open.source = "--plan hybrid";
  } else {
    open.plan = read_plan(options.plan, config);
    open.source = options.plan;
  }
  open_devices(open, options);
  if (options.plan.empty() && open.backends.size() > 1)
    log(LogLevel::kWarn, fmt::format("{}{} runs the attention projections, the CPU everything else",
                                     open.plan.devices.front(),
                                     open.backends.front()->info().emulated ? " (emulated)" : ""));
  return open;
}

}  // namespace tandem

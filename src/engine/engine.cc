// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>

#include "backend/backends.h"
#include "base/env.h"
#include "base/error.h"
#include "base/host_memory.h"
#include "base/log.h"
#include "base/threads.h"
#include "engine/plan_choice.h"
#include "hybrid/shadow.h"

namespace tandem {
namespace {

constexpr uint32_t kKvGroup = 32;  // q8_0 values share a scale
constexpr uint32_t kDefaultBatch = 2048, kDefaultMicroBatch = 512;

std::string mib(uint64_t bytes) { return fmt::format("{} MiB", (bytes + (1 << 20) - 1) >> 20); }

}  // namespace

DType parse_kv_type(std::string_view name) {
  if (const auto type = find_kv_type(name)) return *type;
  throw Error(ErrorCode::kUsage, fmt::format("cache type '{}' is none of {}", name, kKvTypeNames));
}

Engine::Engine(const std::filesystem::path& model, const EngineOptions& options,
               const Coordinator::Progress& progress)
    : file_(GgufFile::open(model)),
      config_(read_config(file_)),
      weights_(file_, config_),
      options_(options) {
  if (weights_.skipped_count() > 0)
    log(LogLevel::kWarn,
        fmt::format("{}: {} tensors of the vision tower are not used; tandem runs the text model",
                    file_.name(), weights_.skipped_count()));
  if (options_.threads == 0) options_.threads = default_thread_count();
  OpenPlan open = open_plan(options_, config_, weights_);
  plan_ = std::move(open.plan);
  backends_ = std::move(open.backends);
  resident_before_ = resident_size();
  settle_options(open.source);
  std::vector<Backend*> devices;
  for (const auto& backend : backends_) devices.push_back(backend.get());
  const bool shadowed = env_flag("TANDEM_CHECK");
  const PlanTarget target{config_, weights_, devices, shadowed};
  options_.context = choose_context(target);
  const CoordinatorShape shape = this->shape(options_.context);
  check_support(plan_, target, shape, open.source);
  if (shadowed) {
    add_shadows();
    std::transform(backends_.begin(), backends_.end(), devices.begin(),
                   [](const auto& backend) { return backend.get(); });
  }
  coordinator_ = std::make_unique<Coordinator>(config_, weights_, devices, plan_, shape, progress);
}

HostMemory Engine::host_memory() const {
  HostMemory memory{resident_before_, 0, 0, coordinator_->activation_size(), 0};
  for (const Node& node : coordinator_->nodes()) {
    const NodeWeights file = weights_.node(node.op, node.layer);
    for (uint32_t i = 0; i < file.count; ++i)
      memory.largest_tensor =
          std::max<uint64_t>(memory.largest_tensor, file.tensors[i]->data.size());
  }
  for (uint32_t device = 0; device < backends_.size(); ++device) {
    if (!backends_[device]->info().host_memory) continue;
    const DeviceMemory held = coordinator_->device_memory(device);
    memory.weights += held.weights;
    memory.cache += held.cache;
  }
  // Devices on the host's memory share the cache. Of layers that none of them works on, its pages
  // are never touched.
  memory.cache = std::min<uint64_t>(memory.cache, coordinator_->kv_size());
  return memory;
}

// What the command line and the plan both may say. Saying different things is an error.
void Engine::settle_options(const std::string& source) {
  if (options_.kv && plan_.kv && *options_.kv != *plan_.kv)
    throw Error(ErrorCode::kUsage,
                fmt::format("{} has a cache of {} and -ctk says {}; leave one of them out", source,
                            kv_type_name(*plan_.kv), kv_type_name(*options_.kv)));
  if (options_.micro_batch != 0 && plan_.chunk != 0 && options_.micro_batch != plan_.chunk)
    throw Error(ErrorCode::kUsage,
                fmt::format("{} has chunks of {} and --ubatch-size says {}; leave one of them out",
                            source, plan_.chunk, options_.micro_batch));
  if (options_.batch != 0 && plan_.chunk > options_.batch)
    throw Error(ErrorCode::kUsage,
                fmt::format("{} has chunks of {} and --batch-size says {} at most; leave one of "
                            "them out",
                            source, plan_.chunk, options_.batch));
  if (!options_.kv) options_.kv = plan_.kv.value_or(DType::kF16);
  if (options_.micro_batch == 0)
    options_.micro_batch = plan_.chunk != 0 ? plan_.chunk : kDefaultMicroBatch;
  if (options_.batch == 0) options_.batch = std::max(kDefaultBatch, plan_.chunk);
  options_.micro_batch = std::min(options_.micro_batch, options_.batch);
  options_.max_outputs =
      std::min(options_.max_outputs, std::max(options_.micro_batch, options_.sequences));
  if (env_flag("TANDEM_CHECK")) options_.max_rounds = 1;
  if (options_.kv == DType::kI8 && config_.common().head_dim % kKvGroup != 0)
    throw Error(ErrorCode::kUnsupported,
                fmt::format("a q8_0 cache needs a head size that 32 divides, not {}; use f16",
                            config_.common().head_dim));
  // Only a single device feeds its tokens back to itself.
  if (options_.max_rounds == 0)
    options_.max_rounds = backends_.size() == 1 ? backends_.front()->info().rounds : 1;
}

void Engine::add_shadows() {
  log(LogLevel::kWarn, "TANDEM_CHECK=1: every node runs again on the scalar kernels");
  for (auto& backend : backends_)
    backend =
        make_shadow_backend(std::move(backend), open_backend("cpu", {options_.threads, "scalar"}));
}

CoordinatorShape Engine::shape(uint32_t context) const {
  CoordinatorShape shape;
  shape.context = context;
  shape.max_rows = std::max(std::min(options_.micro_batch, context), options_.sequences);
  shape.max_outputs = std::min(options_.max_outputs, shape.max_rows);
  shape.max_rounds = options_.max_rounds;
  shape.sequences = options_.sequences;
  shape.kv = *options_.kv;
  shape.slots = plan_.pipeline_depth;
  return shape;
}

uint32_t Engine::choose_context(const PlanTarget& target) const {
  const auto shortfall = [&](uint32_t context) {
    return find_shortfall(plan_, target, shape(context));
  };
  const auto refuse = [&](uint32_t context, const Shortfall& lacking) {
    throw Error(
        ErrorCode::kOutOfMemory,
        fmt::format("{} with a context of {} needs {} and {} has {} available, {} too little; use "
                    "a shorter context (-c), a q8_0 cache (-ctk q8_0 -ctv q8_0), a smaller model "
                    "or other devices",
                    file_.name(), context, mib(lacking.needed), lacking.device,
                    mib(lacking.available), mib(lacking.needed - lacking.available)));
  };
  if (options_.context > 0) {
    if (const auto lacking = shortfall(options_.context)) refuse(options_.context, *lacking);
    if (options_.context > config_.context)
      log(LogLevel::kWarn,
          fmt::format("a context of {} is longer than the {} the model was trained for",
                      options_.context, config_.context));
    return options_.context;
  }
  constexpr uint32_t kStep = 256,
                     kLeast = 512;  // what a default context is rounded to, and its least
  uint32_t context = config_.context;
  while (context > kLeast && shortfall(context))
    context = std::max(kLeast, (context - context / 8) / kStep * kStep);
  if (const auto lacking = shortfall(context)) refuse(context, *lacking);
  return context;
}

}  // namespace tandem

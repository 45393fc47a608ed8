// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "backend/backends.h"
#include "base/error.h"
#include "base/log.h"
#include "base/threads.h"

namespace tandem {
namespace {

constexpr uint64_t kMemoryMargin = uint64_t{128} << 20;  // code, tokenizer, the rest of the process
constexpr uint32_t kKvGroup = 32;                        // q8_0 values share a scale
constexpr std::string_view kNpu = "npu";                 // what the names of NPUs start with

struct KvType {
  std::string_view name;
  DType dtype;
};
constexpr std::array kKvTypes = {KvType{"f32", DType::kF32}, KvType{"f16", DType::kF16},
                                 KvType{"q8_0", DType::kI8}};

std::string mib(uint64_t bytes) { return fmt::format("{} MiB", (bytes + (1 << 20) - 1) >> 20); }

}  // namespace

DType parse_kv_type(std::string_view name) {
  for (const KvType& type : kKvTypes)
    if (type.name == name) return type.dtype;
  throw Error(ErrorCode::kUsage, fmt::format("cache type '{}' is none of f32, f16, q8_0", name));
}

std::string_view kv_type_name(DType kv) {
  for (const KvType& type : kKvTypes)
    if (type.dtype == kv) return type.name;
  return dtype_name(kv);
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
  if (options_.kv == DType::kI8 && config_.common().head_dim % kKvGroup != 0)
    throw Error(ErrorCode::kUnsupported,
                fmt::format("a q8_0 cache needs a head size that 32 divides, not {}; use f16",
                            config_.common().head_dim));
  if (options_.threads == 0) options_.threads = default_thread_count();
  options_.micro_batch = std::min(options_.micro_batch, options_.batch);
  const Plan plan = open_devices();
  options_.context = choose_context();
  options_.micro_batch = std::min(options_.micro_batch, options_.context);
  options_.max_outputs =
      std::min(options_.max_outputs, std::max(options_.micro_batch, options_.sequences));
  std::vector<Backend*> devices;
  for (const auto& backend : backends_) devices.push_back(backend.get());
  coordinator_ = std::make_unique<Coordinator>(config_, weights_, devices, plan,
                                               shape(options_.context), progress);
}

Plan Engine::open_devices() {
  const auto layers = static_cast<uint32_t>(config_.layers.size());
  backends_.push_back(open_backend(options_.device, {options_.threads}));
  const std::string& name = backends_.front()->info().name;
  const bool runs_all = options_.device.substr(0, kNpu.size()) != kNpu;
  if (runs_all) return single_device_plan(name, layers);
  backends_.push_back(open_backend("cpu", {options_.threads}));
  log(LogLevel::kWarn, fmt::format("{}{} runs the attention projections, the CPU everything else",
                                   name, backends_.front()->info().emulated ? " (emulated)" : ""));
  return projections_plan(name, backends_.back()->info().name, layers);
}

CoordinatorShape Engine::shape(uint32_t context) const {
  CoordinatorShape shape;
  shape.context = context;
  shape.max_rows = std::max(std::min(options_.micro_batch, context), options_.sequences);
  shape.max_outputs = std::min(options_.max_outputs, shape.max_rows);
  shape.max_rounds = options_.max_rounds;
  shape.sequences = options_.sequences;
  shape.kv = options_.kv;
  return shape;
}

uint32_t Engine::choose_context() const {
  const uint64_t available = backends_.front()->available_memory();
  const auto needed = [&](uint32_t context) {
    const CoordinatorShape s = shape(context);
    return weights_.size() + KvCache::size_of(config_, Coordinator::cache_shape(s)) +
           Coordinator::activation_size(config_, s) + kMemoryMargin;
  };
  const auto refuse = [&](uint32_t context) {
    throw Error(
        ErrorCode::kOutOfMemory,
        fmt::format("{} with a context of {} needs {} and {} has {} available, {} too little; use "
                    "a shorter "
                    "context (-c), a q8_0 cache (-ctk q8_0 -ctv q8_0) or a smaller model",
                    file_.name(), context, mib(needed(context)), backends_.front()->info().name,
                    mib(available), mib(needed(context) - available)));
  };
  if (options_.context > 0) {
    if (needed(options_.context) > available) refuse(options_.context);
    if (options_.context > config_.context)
      log(LogLevel::kWarn,
          fmt::format("a context of {} is longer than the {} the model was trained for",
                      options_.context, config_.context));
    return options_.context;
  }
  constexpr uint32_t kStep = 256,
                     kLeast = 512;  // what a default context is rounded to, and its least
  uint32_t context = config_.context;
  while (needed(context) > available && context > kLeast)
    context = std::max(kLeast, (context - context / 8) / kStep * kStep);
  if (needed(context) > available) refuse(context);
  return context;
}

}  // namespace tandem

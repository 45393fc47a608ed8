// SPDX-License-Identifier: Apache-2.0
#include "cli/model_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "backend/phase_name.h"
#include "base/error.h"
#include "base/host_memory.h"
#include "base/log.h"
#include "cli/arguments.h"
#include "cli/progress.h"

namespace tandem {
namespace {

// Bounds of sense; what fits the machine's memory is checked when the model is loaded.
constexpr int64_t kMaxContext = 1 << 30, kMaxThreads = 1024, kMaxRows = 1 << 16;

double mebibytes(size_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

// "prefill 32 nodes, 120.3 ms (45 %)": nodes of a pass, and the share of the phase's time in which
// the device was busy.
std::string phase_report(const Coordinator& coordinator, Phase phase, uint32_t device) {
  const PhaseUse& use = coordinator.use(phase);
  const auto busy = static_cast<double>(use.devices[device].busy_ns);
  return fmt::format("{} {} nodes, {:.1f} ms ({:.0f} %)", phase_name(phase),
                     coordinator.node_counts(phase)[device], 1e-6 * busy,
                     use.wall_ns > 0 ? 100 * busy / static_cast<double>(use.wall_ns) : 0.0);
}

// A device with memory of its own: what was computed beside what its driver counts.
std::string driver_report(const Backend& backend, const DeviceMemory& memory) {
  const uint64_t used = backend.device_counters().driver_memory;
  if (used == 0) return {};
  return fmt::format(": {:.1f} MiB computed, {:.1f} by its driver's count",
                     mebibytes(memory.total()), mebibytes(used));
}

// With a plan, which has a type of its own, -ctv alone is the type of both.
void take_kv_types(ModelOptions& options) {
  KvOptions& kv = options.kv;
  if (kv.key.empty() && !options.engine.plan.empty()) kv.key = kv.value;
  if (!kv.key.empty() || !kv.value.empty()) options.engine.kv = kv_type_of(kv);
}

}  // namespace

void add_model_path(CLI::App& command, std::string& path) {
  command.add_option("-m,--model", path, "GGUF file of the model")->required()->type_name("FILE");
}

void add_kv_options(CLI::App& command, KvOptions& options) {
  command.add_option("--cache-type-k", options.key, "key cache: f32, f16 or q8_0")
      ->type_name("TYPE")
      ->default_str("f16, or as the plan says");
  command.add_option("--cache-type-v", options.value, "value cache, as the key cache")
      ->type_name("TYPE");
}

DType kv_type_of(const KvOptions& options) {
  const DType key = options.key.empty() ? DType::kF16 : parse_kv_type(options.key);
  if (!options.value.empty() && parse_kv_type(options.value) != key)
    throw Error(ErrorCode::kUsage,
                fmt::format("-ctk {} and -ctv {} differ; the cache has one type for both",
                            kv_type_name(key), options.value));
  return key;
}

void add_model_options(CLI::App& command, ModelOptions& options) {
  add_model_path(command, options.model);
  EngineOptions& engine = options.engine;
  command
      .add_option("-c,--ctx-size", engine.context,
                  "context in tokens (0: what fits, at most the model's)")
      ->type_name("N")
      ->check(whole_number(0, kMaxContext));
  command.add_option("-t,--threads", engine.threads, "CPU threads (0: the physical cores)")
      ->type_name("N")
      ->check(whole_number(0, kMaxThreads));
  command.add_option("-b,--batch-size", engine.batch, "prompt tokens handed over at once, at most")
      ->type_name("N")
      ->default_str("2048, or as the plan says")
      ->check(whole_number(1, kMaxRows));
  command.add_option("--ubatch-size", engine.micro_batch, "prompt tokens of one step")
      ->type_name("N")
      ->default_str("512, or as the plan says")
      ->check(whole_number(1, kMaxRows));
  add_kv_options(command, options.kv);
  CLI::Option* device =
      command
          .add_option("--device", engine.device, "device to run on; `tandem devices` lists them")
          ->type_name("NAME")
          ->capture_default_str();
  CLI::Option* plan =
      command
          .add_option("--plan", engine.plan,
                      "devices for each part of the model: a plan's file, hybrid or auto")
          ->type_name("PLAN")
          ->check([](const std::string& text) {
            return text.empty() ? "the plan's name is empty" : "";
          })
          ->excludes(device);
  command
      .add_flag("--stand-ins", engine.stand_ins,
                "with --plan: let npu-emu run what is planned for an absent NPU, and a software "
                "GPU what is planned for an absent one")
      ->needs(plan);
  command.add_flag("-v,--verbose", options.verbose, "say what is done, and what each device did");
}

std::unique_ptr<Engine> open_engine(ModelOptions& options) {
  if (options.verbose) set_log_level(LogLevel::kInfo);
  take_kv_types(options);
  ProgressBar bar("loading");
  return std::make_unique<Engine>(options.model, options.engine, bar.callback());
}

void report_devices(Engine& engine) {
  const Coordinator& coordinator = engine.coordinator();
  fmt::print(stderr,
             "tandem: weights {:.1f} MiB, cache {:.1f} MiB ({} tokens, {}), activations {:.1f} "
             "MiB\n",
             mebibytes(coordinator.weight_size()), mebibytes(coordinator.kv_size()),
             engine.options().context, kv_type_name(engine.kv()),
             mebibytes(coordinator.activation_size()));
  const HostMemory host = engine.host_memory();
  fmt::print(
      stderr,
      "tandem: the host's memory: {:.1f} MiB before loading, {:.1f} of weights, {:.1f} of "
      "cache, {:.1f} of activations: {:.1f} MiB computed, {:.1f} at the peak; peak resident {:.1f} "
      "MiB\n",
      mebibytes(host.program), mebibytes(host.weights), mebibytes(host.cache),
      mebibytes(host.activations), mebibytes(host.total()), mebibytes(host.peak()),
      mebibytes(peak_resident_size()));
  const DeviceUse total = coordinator.total_use();
  fmt::print(stderr, "tandem: {} edges, {} bytes between devices, {} bytes copied\n", total.edges,
             total.edge_bytes, total.staged_bytes);
  for (uint32_t device = 0; device < engine.backends().size(); ++device) {
    const BackendInfo& info = engine.backends()[device]->info();
    const DeviceMemory memory = coordinator.device_memory(device);
    fmt::print(stderr,
               "tandem: {} ({}{}): {}; {}; holds {:.1f} MiB of weights, {:.1f} of cache, {:.1f} of "
               "activations{}\n",
               info.name, info.device, info.emulated ? ", emulated" : "",
               phase_report(coordinator, Phase::kPrefill, device),
               phase_report(coordinator, Phase::kDecode, device), mebibytes(memory.weights),
               mebibytes(memory.cache), mebibytes(memory.activations),
               driver_report(*engine.backends()[device], memory));
  }
}

}  // namespace tandem

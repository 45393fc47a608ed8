// SPDX-License-Identifier: Apache-2.0
#include "cli/model_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/error.h"
#include "base/host_memory.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "cli/arguments.h"
#include "cli/progress.h"

namespace tandem {
namespace {

// Bounds of sense; what fits the machine's memory is checked when the model is loaded.
constexpr int64_t kMaxContext = 1 << 30, kMaxThreads = 1024, kMaxRows = 1 << 16;

}  // namespace

void add_model_path(CLI::App& command, std::string& path) {
  command.add_option("-m,--model", path, "GGUF file of the model")->required()->type_name("FILE");
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
      ->capture_default_str()
      ->check(whole_number(1, kMaxRows));
  command.add_option("--ubatch-size", engine.micro_batch, "prompt tokens of one step")
      ->type_name("N")
      ->capture_default_str()
      ->check(whole_number(1, kMaxRows));
  command.add_option("--cache-type-k", options.kv_key, "key cache: f32, f16 or q8_0")
      ->type_name("TYPE")
      ->capture_default_str();
  command.add_option("--cache-type-v", options.kv_value, "value cache, as the key cache")
      ->type_name("TYPE");
  command.add_option("--device", engine.device, "device to run on; `tandem devices` lists them")
      ->type_name("NAME")
      ->capture_default_str();
  command.add_flag("-v,--verbose", options.verbose, "say what is done, and what each device did");
}

std::unique_ptr<Engine> open_engine(ModelOptions& options) {
  if (options.verbose) set_log_level(LogLevel::kInfo);
  options.engine.kv = parse_kv_type(options.kv_key);
  if (!options.kv_value.empty() && parse_kv_type(options.kv_value) != options.engine.kv)
    throw Error(ErrorCode::kUsage,
                fmt::format("-ctk {} and -ctv {} differ; the cache has one type for both",
                            options.kv_key, options.kv_value));
  ProgressBar bar("loading");
  return std::make_unique<Engine>(options.model, options.engine,
                                  [&bar](uint64_t done, uint64_t total) {
                                    if (interrupted()) throw Interrupted();
                                    bar.update(done, total);
                                  });
}

void report_devices(Engine& engine) {
  Coordinator& coordinator = engine.coordinator();
  const auto prefill = coordinator.node_counts(Phase::kPrefill);
  const auto decode = coordinator.node_counts(Phase::kDecode);
  for (size_t i = 0; i < engine.backends().size(); ++i) {
    const BackendInfo& info = engine.backends()[i]->info();
    fmt::print(stderr, "tandem: {} ({}{}): {} nodes in prefill, {} in decode\n", info.name,
               info.device, info.emulated ? ", emulated" : "", prefill[i], decode[i]);
  }
  constexpr double kMib = 1024.0 * 1024.0;
  fmt::print(stderr,
             "tandem: weights {:.1f} MiB, cache {:.1f} MiB ({} tokens, {}), activations {:.1f} "
             "MiB, peak resident {:.1f} MiB\n",
             static_cast<double>(coordinator.weight_size()) / kMib,
             static_cast<double>(coordinator.kv_size()) / kMib, engine.options().context,
             kv_type_name(engine.options().kv),
             static_cast<double>(coordinator.activation_size()) / kMib,
             static_cast<double>(peak_resident_size()) / kMib);
  const DeviceUse total = coordinator.total_use();
  fmt::print(stderr, "tandem: {} edges, {} bytes between devices, {} bytes copied\n", total.edges,
             total.edge_bytes, total.staged_bytes);
}

}  // namespace tandem

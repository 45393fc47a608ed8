// The options every command that runs a model shares.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "engine/engine.h"

namespace CLI {
class App;
}

namespace tandem {

// The cache's types as typed; the value's follows the key's when empty.
struct KvOptions {
  std::string key, value;
};

struct ModelOptions {
  std::string model;
  EngineOptions engine;
  KvOptions kv;
  bool verbose = false;
};

// Declares -m, -c, -t, -b, -ub, -ctk, -ctv, --device, --plan, --stand-ins and -v on `command`.
void add_model_options(CLI::App& command, ModelOptions& options);

// -ctk and -ctv alone, for commands that plan.
void add_kv_options(CLI::App& command, KvOptions& options);
// The one type of both, f16 where nothing is said. Throws kUsage when they differ.
DType kv_type_of(const KvOptions& options);

// -m alone, for commands that only read the file.
void add_model_path(CLI::App& command, std::string& path);

// Loads the model with a progress bar. Throws kUsage when -ctk and -ctv differ.
std::unique_ptr<Engine> open_engine(ModelOptions& options);

// With -v, on stderr: memory, what moved between devices, and last a line per device with its
// nodes, time and share by phase, and its memory.
void report_devices(Engine& engine);

}  // namespace tandem

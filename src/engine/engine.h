// A model ready to run: the file, its weights on their devices, and the coordinator over them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "gguf/gguf.h"
#include "hybrid/coordinator.h"
#include "hybrid/plan_check.h"
#include "model/config.h"
#include "model/weights.h"

namespace tandem {

struct EngineOptions {
  std::string device = "cpu";  // everything on it; as in `tandem devices`
  std::string plan;            // instead of `device`: "auto", "hybrid" or a file
  bool stand_ins = false;      // npu-emu for an absent NPU, a software GPU for an absent one
  uint32_t threads = 0;        // of the CPU backend; 0: the physical cores
  uint32_t context = 0;        // positions; 0: what fits, at most the trained context
  uint32_t batch = 0;          // rows handed over at once, at most; 0: 2048, or the plan's chunk
  uint32_t micro_batch = 0;    // rows of one step; 0: the plan's chunk, else 512
  uint32_t max_outputs = 1;    // logits rows of one step
  uint32_t max_rounds = 0;     // greedy tokens of one submit, at most; 0: as the device likes
  uint32_t sequences = 1;
  std::optional<DType> kv;  // unset: the plan's, else f16
};

// Bytes in the host's memory, and what they are for.
struct HostMemory {
  uint64_t program = 0;  // resident before the model was loaded: code, libraries, drivers
  uint64_t weights = 0, cache = 0, activations = 0;  // as allocated

  uint64_t largest_tensor = 0;  // of the file, whose pages are resident while it is loaded

  uint64_t total() const { return program + weights + cache + activations; }
  // The largest tensor is loaded first; where weights stay in the host's memory it is there twice.
  uint64_t peak() const {
    return std::max(total(), program + largest_tensor * (weights > 0 ? 2 : 1));
  }
};

// Owns everything the model needs. Not thread-safe.
class Engine {
 public:
  // Throws Error; nothing is allocated on a device before the memory is known to suffice.
  Engine(const std::filesystem::path& model, const EngineOptions& options,
         const Coordinator::Progress& progress = {});

  const GgufFile& file() const { return file_; }
  const ModelConfig& config() const { return config_; }
  const ModelWeights& weights() const { return weights_; }
  // With what was left open filled in: context, batch, micro-batch, rounds, cache type.
  const EngineOptions& options() const { return options_; }
  DType kv() const { return *options_.kv; }
  const Plan& plan() const { return plan_; }
  Coordinator& coordinator() { return *coordinator_; }
  const std::vector<std::unique_ptr<Backend>>& backends() const { return backends_; }
  HostMemory host_memory() const;

 private:
  void settle_options(const std::string& source);
  void add_shadows();
  uint32_t choose_context(const PlanTarget& target) const;
  CoordinatorShape shape(uint32_t context) const;

  GgufFile file_;
  ModelConfig config_;
  ModelWeights weights_;
  EngineOptions options_;
  Plan plan_;
  std::vector<std::unique_ptr<Backend>> backends_;
  std::unique_ptr<Coordinator> coordinator_;
  uint64_t resident_before_ = 0;
};

// The type of -ctk and -ctv: f32, f16 or q8_0. Throws kUsage for another.
DType parse_kv_type(std::string_view name);

}  // namespace tandem

// Measures what each node of a model costs on each device of this machine, inside passes as the
// coordinator would run them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "hybrid/cost_table.h"
#include "model/config.h"
#include "model/weights.h"

namespace tandem {

struct BlockBenchOptions {
  std::vector<uint32_t> prefill_rows = {32, 128, 512};  // ascending
  std::vector<uint32_t> sequences = {1};                // rows of a decode step, ascending
  std::vector<uint32_t> positions = {0};                // before the step, ascending from 0
  DType kv = DType::kF16;
  uint32_t threads = 0;  // of the CPU
  // Called between measurements; may throw to give up.
  std::function<void(uint64_t done, uint64_t total)> progress;
};

// Takes some of the layers, not the whole model, into a device's memory. Devices
// that decline a node get the reason in the table. Throws as backends do.
CostTable measure_costs(const ModelConfig& config, const ModelWeights& weights,
                        std::span<Backend* const> backends, const BlockBenchOptions& options);

}  // namespace tandem

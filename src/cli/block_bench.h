// Measuring the costs of a model's nodes on this machine, with a progress bar.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "engine/automatic_plan.h"

namespace tandem {

struct BlockBench {
  std::string devices;  // "cpu,vulkan"; empty: those a plan may use unasked
  uint32_t threads = 0;
  DType kv = DType::kF16;
  PlanRequest request;
};

CostTable measure_blocks(const BlockBench& bench, const ModelConfig& config,
                         const ModelWeights& weights);

// `tandem bench --blocks`: writes the table to a file, or to stdout when `out` is empty.
void run_block_bench(const BlockBench& bench, const std::string& model, const std::string& out);

}  // namespace tandem

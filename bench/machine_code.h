// What RADV says of a compiled pipeline: its statistics, and from the RDNA3 machine code the cost
// of the loop that does the work.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "vulkan/device.h"
#include "vulkan/pipeline.h"

namespace tandem {

// Of one wave of 32, per pass.
struct CodeCost {
  double cycles = 0;      // the vector unit is busy
  double operations = 0;  // multiply-adds times two, per lane
  double bytes = 0;       // loaded from memory, per lane
  uint32_t instructions = 0;
};

// Cycles of one SIMD32: 1 for a vector instruction (dual issue counts as one), 4 for
// transcendentals and 32-bit integer products, 32 for a 16x16x16 f16 matrix product (512
// operations per clock and compute unit).
//
// The loop with the most operations, for kernels bound by them. Loops inside it count once.
CodeCost multiplying_loop(std::string_view assembly);
// The innermost loop that loads most, or else the whole program, for kernels bound by memory.
CodeCost loading_loop(std::string_view assembly);
// Nothing outside the loop counts, so start, reductions and tails are left out of both.

struct PipelineReport {
  std::map<std::string, uint64_t> statistics;  // as the driver names them
  CodeCost multiplying, loading;
};
PipelineReport report_of(vulkan::Device& device, const vulkan::Pipeline& pipeline);

}  // namespace tandem

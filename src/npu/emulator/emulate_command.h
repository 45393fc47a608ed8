// `tandem npu emulate` and `tandem npu predict` without the command line: a request in, a report
// out.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "npu/emulator/emulator.h"

namespace tandem::npu {

struct EmulateRequest {
  std::string design_path;
  std::string device;                  // stands in for NPUDEVICE in the text
  std::string sequence;                // empty: the main device's first
  std::string kernels_path;            // shared library; empty: built-in kernels only
  std::vector<std::string> arguments;  // "0=in.bin" or "1=zeros:4096"; others: zeros as declared
  std::vector<std::string> dumps;      // "2=out.bin", written after the run
  std::string trace_path;              // Chrome trace; empty: none
  std::optional<double> clock_hz;
  std::optional<double> launch_seconds;
  double kernel_cost_factor = 1;
  uint64_t operations = 0;  // of the product wanted; 0: as many as the kernels do, padding included
  double wall_seconds_limit = 600;
};

// NOLINTNEXTLINE(bugprone-exception-escape): see EmulationResult
struct EmulateReport {
  std::string text;
  Json json;
  EmulationResult result;
};

// Runs with data. `kernels` are the built-in ones. Throws Error as emulate() and parse_design() do,
// kNotFound for files, kUsage for malformed arguments.
EmulateReport run_emulate(const EmulateRequest& request, const KernelTable& kernels);

// The same events without data: only arguments' sizes matter, none need be given.
EmulateReport run_predict(const EmulateRequest& request, const KernelTable& kernels);

// Predicts a design that is already text, for designs made on the spot.
EmulateReport predict_text(const std::string& text, const EmulateRequest& request,
                           const KernelTable& kernels);

}  // namespace tandem::npu

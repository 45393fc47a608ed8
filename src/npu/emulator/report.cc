// EmulationResult as text and JSON.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "npu/emulator/emulator.h"

namespace tandem::npu {

namespace {

double tops(const EmulationResult& result) {
  return static_cast<double>(result.operations) / result.seconds / 1e12;
}

}  // namespace

std::string to_text(const EmulationResult& result) {
  std::string text = fmt::format(
      "emulated: {} cycles, predicted {:.2f} us on the array and {:.2f} us with the launch\n",
      result.cycles, result.seconds * 1e6, (result.seconds + result.launch_seconds) * 1e6);
  if (result.operations > 0)
    text += fmt::format("{:.3f} TOPS ({} operations)\n", tops(result), result.operations);
  text += fmt::format("host to array {} bytes, array to host {} bytes, {} kernel calls\n",
                      result.host_bytes_read, result.host_bytes_written, result.kernel_calls);
  if (!result.bound.empty())
    text += fmt::format(
        "bound by: {} (shim stream {:.0f} %, dram {:.0f} %, core {:.0f} %, "
        "controller {:.0f} %)\n",
        result.bound, result.shares.shim_stream * 100, result.shares.dram * 100,
        result.shares.core * 100, result.shares.controller * 100);
  for (const PhaseTime& phase : result.phases)
    text += fmt::format("  {:<32} {} cycles\n", phase.name, phase.cycles);
  for (const std::string& warning : result.warnings) text += fmt::format("warning: {}\n", warning);
  return text;
}

Json to_json(const EmulationResult& result) {
  Json phases = Json::array();
  for (const PhaseTime& phase : result.phases)
    phases.push_back({{"name", phase.name}, {"cycles", phase.cycles}});
  return {{"emulated", true},
          {"cycles", result.cycles},
          {"us", result.seconds * 1e6},
          {"tops", result.operations > 0 ? Json(tops(result)) : Json(nullptr)},
          {"operations", result.operations},
          {"predicted_us", result.seconds * 1e6},
          {"predicted_launch_us", result.launch_seconds * 1e6},
          {"bound", result.bound},
          {"shares",
           {{"shim_stream", result.shares.shim_stream},
            {"dram", result.shares.dram},
            {"core", result.shares.core},
            {"controller", result.shares.controller}}},
          {"host_bytes_read", result.host_bytes_read},
          {"host_bytes_written", result.host_bytes_written},
          {"kernel_calls", result.kernel_calls},
          {"events", result.events},
          {"phases", std::move(phases)},
          {"warnings", result.warnings}};
}

}  // namespace tandem::npu

// SPDX-License-Identifier: Apache-2.0
#include "cli/trace_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/json_value.h"
#include "cli/output.h"
#include "gguf/atomic_file.h"
#include "hybrid/plot.h"

namespace tandem {
namespace {

constexpr size_t kEvents = size_t{1} << 16;  // kept per device: 4 MiB, minutes of decoding

}  // namespace

void add_trace_options(CLI::App& command, TraceOptions& options) {
  command
      .add_option("--trace", options.trace,
                  "write what ran where and when, for ui.perfetto.dev or chrome://tracing")
      ->type_name("FILE.json");
  command.add_option("--plot", options.plot, "draw a roofline and a timeline of the devices")
      ->type_name("FILE.svg");
}

void start_trace(Engine& engine, const TraceOptions& options) {
  if (!options.wanted()) return;
  if (options.trace == options.plot)
    throw Error(ErrorCode::kUsage, fmt::format("--trace and --plot both name {}; give each a file "
                                               "of its own",
                                               options.trace));
  // What cannot be written is told before the measuring, not after.
  for (const std::string& path : {options.trace, options.plot})
    if (!path.empty()) const AtomicFile probe(path, 0);
  engine.coordinator().start_trace(kEvents);
}

void write_trace(Engine& engine, const TraceOptions& options,
                 const std::vector<double>& bandwidths) {
  const std::vector<TraceLane> lanes = engine.coordinator().trace();
  if (!options.trace.empty()) write_file(options.trace, to_text(trace_json(lanes)) + "\n");
  if (options.plot.empty()) return;
  std::vector<PlotDevice> devices;
  for (size_t i = 0; i < lanes.size(); ++i)
    devices.push_back({lanes[i], bandwidths[i], engine.backends()[i]->info().emulated});
  write_file(options.plot, plot_svg(devices));
}

std::vector<double> measure_bandwidths(Engine& engine) {
  std::vector<double> bandwidths;
  for (const auto& backend : engine.backends())
    bandwidths.push_back(backend->measure_read_bandwidth());
  return bandwidths;
}

}  // namespace tandem

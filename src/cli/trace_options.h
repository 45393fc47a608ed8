// --trace and --plot: what ran where and when, as files.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"

namespace CLI {
class App;
}

namespace tandem {

struct TraceOptions {
  std::string trace, plot;  // files to write; empty: none
  bool wanted() const { return !trace.empty() || !plot.empty(); }
};

void add_trace_options(CLI::App& command, TraceOptions& options);

// Starts recording when a file is wanted. Throws as AtomicFile does when it cannot be written.
void start_trace(Engine& engine, const TraceOptions& options);
// `bandwidths` by device, in bytes per second, for the roofs of the plot.
void write_trace(Engine& engine, const TraceOptions& options,
                 const std::vector<double>& bandwidths);

// What each device's memory gives, measured now; 0 for those that cannot tell.
std::vector<double> measure_bandwidths(Engine& engine);

}  // namespace tandem

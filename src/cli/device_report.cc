// SPDX-License-Identifier: Apache-2.0
#include "cli/device_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "backend/phase_name.h"
#include "base/json_value.h"

namespace tandem {
namespace {

constexpr double kMib = 1024.0 * 1024.0;

double mib(uint64_t bytes) { return static_cast<double>(bytes) / kMib; }
double ms(uint64_t ns) { return static_cast<double>(ns) * 1e-6; }

// Anything in so many nanoseconds, per second.
double per_second(uint64_t count, uint64_t ns) {
  return ns == 0 ? 0 : 1e9 * static_cast<double>(count) / static_cast<double>(ns);
}

double bandwidth_share(const DeviceReport& r) {
  return r.bandwidth > 0 ? per_second(r.use.bytes, r.use.busy_ns) / r.bandwidth : 0;
}

// Names the nodes of a device and counts its layers.
void describe_nodes(const Coordinator& coordinator, uint32_t device, DeviceReport& report) {
  std::array<uint32_t, 6> counts{};
  std::vector<uint16_t> layers;
  const auto nodes = coordinator.nodes();
  const auto placement = coordinator.placement(report.phase);
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (placement[i] != device) continue;
    ++counts[static_cast<size_t>(nodes[i].op)];
    if (nodes[i].op != Op::kEmbed && nodes[i].op != Op::kHead &&
        (layers.empty() || layers.back() != nodes[i].layer))
      layers.push_back(nodes[i].layer);
  }
  report.layers = static_cast<uint32_t>(layers.size());
  std::vector<std::string> names;
  for (size_t i = 0; i < counts.size(); ++i)
    if (counts[i] > 0)
      names.push_back(fmt::format("{} x{}", op_info(static_cast<Op>(i)).name, counts[i]));
  report.nodes = fmt::format("{}", fmt::join(names, ", "));
}

std::string row(const std::vector<std::string>& cells) {
  return fmt::format("| {} |\n", fmt::join(cells, " | "));
}

std::string header(const std::vector<std::string>& titles, size_t left) {
  std::vector<std::string> rules;
  for (size_t i = 0; i < titles.size(); ++i) rules.push_back(i < left ? "---" : "---:");
  return row(titles) + row(rules);
}

std::string label_of(const DeviceReport& r) { return r.name + (r.emulated ? " (emulated)" : ""); }

std::string device_table(const std::vector<DeviceReport>& reports) {
  std::string text =
      header({"device", "phase", "nodes run", "tokens", "busy ms", "idle ms", "hand-over ms", "MiB",
              "GB/s", "of its bandwidth", "GFLOP/s", "edges", "edge MiB", "copies", "copied MiB"},
             2);
  for (const DeviceReport& r : reports) {
    const DeviceUse& u = r.use;
    const std::string share =
        r.bandwidth > 0 ? fmt::format("{:.0f} %", 100 * bandwidth_share(r)) : "-";
    text += row({label_of(r), std::string(phase_name(r.phase)), fmt::format("{}", u.nodes),
                 fmt::format("{}", u.tokens), fmt::format("{:.1f}", ms(u.busy_ns)),
                 fmt::format("{:.1f}", ms(r.idle_ns)), fmt::format("{:.1f}", ms(u.transfer_ns)),
                 fmt::format("{:.1f}", mib(u.bytes)),
                 fmt::format("{:.2f}", per_second(u.bytes, u.busy_ns) * 1e-9), share,
                 fmt::format("{:.1f}", per_second(u.operations, u.busy_ns) * 1e-9),
                 fmt::format("{}", u.edges), fmt::format("{:.1f}", mib(u.edge_bytes)),
                 fmt::format("{}", u.staged_copies), fmt::format("{:.1f}", mib(u.staged_bytes))});
  }
  return text;
}

// One figure in the column it belongs to, and a predicted one where there is one.
std::string summary_row(const std::string& what, double value, bool emulated, double predicted) {
  const std::string text = fmt::format("{:.2f}", value);
  return row({what, emulated ? "-" : text, emulated ? text : "-",
              predicted > 0 ? fmt::format("{:.2f}", predicted) : "-"});
}

// Measured by the driver or the operating system, where they say, and what we count.
std::string memory_row(const std::string& whose, uint64_t measured, uint64_t computed) {
  return row({"memory of " + whose + ", MiB",
              measured > 0 ? fmt::format("{:.1f}", mib(measured)) : "-", "-",
              fmt::format("{:.1f}", mib(computed))});
}

// Tokens per second with the emulated devices as fast as predicted and the others as measured; 0
// where nothing is emulated, or where steps overlap, so that times do not add up.
double predicted_overall(const std::vector<DeviceReport>& reports, const BenchmarkResult& result) {
  double seconds = 0, predicted = 0;
  for (uint64_t ns : result.samples_ns) seconds += static_cast<double>(ns) * 1e-9;
  for (const DeviceReport& r : reports) {
    if (!r.emulated) continue;
    if (r.steps_in_flight > 1) return 0;
    seconds -= static_cast<double>(r.use.busy_ns) * 1e-9;
    predicted += r.use.predicted_seconds;
  }
  if (predicted == 0) return 0;
  const double tokens = static_cast<double>(result.test.tokens() * result.samples_ns.size());
  return tokens / (std::max(0.0, seconds) + predicted);
}

std::string summary_table(const std::vector<DeviceReport>& reports, const BenchmarkResult& result) {
  std::string text = header({"", "measured", "emulated", "predicted"}, 1);
  bool emulated = false;
  for (const DeviceReport& r : reports) {
    emulated |= r.emulated;
    if (r.use.busy_ns == 0) continue;
    const double tokens = per_second(r.use.tokens, r.use.busy_ns);
    const double predicted = r.use.predicted_seconds > 0
                                 ? static_cast<double>(r.use.tokens) / r.use.predicted_seconds
                                 : 0;
    const std::string what = fmt::format("{}, {}: {}", phase_name(r.phase), r.name, r.nodes);
    text += summary_row(what + ", tok/s", tokens, r.emulated, predicted);
    if (r.layers > 0)
      text += summary_row(what + ", tok/s per layer", tokens * r.layers, r.emulated,
                          predicted * r.layers);
  }
  text += summary_row("overall tok/s", mean_deviation(result.samples_per_second()).mean, emulated,
                      predicted_overall(reports, result));
  std::vector<std::string> seen;
  for (const DeviceReport& r : reports) {
    if (std::find(seen.begin(), seen.end(), r.name) != seen.end()) continue;
    seen.push_back(r.name);
    const DeviceMemory& m = r.memory;
    text += memory_row(fmt::format("{} (weights {:.1f}, cache {:.1f}, activations {:.1f})", r.name,
                                   mib(m.weights), mib(m.cache), mib(m.activations)),
                       r.driver_memory, m.total());
  }
  const HostMemory& host = result.host_memory;
  text += memory_row(
      fmt::format(
          "the host (before loading {:.1f}, weights {:.1f}, cache {:.1f}, activations {:.1f})",
          mib(host.program), mib(host.weights), mib(host.cache), mib(host.activations)),
      result.resident, host.total());
  return text;
}

}  // namespace

std::vector<DeviceReport> device_reports(Engine& engine, const BenchmarkResult& result,
                                         const std::vector<double>& bandwidths) {
  std::vector<DeviceReport> reports;
  for (Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    const PhaseUse& use = result.use[static_cast<size_t>(phase)];
    if (use.wall_ns == 0) continue;
    for (uint32_t device = 0; device < use.devices.size(); ++device) {
      const Backend& backend = *engine.backends()[device];
      DeviceReport report;
      report.name = backend.info().name;
      report.emulated = backend.info().emulated;
      report.phase = phase;
      describe_nodes(engine.coordinator(), device, report);
      report.use = use.devices[device];
      const uint64_t occupied = report.use.busy_ns + report.use.transfer_ns;
      report.idle_ns = use.wall_ns - std::min(use.wall_ns, occupied);
      report.bandwidth = bandwidths[device];
      report.steps_in_flight = engine.coordinator().shape().slots;
      report.memory = engine.coordinator().device_memory(device);
      report.driver_memory = backend.device_counters().driver_memory;
      reports.push_back(std::move(report));
    }
  }
  return reports;
}

Json to_json(const std::vector<DeviceReport>& reports) {
  Json list = Json::array();
  for (const DeviceReport& r : reports)
    list.push_back({{"device", r.name},
                    {"emulated", r.emulated},
                    {"phase", phase_name(r.phase)},
                    {"nodes", r.nodes},
                    {"layers", r.layers},
                    {"nodes_run", r.use.nodes},
                    {"tokens", r.use.tokens},
                    {"submits", r.use.submits},
                    {"busy_ns", r.use.busy_ns},
                    {"idle_ns", r.idle_ns},
                    {"transfer_ns", r.use.transfer_ns},
                    {"bytes", r.use.bytes},
                    {"operations", r.use.operations},
                    {"read_bandwidth", r.bandwidth},
                    {"bandwidth_share", bandwidth_share(r)},
                    {"predicted_seconds", r.use.predicted_seconds},
                    {"edges", r.use.edges},
                    {"edge_bytes", r.use.edge_bytes},
                    {"staged_copies", r.use.staged_copies},
                    {"staged_bytes", r.use.staged_bytes},
                    {"weight_memory", r.memory.weights},
                    {"cache_memory", r.memory.cache},
                    {"activation_memory", r.memory.activations},
                    {"driver_memory", r.driver_memory}});
  return list;
}

std::string device_tables(const std::vector<DeviceReport>& reports, const BenchmarkResult& result) {
  return fmt::format("{}\n\n{}\n{}", result.test.name(), device_table(reports),
                     summary_table(reports, result));
}

}  // namespace tandem

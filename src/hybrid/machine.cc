// SPDX-License-Identifier: Apache-2.0
#include "hybrid/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "base/error.h"
#include "base/json_value.h"
#include "hybrid/json_place.h"

namespace tandem {
namespace {

// What no laptop or server is outside of; a figure beyond is in the wrong unit.
constexpr double kLeastBandwidth = 1e8, kMostBandwidth = 1e14;
constexpr double kLeastRate = 1e8, kMostRate = 1e17;
constexpr double kLeastMemory = 1e8, kMostMemory = 1e14;
constexpr double kMostLaunchUs = 1e6;
constexpr double kLeastClock = 1e7, kMostClock = 1e11;

// Where costs are computed; between them they are straight lines.
constexpr std::array<uint32_t, 4> kPrefillRows = {64, 128, 256, 512};
constexpr std::array<uint32_t, 3> kDecodeRows = {1, 2, 4};
constexpr std::array<uint32_t, 6> kPositions = {0, 512, 1024, 2048, 8192, 32768};

constexpr std::string_view kArrayDoesProjections =
    "the NPU runs attention's projections (qkv and out) only";

// ---- Reading ------------------------------------------------------------------------------------

Figure read_figure(const JsonPlace& place, double least, double most) {
  place.allow_only({"value", "source", "assumption"});
  Figure figure;
  figure.value = place.at("value").number(least, most);
  if (const auto source = place.find("source")) {
    figure.source = source->text();
    return figure;
  }
  const auto assumption = place.find("assumption");
  if (!assumption) place.fail("has neither \"source\" nor \"assumption\"; say where it comes from");
  figure.source = assumption->text();
  figure.assumed = true;
  return figure;
}

MachineDevice read_device(const JsonPlace& place) {
  MachineDevice device;
  device.name = place.at("name").text();
  const std::string kind = place.at("kind").text();
  device.read_bandwidth = read_figure(place.at("read_bandwidth"), kLeastBandwidth, kMostBandwidth);
  device.launch_us = read_figure(place.at("launch_us"), 0, kMostLaunchUs);
  if (kind == "processor") {
    place.allow_only(
        {"name", "kind", "read_bandwidth", "launch_us", "matrix_rate", "attention_rate"});
    device.matrix_rate = read_figure(place.at("matrix_rate"), kLeastRate, kMostRate);
    device.attention_rate = read_figure(place.at("attention_rate"), kLeastRate, kMostRate);
  } else if (kind == "array") {
    place.allow_only({"name", "kind", "read_bandwidth", "launch_us", "generation", "clock_hz"});
    device.kind = MachineDeviceKind::kArray;
    device.generation = place.at("generation").text();
    device.clock_hz = read_figure(place.at("clock_hz"), kLeastClock, kMostClock);
  } else {
    place.at("kind").fail(fmt::format("is '{}', neither processor nor array", kind));
  }
  return device;
}

std::vector<std::pair<std::string, double>> read_rates(const JsonPlace& place,
                                                       const std::vector<MachineDevice>& devices) {
  std::vector<std::pair<std::string, double>> rates;
  for (const std::string& name : place.keys()) {
    if (std::none_of(devices.begin(), devices.end(),
                     [&](const MachineDevice& d) { return d.name == name; }))
      place.at(name).fail("is of a device that /devices does not list");
    rates.emplace_back(name, place.at(name).number(kLeastBandwidth, kMostBandwidth));
  }
  return rates;
}

bool of_same_devices(const std::vector<std::pair<std::string, double>>& a,
                     const std::vector<std::pair<std::string, double>>& b) {
  return std::is_permutation(a.begin(), a.end(), b.begin(), b.end(),
                             [](const auto& x, const auto& y) { return x.first == y.first; });
}

MeasuredContention read_contention(const JsonPlace& place,
                                   const std::vector<MachineDevice>& devices) {
  place.allow_only({"source", "alone", "together"});
  MeasuredContention contention;
  contention.source = place.at("source").text();
  contention.alone = read_rates(place.at("alone"), devices);
  for (const JsonPlace& item : place.at("together").items()) {
    const auto rates = read_rates(item, devices);
    if (rates.size() < 2) item.fail("names fewer than two devices");
    for (const auto& earlier : contention.together)
      if (of_same_devices(rates, earlier)) item.fail("is of the same devices as an earlier entry");
    contention.together.push_back(rates);
    for (const auto& [name, rate] : rates) {
      const auto alone =
          std::find_if(contention.alone.begin(), contention.alone.end(),
                       [&, &key = name](const auto& entry) { return entry.first == key; });
      if (alone == contention.alone.end())
        item.at(name).fail("has no figure of the device alone beside it");
      if (rate > alone->second) item.at(name).fail("is more than the device reaches alone");
    }
  }
  return contention;
}

// ---- Costs --------------------------------------------------------------------------------------

double share_of(const MeasuredContention& contention, const std::string& name, double rate) {
  for (const auto& [device, alone] : contention.alone)
    if (device == name) return rate / alone;
  return 1;
}

// Products read their weights while they compute; what a node does between them (norms, GELU,
// conversions) streams activations in passes of its own.
double processor_us(const MachineDevice& device, const NodeWork& work) {
  const double bandwidth = device.read_bandwidth.value;
  const double product =
      std::max(work.weight_bytes / bandwidth, work.matrix_operations / device.matrix_rate.value);
  const double attention = std::max(work.cache_bytes / bandwidth,
                                    work.attention_operations / device.attention_rate.value);
  return 1e6 * (product + attention + work.activation_bytes / bandwidth);
}

class Predictor {
 public:
  Predictor(const Machine& machine, const ModelConfig& config, const ModelShape& shape,
            const ArrayTimer& array_timer)
      : machine_(machine), config_(config), shape_(shape), array_timer_(array_timer) {}

  DeviceCost device_cost(const MachineDevice& device) const {
    DeviceCost cost;
    cost.name = device.name;
    cost.read_bandwidth = device.read_bandwidth.value;
    cost.launch_us = device.launch_us.value;
    for (uint32_t k = 0; k < kNodeKindCount; ++k)
      for (Phase phase : {Phase::kPrefill, Phase::kDecode})
        fill(device, static_cast<NodeKind>(k), phase, cost.nodes[k]);
    return cost;
  }

 private:
  void fill(const MachineDevice& device, NodeKind kind, Phase phase, NodeCost& node) const {
    const Op op = op_of(kind);
    const bool array = device.kind == MachineDeviceKind::kArray;
    if (array && op != Op::kQkv && op != Op::kAttnOut) {
      node.phase(phase).unsupported = kArrayDoesProjections;
      return;
    }
    // The CPU reads the embedding's rows in the file.
    if (op != Op::kEmbed || device.name != "cpu")
      node.weight_bytes = shape_.weight_bytes[static_cast<size_t>(kind)];
    for (uint32_t r : rows_of(kind, phase))
      for (uint32_t position : kPositions) {
        if (position > 0 && op != Op::kAttnCore) continue;
        const NodeWork work = work_of(shape_, kind, phase, r, position);
        CostPoint point{r, position, 0, work.bytes()};
        if (array)
          array_point(device, op, phase, point, node);
        else
          point.us = processor_us(device, work);
        node.phase(phase).points.push_back(point);
      }
  }

  static std::span<const uint32_t> rows_of(NodeKind kind, Phase phase) {
    static constexpr uint32_t kOne[] = {1};
    if (phase == Phase::kDecode) return kDecodeRows;
    if (kind == NodeKind::kHead) return kOne;  // a prompt has one output
    return kPrefillRows;
  }

  // The host quantises what goes in and converts what comes out: a pass over the activations at the
  // speed of the machine's memory.
  void array_point(const MachineDevice& device, Op op, Phase phase, CostPoint& point,
                   NodeCost& node) const {
    const ArrayTime time =
        array_timer_({device.generation, device.clock_hz.value, machine_.memory_bandwidth.value,
                      &config_.common(), op, phase, point.rows});
    const double host_bytes = point.bytes - static_cast<double>(node.weight_bytes);
    node.weight_bytes = time.weight_bytes;
    point.us = time.us + 1e6 * host_bytes / machine_.memory_bandwidth.value;
    point.bytes = time.bytes + host_bytes;
  }

  const Machine& machine_;
  const ModelConfig& config_;
  const ModelShape& shape_;
  const ArrayTimer& array_timer_;
};

Machine machine_of(const Json& document, const std::string& file_name) {
  const JsonPlace place(document, file_name);
  place.allow_only({"name", "memory_size", "memory_bandwidth", "edge_us", "devices", "contention"});
  Machine machine;
  machine.name = place.at("name").text();
  machine.memory_size = read_figure(place.at("memory_size"), kLeastMemory, kMostMemory);
  machine.memory_bandwidth =
      read_figure(place.at("memory_bandwidth"), kLeastBandwidth, kMostBandwidth);
  machine.edge_us = read_figure(place.at("edge_us"), 0, kMostLaunchUs);
  for (const JsonPlace& item : place.at("devices").items()) {
    MachineDevice device = read_device(item);
    for (const MachineDevice& other : machine.devices)
      if (other.name == device.name) item.at("name").fail("is the name of an earlier device");
    if (device.read_bandwidth.value > machine.memory_bandwidth.value)
      item.at("read_bandwidth").fail("is more than the memory's peak, /memory_bandwidth");
    machine.devices.push_back(std::move(device));
  }
  if (machine.devices.empty()) place.at("devices").fail("is empty");
  machine.contention = read_contention(place.at("contention"), machine.devices);
  return machine;
}

}  // namespace

Machine parse_machine(std::string_view json, const std::string& file_name) {
  return machine_of(parse_json(json, file_name), file_name);
}

Machine read_machine(const std::string& path) { return machine_of(read_json(path), path); }

CostTable predict_costs(const Machine& machine, const ModelConfig& config, const ModelShape& shape,
                        const ArrayTimer& array_timer) {
  CostTable table;
  table.model = shape;
  table.machine = machine.name;
  table.predicted = true;
  table.pools = {{"host", static_cast<uint64_t>(machine.memory_size.value)}};
  const Predictor predictor(machine, config, shape, array_timer);
  for (const MachineDevice& device : machine.devices)
    table.devices.push_back(predictor.device_cost(device));
  table.edges.assign(table.devices.size(), std::vector<EdgeCost>(table.devices.size()));
  for (size_t from = 0; from < table.devices.size(); ++from)
    for (size_t to = 0; to < table.devices.size(); ++to)
      if (from != to) table.edges[from][to].fixed_us = machine.edge_us.value;
  for (const auto& together : machine.contention.together) {
    Contention entry;
    entry.shares.assign(table.devices.size(), 0);
    for (const auto& [name, rate] : together)
      entry.shares[table.device(name)] = share_of(machine.contention, name, rate);
    table.contention.push_back(std::move(entry));
  }
  return table;
}

}  // namespace tandem

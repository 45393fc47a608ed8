// The cost table as a file.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "backend/phase_name.h"
#include "base/json_value.h"
#include "hybrid/cost_table.h"
#include "hybrid/json_place.h"
#include "model/kv_cache.h"

namespace tandem {
namespace {

// Beyond these a number is a mistake, not a machine: a day, a petabyte, a hundred terabytes per
// second, a million rows.
constexpr double kMaxUs = 86400e6, kMaxBytes = 1e15, kMaxBandwidth = 1e14;
constexpr uint64_t kMaxRows = 1 << 20, kMaxPosition = 1 << 24, kMaxWidth = 1 << 20;
constexpr uint64_t kMaxLayers = 1024, kMaxCores = 4096;

constexpr std::array kPhases = {Phase::kPrefill, Phase::kDecode};
// ---- Reading ------------------------------------------------------------------------------------

NodeKind read_kind(const JsonPlace& place) {
  const std::string name = place.text();
  for (uint32_t i = 0; i < kNodeKindCount; ++i)
    if (node_kind_name(static_cast<NodeKind>(i)) == name) return static_cast<NodeKind>(i);
  place.fail(
      fmt::format("is '{}', none of embed, qkv, core_windowed, core_global, out, ffn, head", name));
}

Phase read_phase(const JsonPlace& place) {
  const std::string name = place.text();
  for (Phase phase : kPhases)
    if (phase_name(phase) == name) return phase;
  place.fail(fmt::format("is '{}', neither prefill nor decode", name));
}

DType read_kv(const JsonPlace& place) {
  const std::string name = place.text();
  if (const auto kv = find_kv_type(name)) return *kv;
  place.fail(fmt::format("is '{}', none of {}", name, kKvTypeNames));
}

ModelShape read_model(const JsonPlace& place) {
  place.allow_only({"name", "kv", "tied", "layers", "hidden", "ffn", "heads", "kv_heads",
                    "head_dim", "vocab", "window", "weight_bytes"});
  ModelShape model;
  model.name = place.at("name").text();
  model.kv = read_kv(place.at("kv"));
  if (const auto tied = place.find("tied")) model.tied = tied->flag();
  for (const JsonPlace& layer : place.at("layers").items()) {
    const std::string kind = layer.text();
    if (kind != "windowed" && kind != "global")
      layer.fail("is neither \"windowed\" nor \"global\"");
    model.global.push_back(kind == "global");
  }
  if (model.global.empty() || model.global.size() > kMaxLayers)
    place.at("layers").fail(
        fmt::format("has {} items, expected 1 to {}", model.global.size(), kMaxLayers));
  const auto width = [&](std::string_view key, uint64_t most) {
    return static_cast<uint32_t>(place.at(key).whole(1, most));
  };
  model.hidden = width("hidden", kMaxWidth);
  model.ffn = width("ffn", kMaxWidth);
  model.heads = width("heads", 4096);
  model.kv_heads = width("kv_heads", 4096);
  model.head_dim = width("head_dim", 4096);
  model.vocab = width("vocab", kMaxPosition);
  model.window = static_cast<uint32_t>(place.at("window").whole(0, kMaxPosition));
  const JsonPlace weights = place.at("weight_bytes");
  for (uint32_t i = 0; i < kNodeKindCount; ++i)
    model.weight_bytes[i] = weights.at(node_kind_name(static_cast<NodeKind>(i)))
                                .whole(0, static_cast<uint64_t>(kMaxBytes));
  if (weights.keys().size() != kNodeKindCount) weights.fail("has more members than kinds of nodes");
  return model;
}

std::vector<CostPoint> read_points(const JsonPlace& place) {
  std::vector<CostPoint> points;
  for (const JsonPlace& item : place.items()) {
    item.allow_only({"rows", "position", "us", "bytes"});
    CostPoint point;
    point.rows = static_cast<uint32_t>(item.at("rows").whole(1, kMaxRows));
    point.position = static_cast<uint32_t>(item.at("position").whole(0, kMaxPosition));
    point.us = item.at("us").number(0, kMaxUs);
    point.bytes = item.at("bytes").number(0, kMaxBytes);
    if (!points.empty() &&
        (points.back().rows > point.rows ||
         (points.back().rows == point.rows && points.back().position >= point.position)))
      item.fail("is out of order; points ascend by rows, then by position");
    points.push_back(point);
  }
  if (points.empty()) place.fail("is empty; give at least one point, or \"unsupported\"");
  return points;
}

void read_node(const JsonPlace& place, DeviceCost& device, std::vector<bool>& seen) {
  place.allow_only({"node", "phase", "weight_bytes", "unsupported", "points"});
  const NodeKind kind = read_kind(place.at("node"));
  const Phase phase = read_phase(place.at("phase"));
  const size_t slot = static_cast<size_t>(kind) * 2 + static_cast<size_t>(phase);
  if (seen[slot])
    place.fail(
        fmt::format("gives {} in {} a second time", node_kind_name(kind), phase_name(phase)));
  seen[slot] = true;
  PhaseCost& cost = device.node(kind).phase(phase);
  if (const auto reason = place.find("unsupported")) {
    cost.unsupported = reason->text();
    if (place.find("points")) place.fail("has both \"unsupported\" and \"points\"");
    return;
  }
  device.node(kind).weight_bytes =
      place.at("weight_bytes").whole(0, static_cast<uint64_t>(kMaxBytes));
  cost.points = read_points(place.at("points"));
}

DeviceCost read_device(const JsonPlace& place, const CostTable& table) {
  place.allow_only({"name", "emulated", "software", "memory", "memory_size", "read_bandwidth",
                    "launch_us", "wake_us", "host_cores", "nodes"});
  DeviceCost device;
  device.name = place.at("name").text();
  for (const DeviceCost& other : table.devices)
    if (other.name == device.name)
      place.at("name").fail(fmt::format("is '{}', as an earlier device", device.name));
  if (const auto flag = place.find("emulated")) device.emulated = flag->flag();
  if (const auto flag = place.find("software")) device.software = flag->flag();
  const std::string memory = place.at("memory").text();
  const auto pool = std::find_if(table.pools.begin(), table.pools.end(),
                                 [&](const MemoryPool& p) { return p.name == memory; });
  if (pool == table.pools.end())
    place.at("memory").fail(fmt::format("is '{}', which /memory does not list", memory));
  device.pool = static_cast<uint32_t>(pool - table.pools.begin());
  if (const auto size = place.find("memory_size"))
    device.memory_size = size->whole(1, static_cast<uint64_t>(kMaxBytes));
  device.read_bandwidth = place.at("read_bandwidth").number(0, kMaxBandwidth);
  device.launch_us = place.at("launch_us").number(0, kMaxUs);
  device.wake_us = place.at("wake_us").number(0, kMaxUs);
  device.host_cores = static_cast<uint32_t>(place.at("host_cores").whole(0, kMaxCores));
  std::vector<bool> seen(size_t{2} * kNodeKindCount, false);
  for (const JsonPlace& node : place.at("nodes").items()) read_node(node, device, seen);
  for (uint32_t kind = 0; kind < kNodeKindCount; ++kind)
    for (Phase phase : kPhases)
      if (!seen[size_t{kind} * 2 + static_cast<size_t>(phase)])
        place.at("nodes").fail(fmt::format(
            "lacks {} in {}", node_kind_name(static_cast<NodeKind>(kind)), phase_name(phase)));
  return device;
}

void read_edges(const JsonPlace& place, CostTable& table) {
  const size_t count = table.devices.size();
  table.edges.assign(count, std::vector<EdgeCost>(count));
  std::vector<bool> seen(count * count, false);
  for (const JsonPlace& item : place.items()) {
    item.allow_only({"from", "to", "fixed_us", "bytes_per_second"});
    const auto device = [&](std::string_view key) {
      const std::string name = item.at(key).text();
      for (size_t i = 0; i < count; ++i)
        if (table.devices[i].name == name) return i;
      item.at(key).fail(fmt::format("is '{}', which /devices does not list", name));
    };
    const size_t from = device("from"), to = device("to");
    if (from == to || seen[from * count + to]) item.fail("joins a device to itself, or repeats");
    seen[from * count + to] = true;
    table.edges[from][to] = {item.at("fixed_us").number(0, kMaxUs),
                             item.at("bytes_per_second").number(0, kMaxBandwidth)};
  }
  for (size_t from = 0; from < count; ++from)
    for (size_t to = 0; to < count; ++to)
      if (from != to && !seen[from * count + to])
        place.fail(fmt::format("lacks the edge from {} to {}", table.devices[from].name,
                               table.devices[to].name));
}

std::vector<Contention> read_contention(const JsonPlace& place, const CostTable& table) {
  std::vector<Contention> all;
  for (const JsonPlace& item : place.items()) {
    Contention entry;
    entry.shares.assign(table.devices.size(), 0);
    for (const std::string& name : item.keys()) {
      const JsonPlace share = item.at(name);
      const auto device = std::find_if(table.devices.begin(), table.devices.end(),
                                       [&](const DeviceCost& d) { return d.name == name; });
      if (device == table.devices.end()) share.fail("is of a device that /devices does not list");
      entry.shares[static_cast<size_t>(device - table.devices.begin())] = share.number(1e-3, 1);
    }
    all.push_back(std::move(entry));
  }
  return all;
}

// ---- Writing ------------------------------------------------------------------------------------

Json model_json(const ModelShape& model) {
  Json layers = Json::array(), weights = Json::object();
  for (bool global : model.global) layers.push_back(global ? "global" : "windowed");
  for (uint32_t i = 0; i < kNodeKindCount; ++i)
    weights[std::string(node_kind_name(static_cast<NodeKind>(i)))] = model.weight_bytes[i];
  return {{"name", model.name},         {"kv", kv_type_name(model.kv)},
          {"tied", model.tied},         {"layers", std::move(layers)},
          {"hidden", model.hidden},     {"ffn", model.ffn},
          {"heads", model.heads},       {"kv_heads", model.kv_heads},
          {"head_dim", model.head_dim}, {"vocab", model.vocab},
          {"window", model.window},     {"weight_bytes", std::move(weights)}};
}

Json node_json(const DeviceCost& device, NodeKind kind, Phase phase) {
  const PhaseCost& cost = device.node(kind).phase(phase);
  Json json = {{"node", node_kind_name(kind)}, {"phase", phase_name(phase)}};
  if (!cost.supported()) {
    json["unsupported"] = cost.unsupported;
    return json;
  }
  json["weight_bytes"] = device.node(kind).weight_bytes;
  for (const CostPoint& point : cost.points)
    json["points"].push_back({{"rows", point.rows},
                              {"position", point.position},
                              {"us", point.us},
                              {"bytes", point.bytes}});
  return json;
}

std::string device_text(const DeviceCost& device, const CostTable& table) {
  Json head = {{"name", device.name},
               {"emulated", device.emulated},
               {"software", device.software},
               {"memory", table.pools[device.pool].name}};
  if (device.memory_size > 0) head["memory_size"] = device.memory_size;
  head.update({{"read_bandwidth", device.read_bandwidth},
               {"launch_us", device.launch_us},
               {"wake_us", device.wake_us},
               {"host_cores", device.host_cores}});
  std::string text = to_text(head);
  text.back() = ',';
  text += "\n     \"nodes\": [\n";
  for (uint32_t kind = 0; kind < kNodeKindCount; ++kind)
    for (Phase phase : kPhases) {
      const bool last = kind + 1 == kNodeKindCount && phase == kPhases.back();
      text += fmt::format("      {}{}\n",
                          to_text(node_json(device, static_cast<NodeKind>(kind), phase)),
                          last ? "" : ",");
    }
  return text + "     ]}";
}

// "key": [ one item a line ]
std::string list_text(std::string_view key, const std::vector<std::string>& items) {
  std::string text = fmt::format("  \"{}\": [\n", key);
  for (size_t i = 0; i < items.size(); ++i)
    text += fmt::format("    {}{}\n", items[i], i + 1 < items.size() ? "," : "");
  return text + "  ]";
}

}  // namespace

CostTable cost_table_at(const JsonPlace& place) {
  place.allow_only(
      {"machine", "predicted", "model", "host_cores", "memory", "devices", "edges", "contention"});
  CostTable table;
  table.machine = place.at("machine").text();
  table.predicted = place.at("predicted").flag();
  table.model = read_model(place.at("model"));
  table.host_cores = static_cast<uint32_t>(place.at("host_cores").whole(0, kMaxCores));
  for (const JsonPlace& pool : place.at("memory").items()) {
    pool.allow_only({"name", "size"});
    table.pools.push_back(
        {pool.at("name").text(), pool.at("size").whole(1, static_cast<uint64_t>(kMaxBytes))});
  }
  for (const JsonPlace& device : place.at("devices").items())
    table.devices.push_back(read_device(device, table));
  if (table.devices.empty()) place.at("devices").fail("is empty");
  read_edges(place.at("edges"), table);
  table.contention = read_contention(place.at("contention"), table);
  return table;
}

CostTable parse_cost_table(std::string_view json, const std::string& file_name) {
  const Json document = parse_json(json, file_name);
  return cost_table_at(JsonPlace(document, file_name));
}

CostTable read_cost_table(const std::string& path) {
  const Json document = read_json(path);
  return cost_table_at(JsonPlace(document, path));
}

std::string format_cost_table(const CostTable& table) {
  std::vector<std::string> pools, devices, edges, contention;
  for (const MemoryPool& pool : table.pools)
    pools.push_back(to_text(Json{{"name", pool.name}, {"size", pool.size}}));
  for (const DeviceCost& device : table.devices) devices.push_back(device_text(device, table));
  for (size_t from = 0; from < table.devices.size(); ++from)
    for (size_t to = 0; to < table.devices.size(); ++to)
      if (from != to)
        edges.push_back(
            to_text(Json{{"from", table.devices[from].name},
                         {"to", table.devices[to].name},
                         {"fixed_us", table.edges[from][to].fixed_us},
                         {"bytes_per_second", table.edges[from][to].bytes_per_second}}));
  for (const Contention& entry : table.contention) {
    Json shares = Json::object();
    for (size_t i = 0; i < entry.shares.size(); ++i)
      if (entry.shares[i] > 0) shares[table.devices[i].name] = entry.shares[i];
    contention.push_back(to_text(shares));
  }
  return fmt::format(
      "{{\n  \"machine\": {},\n  \"predicted\": {},\n  \"model\": {},\n  \"host_cores\": {},\n"
      "{},\n{},\n{},\n{}\n}}\n",
      to_text(Json(table.machine)), table.predicted, to_text(model_json(table.model)),
      table.host_cores, list_text("memory", pools), list_text("devices", devices),
      list_text("edges", edges), list_text("contention", contention));
}

}  // namespace tandem

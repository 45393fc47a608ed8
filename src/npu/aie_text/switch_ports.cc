// See switch_ports.h.
// SPDX-License-Identifier: Apache-2.0
#include "npu/aie_text/switch_ports.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <initializer_list>

namespace tandem::npu {
namespace {

struct PortCount {
  std::string_view bundle;
  std::array<int, 3> inputs, outputs;  // of shim, mem and core tiles
};

constexpr PortCount kPorts[] = {
    {"Core", {0, 0, 1}, {0, 0, 1}},       {"DMA", {0, 6, 2}, {0, 6, 2}},
    {"FIFO", {1, 0, 1}, {1, 0, 1}},       {"South", {8, 6, 6}, {6, 4, 4}},
    {"West", {4, 0, 4}, {4, 0, 4}},       {"North", {4, 4, 4}, {6, 6, 6}},
    {"East", {4, 0, 4}, {4, 0, 4}},       {"PLIO", {0, 0, 0}, {0, 0, 0}},
    {"NOC", {0, 0, 0}, {0, 0, 0}},        {"Trace", {1, 1, 2}, {0, 0, 0}},
    {"TileControl", {1, 1, 1}, {1, 1, 1}}};

bool is_outward(const DeviceDesign& device, TileCoordinate tile, std::string_view bundle) {
  const Geometry& geometry = geometry_of(device.generation);
  return (bundle == "West" && tile.column == 0) ||
         (bundle == "East" && tile.column == device.columns - 1) ||
         (bundle == "North" && tile.row == static_cast<int>(geometry.rows) - 1);
}

int count_ports(const DeviceDesign& device, TileCoordinate tile, std::string_view bundle,
                std::array<int, 3> PortCount::*direction) {
  if (is_outward(device, tile, bundle)) return 0;
  const TileKind kind = geometry_of(device.generation).kind_of_row(static_cast<uint32_t>(tile.row));
  for (const PortCount& ports : kPorts)
    if (ports.bundle == bundle) return (ports.*direction)[static_cast<size_t>(kind)];
  return 0;
}

bool among(const std::string& bundle, std::initializer_list<std::string_view> bundles) {
  return std::find(bundles.begin(), bundles.end(), bundle) != bundles.end();
}

// No sideways streams; the DMA and the vertical streams pass through at their own index only.
bool mem_connects(const SwitchPort& from, const SwitchPort& to) {
  if (from.bundle == "Trace") return to.bundle == "South" || (to.bundle == "DMA" && to.index == 5);
  if (from.bundle == "TileControl")
    return among(to.bundle, {"South", "North"}) || (to.bundle == "DMA" && to.index == 5);
  const bool through =
      from.bundle == "DMA" ? to.bundle == "DMA" : among(to.bundle, {"South", "North"});
  return !through || from.index == to.index;
}

bool shim_connects(const SwitchPort& from, const SwitchPort& to) {
  if (from.bundle == "TileControl") return to.bundle != "TileControl";
  if (from.bundle == "Trace")
    return among(to.bundle, {"FIFO", "South"}) ||
           (among(to.bundle, {"West", "East"}) && to.index == 0);
  const bool returns = from.bundle == to.bundle && among(from.bundle, {"West", "North", "East"});
  return !returns || from.index == to.index;
}

bool core_connects(const SwitchPort& from, const SwitchPort& to) {
  if (from.bundle == "Core") return to.bundle != "Core";
  if (from.bundle == "TileControl") return !among(to.bundle, {"TileControl", "DMA"});
  if (from.bundle == "Trace")
    return among(to.bundle, {"FIFO", "South"}) || (to.bundle == "DMA" && to.index == 0);
  return from.bundle != to.bundle || from.index == to.index;
}

}  // namespace

std::string to_text(const SwitchPort& port) {
  return fmt::format("{} : {}", port.bundle, port.index);
}

std::string bundle_name(std::string_view text) {
  for (size_t i = 0; i < std::size(kPorts); ++i)
    if (text == kPorts[i].bundle || text == std::to_string(i)) return std::string(kPorts[i].bundle);
  return {};
}

int switch_inputs(const DeviceDesign& device, TileCoordinate tile, std::string_view bundle) {
  return count_ports(device, tile, bundle, &PortCount::inputs);
}

int switch_outputs(const DeviceDesign& device, TileCoordinate tile, std::string_view bundle) {
  return count_ports(device, tile, bundle, &PortCount::outputs);
}

bool switch_connects(TileKind kind, const SwitchPort& from, const SwitchPort& to) {
  switch (kind) {
    case TileKind::kShim: return shim_connects(from, to);
    case TileKind::kMem: return mem_connects(from, to);
    default: return core_connects(from, to);
  }
}

bool shim_mux_connects(const SwitchPort& from, const SwitchPort& to) {
  static constexpr int kReads[] = {3, 7}, kWrites[] = {2, 3};  // by DMA channel
  if (from.bundle == "DMA" && to.bundle == "North")
    return from.index < 2 && to.index == kReads[from.index];
  return from.bundle == "North" && to.bundle == "DMA" && to.index < 2 &&
         from.index == kWrites[to.index];
}

}  // namespace tandem::npu

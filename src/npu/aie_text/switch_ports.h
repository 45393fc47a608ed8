// The ports of a tile's stream switch and which of its inputs reach which outputs (AMD AM020,
// "Stream Switch"; AM025, Stream_Switch_Master_Config_*; mlir-aie, AIETargetModel.cpp).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <string>
#include <string_view>

#include "npu/aie_text/design.h"

namespace tandem::npu {

// A side of a switch: what enters there, or leaves. Bundles have the dialect's names.
struct SwitchPort {
  std::string bundle;
  int index = 0;
  friend auto operator<=>(const SwitchPort&, const SwitchPort&) = default;
};

// "South : 3"
std::string to_text(const SwitchPort& port);

// The name of a bundle as written, or as numbered in the generic form; empty: there is none such.
std::string bundle_name(std::string_view text);

// Ports of a bundle. At the array's edges the outward ones are missing.
int switch_inputs(const DeviceDesign& device, TileCoordinate tile, std::string_view bundle);
int switch_outputs(const DeviceDesign& device, TileCoordinate tile, std::string_view bundle);

// Whether the switch of this kind of tile has a way from an input to an output it has.
bool switch_connects(TileKind kind, const SwitchPort& from, const SwitchPort& to);

// The same of the multiplexer between a shim tile's DMA and its switch.
bool shim_mux_connects(const SwitchPort& from, const SwitchPort& to);

}  // namespace tandem::npu

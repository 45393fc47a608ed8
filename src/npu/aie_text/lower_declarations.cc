// Tiles, buffers, locks, routes, shim names and kernels of a device.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cstdlib>

#include "npu/aie_text/lowering.h"
#include "npu/aie_text/switch_ports.h"

namespace tandem::npu {
namespace {

using mlir::Attribute;
using mlir::Operation;

void add_tile(DeviceLowering& lowering, const Operation& op, TileCoordinate tile) {
  if (tile.column >= lowering.out.columns || tile.row >= static_cast<int>(lowering.geometry.rows))
    lowering.fail(op.location,
                  fmt::format("tile {} is outside the device's {} columns and {} rows",
                              to_text(tile), lowering.out.columns, lowering.geometry.rows));
  if (!op.results.empty()) lowering.tiles[op.results[0]] = tile;
  bool known = false;
  for (const TileCoordinate& other : lowering.out.tiles) known = known || other == tile;
  if (!known) lowering.out.tiles.push_back(tile);
  if (const Attribute* packet = op.attribute("controller_id"))
    lowering.controller_ids[tile] = packet_of(lowering, *packet).second;
}

void read_tile(DeviceLowering& lowering, const Operation& op) {
  const auto column = integer_in(lowering, op, "col", 0, 1000);
  const auto row = integer_in(lowering, op, "row", 0, 1000);
  add_tile(lowering, op, {static_cast<int>(column), static_cast<int>(row)});
}

// A logical tile takes the coordinates it asks for and the first free tile of its kind otherwise.
void place_logical_tile(DeviceLowering& lowering, const Operation& op) {
  const std::string type = text_of(lowering, op, "tile_type");
  const bool core = type == "CoreTile" || type == "0";
  const bool mem = type == "MemTile" || type == "1";
  if (type == "ShimPLTile" || type == "3")
    lowering.fail(op.location, "this device has no ShimPLTile");
  const auto wanted_column = integer_of(lowering, op, "col", -1);
  const auto wanted_row = integer_of(lowering, op, "row", -1);
  const TileKind kind = core ? TileKind::kCore : mem ? TileKind::kMem : TileKind::kShim;
  for (int column = 0; column < lowering.out.columns; ++column) {
    for (int row = 0; row < static_cast<int>(lowering.geometry.rows); ++row) {
      const TileCoordinate tile{column, row};
      if (lowering.kind(tile) != kind || (wanted_column >= 0 && column != wanted_column) ||
          (wanted_row >= 0 && row != wanted_row))
        continue;
      bool taken = false;
      for (const TileCoordinate& other : lowering.out.tiles) taken = taken || other == tile;
      if (taken) continue;
      add_tile(lowering, op, tile);
      return;
    }
  }
  lowering.fail(op.location, fmt::format("no free tile of kind {} is left", type));
}

void read_buffer(DeviceLowering& lowering, const Operation& op) {
  if (op.results.empty()) return;
  const mlir::Type& type = lowering.value(op.results[0]).type;
  const int64_t size = type.byte_count();
  if (type.kind != mlir::Type::Kind::kMemref || size < 0)
    lowering.fail(op.location, "a buffer needs a memref type of known shape");
  BufferDecl buffer;
  buffer.tile = lowering.tile_operand(op, 0);
  buffer.location = op.location;
  const auto memory = static_cast<int64_t>(lowering.limits(buffer.tile).memory);
  if (memory == 0)
    lowering.fail(op.location, fmt::format("tile {} is a shim tile and has no data memory",
                                           to_text(buffer.tile)));
  if (size > memory)
    lowering.fail(op.location, fmt::format("a buffer of {} bytes exceeds the {} bytes of tile {}",
                                           size, memory, to_text(buffer.tile)));
  buffer.size = static_cast<uint32_t>(size);
  buffer.name = text_of(lowering, op, "sym_name", "");
  if (op.attribute("address") != nullptr) {
    buffer.address = static_cast<uint32_t>(integer_in(lowering, op, "address", 0, memory - size));
    buffer.placed = true;
  }
  buffer.mem_bank = static_cast<int>(
      integer_in(lowering, op, "mem_bank", -1, lowering.limits(buffer.tile).banks - 1, -1));
  if (const Attribute* value = op.attribute("initial_value"))
    buffer.initial_value = dense_bytes(lowering, *value, type);
  const bool named = !buffer.name.empty();
  const int index = lowering.add_buffer(std::move(buffer));
  if (!named)
    lowering.out.buffers[static_cast<size_t>(index)].name =
        "%" + lowering.value(op.results[0]).name;
  lowering.buffers[op.results[0]] = index;
}

void read_lock(DeviceLowering& lowering, const Operation& op) {
  LockDecl lock;
  lock.tile = lowering.tile_operand(op, 0);
  lock.location = op.location;
  if (op.attribute("lockID") != nullptr)
    lock.id = static_cast<int>(
        integer_in(lowering, op, "lockID", 0, lowering.limits(lock.tile).locks - 1));
  lock.initial_value = static_cast<int>(integer_in(lowering, op, "init", 0, kMaxLockValue, 0));
  lock.name = text_of(lowering, op, "sym_name",
                      op.results.empty() ? "" : "%" + lowering.value(op.results[0]).name);
  const int index = lowering.add_lock(std::move(lock));
  if (!op.results.empty()) lowering.locks[op.results[0]] = index;
}

PortKind port_kind(const DeviceLowering& lowering, const Operation& op, const std::string& text) {
  static const std::map<std::string_view, PortKind> kKinds = {
      {"DMA", PortKind::kDma},     {"Core", PortKind::kCore},
      {"South", PortKind::kSouth}, {"West", PortKind::kWest},
      {"North", PortKind::kNorth}, {"East", PortKind::kEast},
      {"Trace", PortKind::kTrace}, {"TileControl", PortKind::kTileControl}};
  const auto found = kKinds.find(bundle_name(text));
  if (found == kKinds.end())
    lowering.fail(op.location, fmt::format("expected DMA, Core, TileControl, Trace or a compass "
                                           "direction as a port, found '{}'",
                                           text));
  return found->second;
}

// `source`: the port is where a stream starts.
StreamPort read_port(const DeviceLowering& lowering, const Operation& op, size_t operand,
                     std::string_view bundle, std::string_view channel, bool source) {
  StreamPort port;
  port.tile = lowering.tile_operand(op, operand);
  port.kind = port_kind(lowering, op, text_of(lowering, op, bundle));
  port.index = static_cast<int>(integer_in(lowering, op, channel, 0, 31));
  if (port.kind == PortKind::kDma) {
    if (port.index >= static_cast<int>(lowering.limits(port.tile).channels))
      lowering.fail(op.location,
                    fmt::format("tile {} has DMA channels 0 to {}, not {}", to_text(port.tile),
                                lowering.limits(port.tile).channels - 1, port.index));
    return port;
  }
  const std::string name = bundle_name(text_of(lowering, op, bundle));
  const int count = source ? switch_inputs(lowering.out, port.tile, name)
                           : switch_outputs(lowering.out, port.tile, name);
  if (port.index >= count)
    lowering.fail(op.location, fmt::format("no stream {} tile {} by port {} : {}",
                                           source ? "starts in" : "ends in", to_text(port.tile),
                                           name, port.index));
  return port;
}

void read_flow(DeviceLowering& lowering, const Operation& op) {
  Route route;
  route.source = read_port(lowering, op, 0, "source_bundle", "source_channel", true);
  route.destination = read_port(lowering, op, 1, "dest_bundle", "dest_channel", false);
  route.location = op.location;
  lowering.out.routes.push_back(route);
}

void read_packet_flow(DeviceLowering& lowering, const Operation& op) {
  Route route;
  // The generic form prints the id as a signed byte.
  route.packet_id = static_cast<int>(integer_in(lowering, op, "ID", 0, 31));
  route.keep_packet_header = flag_of(op, "keep_pkt_header");
  route.location = op.location;
  std::vector<StreamPort> destinations;
  int sources = 0;
  for (const auto& region : op.regions) {
    for (const mlir::Block& block : region->blocks) {
      for (const Operation& inner : block.operations) {
        if (inner.name == "aie.packet_source") {
          route.source = read_port(lowering, inner, 0, "bundle", "channel", true);
          ++sources;
        } else if (inner.name == "aie.packet_dest") {
          destinations.push_back(read_port(lowering, inner, 0, "bundle", "channel", false));
        }
      }
    }
  }
  if (sources != 1 || destinations.empty())
    lowering.fail(op.location,
                  "aie.packet_flow needs one aie.packet_source and an aie.packet_dest");
  for (const StreamPort& destination : destinations) {
    route.destination = destination;
    lowering.out.routes.push_back(route);
  }
}

void read_cascade_flow(DeviceLowering& lowering, const Operation& op) {
  const CascadeRoute route{lowering.tile_operand(op, 0), lowering.tile_operand(op, 1), op.location};
  const int east = route.destination.column - route.source.column;
  const int north = route.destination.row - route.source.row;
  const bool adjacent = (east == 1 && north == 0) || (east == 0 && north == -1);
  if (!adjacent || lowering.kind(route.source) != TileKind::kCore ||
      lowering.kind(route.destination) != TileKind::kCore)
    lowering.fail(op.location, fmt::format("a cascade goes from a core to its east or south "
                                           "neighbour, not from {} to {}",
                                           to_text(route.source), to_text(route.destination)));
  lowering.out.cascades.push_back(route);
}

// The lowered form names each tile's input and output side; an output and the facing input make a
// route.
void pair_cascades(DeviceLowering& lowering, const std::vector<const Operation*>& configured) {
  std::map<TileCoordinate, std::string> inputs;
  for (const Operation* op : configured) {
    const TileCoordinate tile = lowering.tile_operand(*op, 0);
    const std::string side = text_of(lowering, *op, "inputDir");
    if (lowering.kind(tile) != TileKind::kCore)
      lowering.fail(op->location, fmt::format("tile {} has no cascade", to_text(tile)));
    if (side != "North" && side != "5" && side != "West" && side != "4")
      lowering.fail(op->location, "a cascade enters from the North or the West");
    inputs[tile] = side;
  }
  for (const Operation* op : configured) {
    const TileCoordinate source = lowering.tile_operand(*op, 0);
    const std::string side = text_of(lowering, *op, "outputDir");
    const bool east = side == "East" || side == "6";
    if (!east && side != "South" && side != "3")
      lowering.fail(op->location, "a cascade leaves to the South or the East");
    const TileCoordinate target{source.column + (east ? 1 : 0), source.row - (east ? 0 : 1)};
    const auto input = inputs.find(target);
    if (input == inputs.end()) continue;
    const bool from_west = input->second == "West" || input->second == "4";
    if (from_west == east) lowering.out.cascades.push_back({source, target, op->location});
  }
}

void read_shim_allocation(DeviceLowering& lowering, const Operation& op) {
  ShimAllocation allocation;
  allocation.name = text_of(lowering, op, "sym_name");
  allocation.tile = lowering.tile_operand(op, 0);
  allocation.direction = direction_of(lowering, op, "channel_dir");
  if (lowering.kind(allocation.tile) != TileKind::kShim)
    lowering.fail(op.location, fmt::format("aie.shim_dma_allocation needs a shim tile, {} is none",
                                           to_text(allocation.tile)));
  allocation.channel = static_cast<int>(
      integer_in(lowering, op, "channel_index", 0, lowering.geometry.shim.channels - 1));
  if (find_shim_allocation(lowering.out, allocation.name) != nullptr)
    lowering.fail(op.location,
                  fmt::format("a shim allocation named '{}' exists already", allocation.name));
  lowering.out.shim_allocations.push_back(std::move(allocation));
}

void read_kernel(DeviceLowering& lowering, const Operation& op) {
  KernelDecl kernel;
  kernel.symbol = text_of(lowering, op, "sym_name");
  kernel.link_with = text_of(lowering, op, "link_with", "");
  kernel.location = op.location;
  if (const Attribute* arguments = op.attribute("arguments")) {
    for (const Attribute& argument : arguments->items) {
      KernelArgument entry;
      entry.is_buffer = argument.type.kind == mlir::Type::Kind::kMemref;
      entry.type = argument.type.scalar;
      const int64_t count = argument.type.element_count();
      entry.count = count > 0 ? static_cast<uint64_t>(count) : 0;
      kernel.arguments.push_back(entry);
    }
  }
  lowering.out.kernels[kernel.symbol] = std::move(kernel);
}

void read_core(DeviceLowering& lowering, const Operation& op) {
  CoreDecl core;
  core.tile = lowering.tile_operand(op, 0);
  core.location = op.location;
  if (lowering.kind(core.tile) != TileKind::kCore)
    lowering.fail(op.location, fmt::format("tile {} has no core", to_text(core.tile)));
  for (const CoreDecl& other : lowering.out.cores)
    if (other.tile == core.tile)
      lowering.fail(op.location, fmt::format("tile {} has a core already", to_text(core.tile)));
  core.stack_size =
      static_cast<int>(integer_in(lowering, op, "stack_size", 0, lowering.geometry.core.memory,
                                  lowering.geometry.default_stack));
  lowering.out.cores.push_back(std::move(core));
}

}  // namespace

void lower_declarations(DeviceLowering& lowering) {
  std::vector<const Operation*> cascades;
  const mlir::Region& body = *lowering.operation.regions[0];
  mlir::walk(body, [&](const Operation& op) {
    if (op.name == "aie.tile") read_tile(lowering, op);
    return false;
  });
  mlir::walk(body, [&](const Operation& op) {
    if (op.name == "aie.logical_tile") place_logical_tile(lowering, op);
    return false;
  });
  mlir::walk(body, [&](const Operation& op) {
    if (op.name == "aie.buffer") read_buffer(lowering, op);
    if (op.name == "aie.lock") read_lock(lowering, op);
    if (op.name == "aie.flow") read_flow(lowering, op);
    if (op.name == "aie.packet_flow") read_packet_flow(lowering, op);
    if (op.name == "aie.cascade_flow") read_cascade_flow(lowering, op);
    if (op.name == "aie.configure_cascade") cascades.push_back(&op);
    if (op.name == "aie.shim_dma_allocation") read_shim_allocation(lowering, op);
    if (op.name == "func.func" && op.regions.empty()) read_kernel(lowering, op);
    if (op.name == "aie.core") read_core(lowering, op);
    if (op.name == "memref.global") lowering.globals[text_of(lowering, op, "sym_name")] = &op;
    return op.name == "aie.mem" || op.name == "aie.memtile_dma" || op.name == "aie.shim_dma" ||
           op.name == "aie.core";
  });
  pair_cascades(lowering, cascades);
}

}  // namespace tandem::npu

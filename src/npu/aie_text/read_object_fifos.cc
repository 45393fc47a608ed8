// aie.objectfifo, .link and .allocate as written; see object_fifo.h.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "npu/aie_text/object_fifo.h"

namespace tandem::npu {
namespace {

using mlir::Attribute;
using mlir::Operation;

void read_depths(const DeviceLowering& lowering, ObjectFifo& fifo) {
  const Operation& op = *fifo.operation;
  const Attribute* depth = op.attribute("elemNumber");
  if (depth == nullptr) lowering.fail(op.location, "aie.objectfifo needs a depth");
  if (depth->kind == Attribute::Kind::kArray) {
    for (const Attribute& item : depth->items)
      fifo.depths.push_back(static_cast<int>(item.integer));
    if (fifo.depths.size() != fifo.consumers.size() + 1)
      lowering.fail(op.location, fmt::format("a list of depths has one for the producer and one "
                                             "per consumer: {}, not {}",
                                             fifo.consumers.size() + 1, fifo.depths.size()));
  } else {
    fifo.depths.push_back(static_cast<int>(depth->integer));
  }
  for (const int value : fifo.depths)
    if (value < 1 || value > 10000)
      lowering.fail(op.location, fmt::format("a depth must be at least 1, not {}", value));
}

void check_layouts(const DeviceLowering& lowering, const ObjectFifo& fifo) {
  const SourceLocation location = fifo.operation->location;
  if (!fifo.to_stream.empty() && lowering.kind(fifo.producer) == TileKind::kShim)
    lowering.fail(location, "dimensionsToStream is not possible on a shim tile");
  for (size_t i = 0; i < fifo.from_stream.size(); ++i)
    if (!fifo.from_stream[i].empty() && lowering.kind(fifo.consumers[i]) == TileKind::kShim)
      lowering.fail(location, "dimensionsFromStream is not possible on a shim tile");
  if (!fifo.initial_values.empty() && lowering.kind(fifo.producer) == TileKind::kShim)
    lowering.fail(location, "initial values are not possible on a shim tile");
  if (fifo.repeat_count && lowering.kind(fifo.producer) == TileKind::kShim)
    lowering.fail(location, "repeat_count is not possible on a shim tile");
  if (!fifo.padding.empty() && lowering.kind(fifo.producer) != TileKind::kMem)
    lowering.fail(location, "padDimensions is only possible on a mem tile");
  if (fifo.iteration_count && lowering.kind(fifo.producer) != TileKind::kMem &&
      std::none_of(fifo.consumers.begin(), fifo.consumers.end(),
                   [&](TileCoordinate tile) { return lowering.kind(tile) == TileKind::kMem; }))
    lowering.fail(location, "iter_count is only possible on a mem tile");
}

ObjectFifo read_fifo(DeviceLowering& lowering, const Operation& op) {
  ObjectFifo fifo;
  fifo.operation = &op;
  fifo.name = text_of(lowering, op, "sym_name");
  fifo.producer = lowering.tile_operand(op, 0);
  for (size_t i = 1; i < op.operands.size(); ++i)
    fifo.consumers.push_back(lowering.tile_operand(op, i));
  if (fifo.consumers.empty()) lowering.fail(op.location, "an object FIFO needs a consumer");
  read_depths(lowering, fifo);
  const Attribute* type = op.attribute("elemType");
  if (type == nullptr || type->type.byte_count() <= 0)
    lowering.fail(op.location, "an object FIFO's elements need a memref type of known shape");
  fifo.element = type->type;
  fifo.to_stream = dimensions_of(lowering, op.attribute("dimensionsToStream"));
  fifo.from_stream.resize(fifo.consumers.size());
  if (const Attribute* layouts = op.attribute("dimensionsFromStreamPerConsumer"))
    for (size_t i = 0; i < layouts->items.size() && i < fifo.consumers.size(); ++i)
      fifo.from_stream[i] = dimensions_of(lowering, &layouts->items[i]);
  fifo.padding = padding_of(lowering, op.attribute("padDimensions"));
  if (op.attribute("repeat_count") != nullptr)
    fifo.repeat_count = static_cast<int>(integer_in(lowering, op, "repeat_count", 1, 256));
  if (op.attribute("iter_count") != nullptr)
    fifo.iteration_count = static_cast<int>(integer_in(lowering, op, "iter_count", 1, 256));
  fifo.via_dma = flag_of(op, "via_DMA");
  fifo.synchronised = !flag_of(op, "disable_synchronization");
  if (flag_of(op, "plio"))
    lowering.fail(op.location, "this device has no PL for 'plio' to connect to");
  if (op.attribute("aie_stream") != nullptr)
    lowering.diagnostics.unsupported(op.location,
                                     "aie_stream FIFOs (a core's stream ports) are "
                                     "not supported");
  if (const Attribute* values = op.attribute("initValues")) {
    for (const Attribute& value : values->items)
      fifo.initial_values.push_back(dense_bytes(lowering, value, fifo.element));
    if (static_cast<int>(fifo.initial_values.size()) != fifo.depths[0])
      lowering.fail(op.location, "initial values should initialize all objects");
  }
  check_layouts(lowering, fifo);
  return fifo;
}

int find_fifo(const DeviceLowering& lowering, const FifoTable& table, const Attribute& symbol,
              SourceLocation location) {
  for (size_t i = 0; i < table.fifos.size(); ++i)
    if (table.fifos[i].name == symbol.text) return static_cast<int>(i);
  lowering.fail(location, fmt::format("there is no object FIFO '@{}'", symbol.text));
}

void read_offsets(const DeviceLowering& lowering, const Operation& op, std::string_view key,
                  size_t count, std::vector<int64_t>& offsets) {
  if (const Attribute* list = op.attribute(key))
    for (const Attribute& item : list->items) offsets.push_back(item.integer);
  if (offsets.size() != count)
    lowering.fail(op.location,
                  fmt::format("this link needs {} {}, not {}", count, key, offsets.size()));
}

// The tile where every input is consumed and every output produced.
std::optional<TileCoordinate> shared_tile(const FifoTable& table, const FifoLink& link) {
  const TileCoordinate tile = table.fifos[static_cast<size_t>(link.outputs[0])].producer;
  for (const int output : link.outputs)
    if (table.fifos[static_cast<size_t>(output)].producer != tile) return std::nullopt;
  for (const int input : link.inputs) {
    const auto& consumers = table.fifos[static_cast<size_t>(input)].consumers;
    if (std::find(consumers.begin(), consumers.end(), tile) == consumers.end()) return std::nullopt;
  }
  return tile;
}

void read_link(DeviceLowering& lowering, FifoTable& table, const Operation& op) {
  FifoLink link;
  link.location = op.location;
  const int index = static_cast<int>(table.links.size());
  for (const bool input : {true, false}) {
    const Attribute* names = op.attribute(input ? "fifoIns" : "fifoOuts");
    if (names == nullptr || names->items.empty())
      lowering.fail(op.location, "a link needs input and output FIFOs");
    for (const Attribute& name : names->items) {
      const int fifo = find_fifo(lowering, table, name, op.location);
      ObjectFifo& linked = table.fifos[static_cast<size_t>(fifo)];
      if (linked.link_as_input >= 0 || linked.link_as_output >= 0)
        lowering.fail(op.location, "objectfifo cannot be in more than one ObjectFifoLinkOp");
      (input ? linked.link_as_input : linked.link_as_output) = index;
      (input ? link.inputs : link.outputs).push_back(fifo);
    }
  }
  if (link.is_join() && link.is_distribute())
    lowering.fail(op.location, "a link joins or distributes, not both");
  link.tile = shared_tile(table, link);
  if (!link.tile)
    lowering.fail(op.location,
                  "a link's FIFOs need a tile they share: consumer of every input, "
                  "producer of every output");
  if ((link.is_join() || link.is_distribute()) && lowering.kind(*link.tile) != TileKind::kMem)
    lowering.fail(op.location, "joining and distributing are only possible on a mem tile");
  // A plain link has no offsets to speak of; some texts give it zeros.
  if (link.is_join() || link.is_distribute()) {
    read_offsets(lowering, op, "src_offsets", link.is_join() ? link.inputs.size() : 0,
                 link.input_offsets);
    read_offsets(lowering, op, "dst_offsets", link.is_join() ? 0 : link.outputs.size(),
                 link.output_offsets);
  }
  for (const int output : link.outputs)
    if (table.fifos[static_cast<size_t>(output)].repeat_count !=
        table.fifos[static_cast<size_t>(link.outputs[0])].repeat_count)
      lowering.fail(op.location, "the outputs of a link have equal repeat counts");
  table.links.push_back(std::move(link));
}

}  // namespace

FifoTable read_object_fifos(DeviceLowering& lowering) {
  FifoTable table;
  const auto each = [&](std::string_view name, auto&& read) {
    mlir::walk(*lowering.operation.regions[0], [&](const Operation& op) {
      if (op.name == name) read(op);
      return false;
    });
  };
  each("aie.objectfifo", [&](const Operation& op) {
    table.fifos.push_back(read_fifo(lowering, op));
    for (size_t i = 0; i + 1 < table.fifos.size(); ++i)
      if (table.fifos[i].name == table.fifos.back().name)
        lowering.fail(op.location, fmt::format("an object FIFO named '@{}' exists already",
                                               table.fifos[i].name));
  });
  each("aie.objectfifo.link", [&](const Operation& op) { read_link(lowering, table, op); });
  each("aie.objectfifo.allocate", [&](const Operation& op) {
    const Attribute* name = op.attribute("objFifo_name");
    if (name == nullptr) lowering.fail(op.location, "aie.objectfifo.allocate needs a FIFO");
    ObjectFifo& fifo =
        table.fifos[static_cast<size_t>(find_fifo(lowering, table, *name, op.location))];
    if (fifo.delegate)
      lowering.fail(op.location,
                    fmt::format("'@{}' has an aie.objectfifo.allocate already", fifo.name));
    fifo.delegate = lowering.tile_operand(op, 0);
  });
  mlir::walk(*lowering.operation.regions[0], [&](const Operation& op) {
    if (op.name == "aie.objectfifo.acquire" || op.name == "aie.objectfifo.release")
      lowering.fail(op.location, fmt::format("{} must be inside an aie.core", op.name));
    return op.name != "aie.core";
  });
  return table;
}

int fifo_depth(const DeviceLowering& lowering, const ObjectFifo& fifo, TileCoordinate tile,
               int declared) {
  if (lowering.kind(tile) != TileKind::kCore) return declared;
  int most = 0;
  mlir::walk(*lowering.operation.regions[0], [&](const Operation& op) {
    if (op.name != "aie.core" || lowering.tile_operand(op, 0) != tile) return false;
    for (const auto& region : op.regions)
      mlir::walk(*region, [&](const Operation& inner) {
        if (inner.name == "aie.objectfifo.acquire" &&
            text_of(lowering, inner, "objFifo_name") == fifo.name)
          most = std::max(most, static_cast<int>(integer_in(lowering, inner, "size", 1, 10000)));
        return true;
      });
    return false;
  });
  if (most == 0) return declared;
  return most == 1 && declared == 1 ? 1 : most + 1;
}

bool shares_memory(const DeviceLowering& lowering, TileCoordinate user, TileCoordinate memory) {
  if (lowering.kind(user) != lowering.kind(memory)) return false;
  const int east = memory.column - user.column;
  const int north = memory.row - user.row;
  if (lowering.kind(user) == TileKind::kMem) return north == 0 && std::abs(east) <= 1;
  if (lowering.kind(user) != TileKind::kCore) return user == memory;
  // Own memory, and that of the south, west and north neighbours.
  return (east == 0 && std::abs(north) <= 1) || (east == -1 && north == 0);
}

}  // namespace tandem::npu

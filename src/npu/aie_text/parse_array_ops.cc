// The custom spellings of the aie dialect's operations. Attribute names are those of the generic
// form (mlir-aie, AIEOps.td).
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "npu/aie_text/parse_pieces.h"

namespace tandem::npu::mlir {
namespace {

using Kind = Attribute::Kind;

void module_op(Parser& p, Operation& op) {
  if (p.token().kind == TokenKind::kSymbol) set_symbol(p, op, "sym_name", "a name");
  if (p.token().is_identifier("attributes")) p.parse_optional_attributes(op);
  p.parse_region(op);
}

void device(Parser& p, Operation& op) {
  p.expect("(", "after aie.device");
  const SourceLocation location = p.token().location;
  op.set("device", string_attribute(p.device_name(p.take_identifier("a device, for example npu1")),
                                    Kind::kWord, location));
  p.expect(")", "after the device");
  if (p.token().kind == TokenKind::kSymbol) set_symbol(p, op, "sym_name", "a name");
  p.parse_region(op);
  p.parse_optional_attributes(op);
}

void tile(Parser& p, Operation& op) {
  p.expect("(", "after aie.tile");
  set_integer(p, op, "col", "the tile's column");
  p.expect(",", "between column and row");
  set_integer(p, op, "row", "the tile's row");
  p.expect(")", "after the row");
  p.parse_optional_attributes(op);
  p.set_result_types(op, kIndexType);
}

void logical_tile(Parser& p, Operation& op) {
  p.expect("<", "after aie.logical_tile");
  set_word(p, op, "tile_type", "CoreTile, MemTile, ShimNOCTile or ShimPLTile");
  p.expect(">", "after the tile's type");
  p.expect("(", "before column and row");
  if (!p.accept("?")) set_integer(p, op, "col", "a column or ?");
  p.expect(",", "between column and row");
  if (!p.accept("?")) set_integer(p, op, "row", "a row or ?");
  p.expect(")", "after the row");
  p.parse_optional_attributes(op);
  p.set_result_types(op, kIndexType);
}

void end(Parser& p, Operation& op) { p.parse_optional_attributes(op); }

void buffer(Parser& p, Operation& op) {
  if (op.name == "aie.buffer") tile_in_parentheses(p, op);
  p.parse_optional_attributes(op);
  p.expect(":", "before the buffer's type");
  p.set_result_types(op, p.parse_type());
  op.set("type",
         type_attribute(op.results.empty() ? Type{} : p.type_of(op.results[0]), op.location));
  if (p.accept("=")) op.set("initial_value", p.parse_attribute());
}

void lock(Parser& p, Operation& op) {
  p.expect("(", "after aie.lock");
  p.add_operand(op);
  if (p.accept(",")) set_integer(p, op, "lockID", "the lock's number");
  p.expect(")", "after the lock's tile");
  p.parse_optional_attributes(op);
  p.set_result_types(op, kIndexType);
}

void use_lock(Parser& p, Operation& op) {
  p.expect("(", "after aie.use_lock");
  p.add_operand(op);
  p.expect(",", "after the lock");
  set_word(p, op, "action", "Acquire, AcquireGreaterEqual or Release");
  while (p.accept(",")) {
    if (p.token().kind == TokenKind::kIdentifier)
      set_word(p, op, "blocking", "Blocking or NonBlocking");
    else
      set_integer(p, op, "value", "the lock's value");
  }
  p.expect(")", "to close aie.use_lock");
  p.parse_optional_attributes(op);
}

void flow(Parser& p, Operation& op) {
  p.expect("(", "after aie.flow");
  p.add_operand(op);
  p.expect(",", "after the source tile");
  set_port(p, op, "source_bundle", "source_channel");
  p.expect(",", "after the source port");
  p.add_operand(op);
  p.expect(",", "after the destination tile");
  set_port(p, op, "dest_bundle", "dest_channel");
  p.expect(")", "to close aie.flow");
  p.parse_optional_attributes(op);
}

void packet_flow(Parser& p, Operation& op) {
  p.expect("(", "after aie.packet_flow");
  set_integer(p, op, "ID", "the packet id");
  p.expect(")", "after the packet id");
  p.parse_region(op);
  p.parse_optional_attributes(op);
}

void packet_end(Parser& p, Operation& op) {
  p.expect("<", "after " + op.name);
  p.add_operand(op);
  p.expect(",", "after the tile");
  set_port(p, op, "bundle", "channel");
  p.expect(">", "to close " + op.name);
  p.parse_optional_attributes(op);
}

void cascade_flow(Parser& p, Operation& op) {
  p.expect("(", "after aie.cascade_flow");
  p.add_operand(op);
  p.expect(",", "between the tiles");
  p.add_operand(op);
  p.expect(")", "to close aie.cascade_flow");
  p.parse_optional_attributes(op);
}

void configure_cascade(Parser& p, Operation& op) {
  p.expect("(", "after aie.configure_cascade");
  p.add_operand(op);
  p.expect(",", "after the tile");
  set_word(p, op, "inputDir", "North or West");
  p.expect(",", "between the directions");
  set_word(p, op, "outputDir", "South or East");
  p.expect(")", "to close aie.configure_cascade");
  p.parse_optional_attributes(op);
}

void shim_dma_allocation(Parser& p, Operation& op) {
  set_symbol(p, op, "sym_name", "the allocation's name");
  p.expect("(", "after the allocation's name");
  p.add_operand(op);
  p.expect(",", "after the tile");
  set_channel(p, op, "channel_dir", "channel_index");
  if (p.accept(",")) op.set("packet", p.parse_struct());
  p.expect(")", "to close aie.shim_dma_allocation");
  p.parse_optional_attributes(op);
}

void dma_bd(Parser& p, Operation& op) {
  p.expect("(", "after aie.dma_bd");
  p.add_operand(op);
  p.expect(":", "after the buffer");
  const SourceLocation location = p.token().location;
  const Type type = p.parse_type();
  p.note_type_use(op.operands[0], type, location);
  op.set("type", type_attribute(type, location));
  // Positional: offset, length, dimensions, padding; then the named pad_value.
  for (int position = 0; p.accept(","); ++position) {
    if (p.token().is("[")) {
      op.set(op.attribute("dimensions") == nullptr ? "dimensions" : "pad_dimensions",
             p.parse_struct_array());
    } else if (p.accept_identifier("pad_value")) {
      p.expect("=", "after pad_value");
      set_integer(p, op, "pad_value", "the pad value");
    } else if (position < 2) {
      set_integer(p, op, position == 0 ? "offset" : "len",
                  position == 0 ? "the offset" : "the length");
    } else {
      p.fail("expected dimensions [<size = .., stride = ..>, ...] after the length");
    }
  }
  p.expect(")", "to close aie.dma_bd");
  p.parse_optional_attributes(op);
}

void dma_bd_packet(Parser& p, Operation& op) {
  p.expect("(", "after aie.dma_bd_packet");
  set_integer(p, op, "packet_type", "the packet type");
  p.expect(",", "between type and id");
  set_integer(p, op, "packet_id", "the packet id");
  p.expect(")", "to close aie.dma_bd_packet");
  p.parse_optional_attributes(op);
}

void dma_start(Parser& p, Operation& op) {
  p.expect("(", "after aie.dma_start");
  set_channel(p, op, "channel_dir", "channel_index");
  for (int i = 0; i < 2; ++i) {
    p.expect(",", "before a block");
    op.successors.push_back(p.parse_successor());
  }
  if (p.accept(",")) {
    p.expect_identifier("repeat_count", "after the blocks");
    p.expect("=", "after repeat_count");
    set_integer(p, op, "repeat_count", "the repeat count");
  }
  p.expect(")", "to close aie.dma_start");
  p.parse_optional_attributes(op);
}

void dma(Parser& p, Operation& op) {
  p.expect("(", "after aie.dma");
  set_channel(p, op, "channel_dir", "channel_index");
  p.expect(")", "after the channel");
  p.parse_optional_attributes(op);
  p.expect("[", "before the descriptors of aie.dma");
  while (!p.accept("]")) {
    p.parse_region(op);
    if (!p.token().is("]")) p.expect(",", "between descriptors");
  }
  p.parse_optional_attributes(op);
}

void next_bd(Parser& p, Operation& op) {
  op.successors.push_back(p.parse_successor());
  p.parse_optional_attributes(op);
}

// "(%p dimensionsToStream [..], {%c dimensionsFromStream [..], ...}, depth)"
void objectfifo(Parser& p, Operation& op) {
  set_symbol(p, op, "sym_name", "the FIFO's name");
  p.expect("(", "after the FIFO's name");
  p.add_operand(op);
  if (p.accept_identifier("dimensionsToStream"))
    op.set("dimensionsToStream", p.parse_struct_array());
  p.expect(",", "after the producer");
  p.expect("{", "before the consumers");
  Attribute from_stream;
  from_stream.kind = Kind::kArray;
  while (!p.accept("}")) {
    p.add_operand(op);
    Attribute layout;
    layout.kind = Kind::kArray;
    if (p.accept_identifier("dimensionsFromStream")) layout = p.parse_struct_array();
    from_stream.items.push_back(std::move(layout));
    if (!p.token().is("}")) p.expect(",", "between consumers");
  }
  op.set("dimensionsFromStreamPerConsumer", std::move(from_stream));
  p.expect(",", "after the consumers");
  op.set("elemNumber", p.parse_attribute());
  p.expect(")", "to close the FIFO's ends");
  p.parse_optional_attributes(op);
  p.expect(":", "before the FIFO's type");
  const SourceLocation location = p.token().location;
  const Type type = p.parse_type();
  if (type.kind != Type::Kind::kObjectFifo)
    p.fail_at(location, "expected !aie.objectfifo<memref<...>>");
  op.set("elemType", type_attribute(type, location));
  if (p.accept("=")) op.set("initValues", p.parse_attribute());
}

void objectfifo_link(Parser& p, Operation& op) {
  op.set("fifoIns", p.parse_attribute());
  p.expect("->", "between a link's inputs and outputs");
  op.set("fifoOuts", p.parse_attribute());
  p.expect("(", "before a link's offsets");
  op.set("src_offsets", p.parse_attribute());
  op.set("dst_offsets", p.parse_attribute());
  p.expect(")", "after a link's offsets");
  p.parse_optional_attributes(op);
}

void objectfifo_allocate(Parser& p, Operation& op) {
  set_symbol(p, op, "objFifo_name", "a FIFO");
  p.expect("(", "after the FIFO");
  p.add_operand(op);
  p.expect(")", "after the tile");
  p.parse_optional_attributes(op);
}

// "acquire @of (Consume, 1) : type" and "release @of (Produce, 1)"
void objectfifo_use(Parser& p, Operation& op) {
  p.parse_optional_attributes(op);
  set_symbol(p, op, "objFifo_name", "a FIFO");
  p.expect("(", "after the FIFO");
  set_word(p, op, "port", "Produce or Consume");
  p.expect(",", "after the port");
  set_integer(p, op, "size", "the number of elements");
  p.expect(")", "to close " + op.name);
  if (op.name == "aie.objectfifo.acquire") {
    p.expect(":", "before the subview's type");
    p.set_result_types(op, p.parse_type());
  }
  p.parse_optional_attributes(op);
}

void subview_access(Parser& p, Operation& op) {
  p.add_operand(op);
  p.expect("[", "after the subview");
  set_integer(p, op, "index", "the element's index");
  p.expect("]", "after the index");
  p.expect(":", "before the subview's type");
  p.parse_type_of(op.operands[0]);
  p.expect("->", "between the types");
  p.set_result_types(op, p.parse_type());
  p.parse_optional_attributes(op);
}

// "@name(%a : type, ...) { region }", the name optional for a runtime sequence
void sequence(Parser& p, Operation& op) {
  if (p.token().kind == TokenKind::kSymbol || op.name == "aie.bd_chain")
    set_symbol(p, op, "sym_name", "a name");
  p.expect("(", "before the arguments of " + op.name);
  std::vector<std::pair<std::string, Type>> arguments;
  while (!p.accept(")")) {
    if (p.token().kind != TokenKind::kValue)
      p.fail(fmt::format("expected an argument (%name : type), found {}", describe(p.token())));
    const std::string name = p.take().text;
    p.expect(":", "after an argument's name");
    arguments.emplace_back(name, p.parse_type());
    if (!p.token().is(")")) p.expect(",", "between arguments");
  }
  p.parse_region(op, arguments);
  p.parse_optional_attributes(op);
}

// "event(0)": a number and nothing the subset needs.
void event(Parser& p, Operation& op) {
  p.expect("(", "after aie.event");
  set_integer(p, op, "val", "the event");
  p.expect(")", "after the event");
  p.parse_optional_attributes(op);
}

const OperationParsers kParsers = {
    {"module", module_op},
    {"builtin.module", module_op},
    {"aie.device", device},
    {"aie.tile", tile},
    {"aie.logical_tile", logical_tile},
    {"aie.core", tile_region},
    {"aie.mem", tile_region},
    {"aie.memtile_dma", tile_region},
    {"aie.shim_dma", tile_region},
    {"aie.end", end},
    {"aie.buffer", buffer},
    {"aie.external_buffer", buffer},
    {"aie.lock", lock},
    {"aie.use_lock", use_lock},
    {"aie.flow", flow},
    {"aie.packet_flow", packet_flow},
    {"aie.packet_source", packet_end},
    {"aie.packet_dest", packet_end},
    {"aie.cascade_flow", cascade_flow},
    {"aie.configure_cascade", configure_cascade},
    {"aie.shim_dma_allocation", shim_dma_allocation},
    {"aie.dma_bd", dma_bd},
    {"aie.dma_bd_packet", dma_bd_packet},
    {"aie.dma_start", dma_start},
    {"aie.dma", dma},
    {"aie.next_bd", next_bd},
    {"aie.objectfifo", objectfifo},
    {"aie.objectfifo.link", objectfifo_link},
    {"aie.objectfifo.allocate", objectfifo_allocate},
    {"aie.objectfifo.acquire", objectfifo_use},
    {"aie.objectfifo.release", objectfifo_use},
    {"aie.objectfifo.subview.access", subview_access},
    {"aie.runtime_sequence", sequence},
    {"aiex.runtime_sequence", sequence},
    {"aie.bd_chain", sequence},
    {"aie.event", event},
};

}  // namespace

OperationParser find_array_parser(std::string_view name) { return find_in(kParsers, name); }

}  // namespace tandem::npu::mlir

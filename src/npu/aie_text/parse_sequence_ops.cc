// The custom spellings of the aiex dialect's operations, what a runtime sequence is made of
// (mlir-aie, AIEX.td).
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "npu/aie_text/parse_pieces.h"

namespace tandem::npu::mlir {
namespace {

using Kind = Attribute::Kind;

void attributes_only(Parser& p, Operation& op) { p.parse_optional_attributes(op); }

void dma_memcpy_nd(Parser& p, Operation& op) {
  p.expect("(", "after aiex.npu.dma_memcpy_nd");
  p.add_operand(op);
  mixed_list(p, op, "static_offsets");
  mixed_list(p, op, "static_sizes");
  mixed_list(p, op, "static_strides");
  if (p.accept(",")) {
    p.expect_identifier("packet", "after the strides");
    p.expect("=", "after packet");
    op.set("packet", p.parse_attribute());
  }
  p.expect(")", "to close aiex.npu.dma_memcpy_nd");
  p.parse_optional_attributes(op);
  p.expect(":", "before the buffer's type");
  p.parse_type_of(op.operands[0]);
}

void rtp_write(Parser& p, Operation& op) {
  p.expect("(", "after aiex.npu.rtp_write");
  const SourceLocation location = p.token().location;
  std::string buffer;
  if (p.token().kind == TokenKind::kString)
    buffer = p.take().text;
  else
    buffer = p.take_symbol("a buffer");
  op.set("buffer", string_attribute(buffer, Kind::kSymbol, location));
  p.expect(",", "after the buffer");
  set_integer(p, op, "index", "the index");
  p.expect(",", "after the index");
  set_integer(p, op, "value", "the value");
  p.expect(")", "to close aiex.npu.rtp_write");
  p.parse_optional_attributes(op);
}

// "(column, row, direction : channel)"
void push_queue(Parser& p, Operation& op) {
  p.expect("(", "after aiex.npu.push_queue");
  set_integer(p, op, "column", "the column");
  p.expect(",", "after the column");
  set_integer(p, op, "row", "the row");
  p.expect(",", "after the row");
  set_word(p, op, "direction", "S2MM or MM2S");
  p.expect(":", "between direction and channel");
  set_integer(p, op, "channel", "the channel");
  p.expect(")", "to close aiex.npu.push_queue");
  p.parse_optional_attributes(op);
}

void blockwrite(Parser& p, Operation& op) {
  p.expect("(", "after aiex.npu.blockwrite");
  p.add_operand(op);
  p.expect(")", "after the data");
  p.parse_optional_attributes(op);
  p.expect(":", "before the data's type");
  p.parse_type_of(op.operands[0]);
}

void dma_configure_task(Parser& p, Operation& op) {
  p.expect("(", "after aiex.dma_configure_task");
  p.add_operand(op);
  p.expect(",", "after the tile");
  set_channel(p, op, "direction", "channel");
  if (p.accept(",")) op.set("packet", p.parse_attribute());
  p.expect(")", "to close the channel");
  p.parse_region(op);
  p.parse_optional_attributes(op);
  p.set_result_types(op, kIndexType);
}

void dma_configure_task_for(Parser& p, Operation& op) {
  set_symbol(p, op, "alloc", "a FIFO or shim allocation");
  p.parse_region(op);
  p.parse_optional_attributes(op);
  p.set_result_types(op, kIndexType);
}

void one_task(Parser& p, Operation& op) {
  p.expect("(", "after " + op.name);
  p.add_operand(op);
  p.expect(")", "after the task");
  p.parse_optional_attributes(op);
}

// "@chain(%a, ...) : (types) on (%tile, MM2S, 0)" or "... for @fifo"
void start_bd_chain(Parser& p, Operation& op) {
  set_symbol(p, op, "symbol", "a descriptor chain");
  p.expect("(", "before the chain's arguments");
  p.parse_operands_until(op, ")");
  p.expect(":", "before the arguments' types");
  p.parse_types_of(op);
  if (op.name == "aiex.dma_start_bd_chain_for") {
    p.expect_identifier("for", "after the types");
    set_symbol(p, op, "alloc", "a FIFO or shim allocation");
  } else {
    p.expect_identifier("on", "after the types");
    p.expect("(", "before the channel");
    p.add_operand(op);
    p.expect(",", "after the tile");
    set_channel(p, op, "direction", "channel");
    p.expect(")", "after the channel");
  }
  p.parse_optional_attributes(op);
  p.set_result_types(op, kIndexType);
}

void set_lock(Parser& p, Operation& op) {
  p.expect("(", "after aiex.set_lock");
  p.add_operand(op);
  p.expect(",", "after the lock");
  set_integer(p, op, "value", "the value");
  p.expect(")", "after the value");
  p.parse_optional_attributes(op);
}

void configure(Parser& p, Operation& op) {
  set_symbol(p, op, "symbol", "a device");
  p.parse_region(op);
  p.parse_optional_attributes(op);
}

void run(Parser& p, Operation& op) {
  set_symbol(p, op, "runtime_sequence_symbol", "a runtime sequence");
  p.expect("(", "before the arguments");
  p.parse_operands_until(op, ")");
  p.expect(":", "before the arguments' types");
  p.parse_types_of(op);
  p.parse_optional_attributes(op);
}

const OperationParsers kParsers = {
    {"aiex.npu.dma_memcpy_nd", dma_memcpy_nd},
    {"aiex.npu.dma_wait", attributes_only},
    {"aiex.npu.sync", attributes_only},
    {"aiex.npu.write32", attributes_only},
    {"aiex.npu.maskwrite32", attributes_only},
    {"aiex.npu.blockwrite", blockwrite},
    {"aiex.npu.rtp_write", rtp_write},
    {"aiex.npu.writebd", attributes_only},
    {"aiex.npu.address_patch", attributes_only},
    {"aiex.npu.push_queue", push_queue},
    {"aiex.npu.preempt", attributes_only},
    {"aiex.npu.load_pdi", attributes_only},
    {"aiex.control_packet", attributes_only},
    {"aiex.dma_configure_task", dma_configure_task},
    {"aiex.dma_configure_task_for", dma_configure_task_for},
    {"aiex.dma_start_task", one_task},
    {"aiex.dma_await_task", one_task},
    {"aiex.dma_free_task", one_task},
    {"aiex.dma_start_bd_chain", start_bd_chain},
    {"aiex.dma_start_bd_chain_for", start_bd_chain},
    {"aiex.set_lock", set_lock},
    {"aiex.configure", configure},
    {"aiex.run", run},
};

}  // namespace

OperationParser find_sequence_parser(std::string_view name) { return find_in(kParsers, name); }

}  // namespace tandem::npu::mlir

// The custom spellings of routed text (switch boxes), of cascade and stream transfers in cores, and
// of the trace units' configuration. Names are those of mlir-aie's AIEOps.td.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "npu/aie_text/parse_pieces.h"

namespace tandem::npu::mlir {
namespace {

void connect(Parser& p, Operation& op) {
  p.expect("<", "after aie.connect");
  set_port(p, op, "source_bundle", "source_channel");
  p.expect(",", "between the ports");
  set_port(p, op, "dest_bundle", "dest_channel");
  p.expect(">", "to close aie.connect");
  p.parse_optional_attributes(op);
}

// "<arbiter> (msel)"
void amsel(Parser& p, Operation& op) {
  p.expect("<", "after aie.amsel");
  set_integer(p, op, "arbiterID", "the arbiter");
  p.expect(">", "after the arbiter");
  p.expect("(", "before the msel");
  set_integer(p, op, "msel", "the msel");
  p.expect(")", "after the msel");
  p.parse_optional_attributes(op);
  p.set_result_types(op, kIndexType);
}

void masterset(Parser& p, Operation& op) {
  p.expect("(", "after aie.masterset");
  set_port(p, op, "dest_bundle", "dest_channel");
  while (p.accept(",")) p.add_operand(op);
  p.expect(")", "to close aie.masterset");
  p.parse_optional_attributes(op);
  p.set_result_types(op, kIndexType);
}

void packet_rules(Parser& p, Operation& op) {
  p.expect("(", "after aie.packet_rules");
  set_port(p, op, "source_bundle", "source_channel");
  p.expect(")", "after the port");
  p.parse_region(op);
  p.parse_optional_attributes(op);
}

// "(mask, value, %amsel)"
void rule(Parser& p, Operation& op) {
  p.expect("(", "after aie.rule");
  set_integer(p, op, "mask", "the mask");
  p.expect(",", "after the mask");
  set_integer(p, op, "value", "the value");
  p.expect(",", "after the value");
  p.add_operand(op);
  p.expect(")", "to close aie.rule");
  p.parse_optional_attributes(op);
}

// "(%a : North, %b : South)": says what is next to what, which the coordinates say already.
void wire(Parser& p, Operation& op) {
  p.expect("(", "after aie.wire");
  for (const char* closing : {",", ")"}) {
    p.add_operand(op);
    p.expect(":", "between a tile and its port");
    p.take_word("a port");
    p.expect(closing, "after the port");
  }
  p.parse_optional_attributes(op);
}

void put_cascade(Parser& p, Operation& op) {
  p.expect("(", "after aie.put_cascade");
  p.add_operand(op);
  p.expect(":", "after the value");
  p.parse_type_of(op.operands[0]);
  p.expect(")", "after the value's type");
  p.parse_optional_attributes(op);
}

void get_cascade(Parser& p, Operation& op) {
  p.expect("(", "after aie.get_cascade");
  p.expect(")", "to close aie.get_cascade");
  p.parse_optional_attributes(op);
  p.expect(":", "before the value's type");
  p.set_result_types(op, p.parse_type());
}

// "(%port : i32, %value : i32)"
void put_stream(Parser& p, Operation& op) {
  p.expect("(", "after aie.put_stream");
  for (const char* closing : {",", ")"}) {
    p.add_operand(op);
    p.expect(":", "before a type");
    p.parse_type_of(op.operands.back());
    p.expect(closing, "after a type");
  }
  p.parse_optional_attributes(op);
}

// "(%port : i32) : i32"
void get_stream(Parser& p, Operation& op) {
  p.expect("(", "after aie.get_stream");
  p.add_operand(op);
  p.expect(":", "before the port's type");
  p.parse_type_of(op.operands[0]);
  p.expect(")", "after the port's type");
  attributes_and_colon(p, op);
  p.set_result_types(op, p.parse_type());
}

// "@name(%tile) { ... }": what is in the braces configures the hardware's trace unit, which nothing
// here has.
void trace(Parser& p, Operation& op) {
  set_symbol(p, op, "sym_name", "the trace's name");
  tile_in_parentheses(p, op);
  p.expect("{", "before the trace's configuration");
  for (int depth = 1; depth > 0;) {
    if (p.token().kind == TokenKind::kEnd) p.fail("expected '}' to close aie.trace");
    const Token skipped = p.take();
    depth += skipped.is("{") ? 1 : skipped.is("}") ? -1 : 0;
  }
}

void start_trace(Parser& p, Operation& op) {
  set_symbol(p, op, "trace_config", "a trace");
  p.parse_optional_attributes(op);
}

const OperationParsers kParsers = {
    {"aie.switchbox", tile_region},
    {"aie.shim_mux", tile_region},
    {"aie.connect", connect},
    {"aie.amsel", amsel},
    {"aie.masterset", masterset},
    {"aie.packet_rules", packet_rules},
    {"aie.rule", rule},
    {"aie.wire", wire},
    {"aie.put_cascade", put_cascade},
    {"aie.get_cascade", get_cascade},
    {"aie.put_stream", put_stream},
    {"aie.get_stream", get_stream},
    {"aie.trace", trace},
    {"aie.trace.start_config", start_trace},
};

}  // namespace

OperationParser find_routing_parser(std::string_view name) { return find_in(kParsers, name); }

}  // namespace tandem::npu::mlir

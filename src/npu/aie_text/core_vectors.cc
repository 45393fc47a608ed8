// vector operations of core bodies, lane by lane, the cascade's and the stream port's; see
// core_compiler.h.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "npu/aie_text/core_compiler.h"

namespace tandem::npu {

using mlir::Attribute;

namespace {

constexpr int kCascadeBits = 512;

const std::map<std::string_view, BinaryOp> kIntegerReductions = {
    {"add", BinaryOp::kAdd},           {"mul", BinaryOp::kMul},
    {"and", BinaryOp::kAnd},           {"or", BinaryOp::kOr},
    {"xor", BinaryOp::kXor},           {"minsi", BinaryOp::kMinSigned},
    {"minui", BinaryOp::kMinUnsigned}, {"maxsi", BinaryOp::kMaxSigned},
    {"maxui", BinaryOp::kMaxUnsigned}};
const std::map<std::string_view, BinaryOp> kFloatReductions = {
    {"add", BinaryOp::kAddFloat},           {"mul", BinaryOp::kMulFloat},
    {"minimumf", BinaryOp::kMinimumFloat},  {"maximumf", BinaryOp::kMaximumFloat},
    {"minnumf", BinaryOp::kMinNumberFloat}, {"maxnumf", BinaryOp::kMaxNumberFloat}};

}  // namespace

// For each dimension of a transferred vector the memref's dimension it walks, -1 where it repeats:
// the memref's last ones, or what a permutation_map says.
std::vector<int> CoreCompiler::transfer_axes(const Operation& operation, size_t vector_rank,
                                             size_t rank) const {
  std::vector<int> axes;
  const Attribute* map = operation.attribute("permutation_map");
  if (map == nullptr) {
    for (size_t i = 0; i < vector_rank && vector_rank <= rank; ++i)
      axes.push_back(static_cast<int>(rank - vector_rank + i));
    return axes;
  }
  for (const Attribute& item : map->items) {
    const bool constant = item.kind == Attribute::Kind::kInteger && item.integer == 0;
    if (!constant && (item.text != "%" || item.integer >= static_cast<int64_t>(rank))) return {};
    axes.push_back(constant ? -1 : static_cast<int>(item.integer));
  }
  return axes;
}

// vector.load, store, transfer_read, transfer_write. A transfer beyond the memref's end is refused
// when it happens, never filled up.
void CoreCompiler::compile_vector_access(const Operation& operation, bool store) {
  const size_t memref = store ? 1 : 0;
  const bool has_padding = operation.name == "vector.transfer_read";
  if (operation.operands.size() <= memref || (!store && operation.results.empty()))
    fail(operation, fmt::format("{} needs a memref and a vector", operation.name));
  const mlir::ValueId vector = store ? operation.operands[0] : operation.results[0];
  const mlir::Type& source = type_of(operation.operands[memref]);
  const mlir::Type& type = type_of(vector);
  check_in_core_memory(source, operation);
  const size_t rank = source.shape.size();
  const size_t indices = operation.operands.size() - memref - 1 - (has_padding ? 1 : 0);
  const std::vector<int> axes = transfer_axes(operation, type.shape.size(), rank);
  if (type.kind != mlir::Type::Kind::kVector || type.scalar != source.scalar ||
      axes.size() != type.shape.size() || indices != rank)
    lowering_.diagnostics.unsupported(
        operation.location,
        fmt::format("{} with this map: each dimension of the vector must be one of the memref's, "
                    "which has one index each",
                    operation.name));
  std::vector<int> offsets;
  for (size_t i = 0; i < rank; ++i) {
    offsets.push_back(register_of(operation.operands[memref + 1 + i], operation));
    int64_t extent = 1;
    for (size_t j = 0; j < axes.size(); ++j)
      if (axes[j] == static_cast<int>(i)) extent += type.shape[j] - 1;
    Instruction& check = emit(Opcode::kCheckIndex, operation);
    check.a = offsets.back();
    check.immediate = source.shape[i] - extent + 1;
  }
  const int address = offset_address(operation, register_of(operation.operands[memref], operation),
                                     source, offsets);
  const std::vector<int64_t> strides = strides_of(source);
  const int registers = store ? register_of(vector, operation) : define(operation);
  const int one = constant(1, operation);
  for (int lane = 0; lane < lanes_of(vector); ++lane) {
    int64_t offset = 0;
    int64_t left = lane;
    for (size_t i = type.shape.size(); i-- > 0; left /= type.shape[i])
      if (axes[i] >= 0) offset += left % type.shape[i] * strides[static_cast<size_t>(axes[i])];
    const int at = new_register();
    Instruction& advance = emit(Opcode::kMultiplyAdd, operation);
    advance.destination = at;
    advance.a = address;
    advance.b = one;
    advance.immediate = offset * source.scalar.bytes();
    Instruction& instruction = emit_lane(store ? Opcode::kStore : Opcode::kLoad, operation, lane);
    instruction.type = source.scalar;
    instruction.a = at;
    instruction.b = store ? registers + lane : -1;
    instruction.destination = store ? -1 : registers + lane;
  }
}

// a * b + c
void CoreCompiler::compile_fused_multiply(const Operation& operation) {
  if (operation.operands.size() != 3 || operation.results.empty())
    fail(operation, fmt::format("{} needs three operands and a result", operation.name));
  const ScalarType type = scalar_of(operation.results[0], operation);
  if (!type.is_float()) fail(operation, fmt::format("{} does not take this type", operation.name));
  const int lanes = equal_lanes(operation);
  const int a = register_of(operation.operands[0], operation);
  const int b = register_of(operation.operands[1], operation);
  const int c = register_of(operation.operands[2], operation);
  const int destination = define(operation);
  for (int lane = 0; lane < lanes; ++lane) {
    Instruction& instruction = emit_lane(Opcode::kFusedMultiplyAdd, operation, lane);
    instruction.type = type;
    instruction.a = a + lane;
    instruction.b = b + lane;
    instruction.c = c + lane;
    instruction.destination = destination + lane;
  }
}

void CoreCompiler::compile_reduction(const Operation& operation) {
  if (operation.operands.empty() || operation.results.empty())
    fail(operation, "vector.reduction needs a vector and a result");
  const BinaryOp function = reduction_of(operation, text_of(lowering_, operation, "kind"));
  const int vector = register_of(operation.operands[0], operation);
  const bool accumulates = operation.operands.size() > 1;
  int sum = accumulates ? register_of(operation.operands[1], operation) : vector;
  const int destination = define(operation);
  move(destination, sum, operation);
  for (int lane = accumulates ? 0 : 1; lane < lanes_of(operation.operands[0]); ++lane)
    combine(operation, function, lane, destination, destination, vector + lane);
}

BinaryOp CoreCompiler::reduction_of(const Operation& operation, const std::string& kind) const {
  const ScalarType type = scalar_of(operation.results[0], operation);
  const auto& functions = type.is_float() ? kFloatReductions : kIntegerReductions;
  const auto function = functions.find(kind);
  if (function == functions.end())
    fail(operation, fmt::format("'{}' is no reduction of this type", kind));
  return function->second;
}

// destination = a (function) b, in the type of the operation's result; all lanes but 0 are free.
void CoreCompiler::combine(const Operation& operation, BinaryOp function, int lane, int destination,
                           int a, int b) {
  Instruction& instruction = emit_lane(Opcode::kBinary, operation, lane);
  instruction.function = static_cast<uint8_t>(function);
  instruction.type = scalar_of(operation.results[0], operation);
  instruction.a = a;
  instruction.b = b;
  instruction.destination = destination;
}

// vector.extract %v[i]; vector.insert %value, %v[i]. Several positions name an inner vector.
void CoreCompiler::compile_lane(const Operation& operation, bool insert) {
  const size_t at = insert ? 1 : 0;
  const Attribute* position = operation.attribute("static_position");
  if (operation.operands.size() != at + 1 || operation.results.empty() || position == nullptr)
    fail(operation, fmt::format("{} needs a vector and constant positions", operation.name));
  const mlir::Type& type = type_of(operation.operands[at]);
  if (position->items.size() > type.shape.size()) fail(operation, "too many positions");
  int64_t first = 0;
  int64_t inner = lanes_of(operation.operands[at]);
  for (size_t i = 0; i < position->items.size(); ++i) {
    const int64_t index = position->items[i].integer;
    if (index < 0 || index >= type.shape[i])
      fail(operation,
           fmt::format("position {} is outside the dimension of {}", index, type.shape[i]));
    inner /= type.shape[i];
    first += index * inner;
  }
  const int vector = register_of(operation.operands[at], operation);
  const int value = insert ? register_of(operation.operands[0], operation) : -1;
  const int part = insert ? lanes_of(operation.operands[0]) : lanes_of(operation.results[0]);
  if (part != inner) fail(operation, fmt::format("{} lanes are named, not {}", inner, part));
  const int destination = define(operation);
  if (!insert) {
    for (int lane = 0; lane < part; ++lane)
      move(destination + lane, vector + static_cast<int>(first) + lane, operation);
    return;
  }
  for (int lane = 0; lane < lanes_of(operation.results[0]); ++lane) {
    const bool replaced = lane >= first && lane < first + inner;
    move(destination + lane, replaced ? value + lane - static_cast<int>(first) : vector + lane,
         operation);
  }
}

bool CoreCompiler::compile_vector(const Operation& operation) {
  const std::string& name = operation.name;
  if (name == "vector.load" || name == "vector.transfer_read") {
    compile_vector_access(operation, false);
  } else if (name == "vector.store" || name == "vector.transfer_write") {
    compile_vector_access(operation, true);
  } else if (name == "vector.fma" || name == "math.fma") {
    compile_fused_multiply(operation);
  } else if (name == "vector.reduction") {
    compile_reduction(operation);
  } else if (name == "vector.extract" || name == "vector.insert") {
    compile_lane(operation, name == "vector.insert");
  } else if (name == "vector.bitcast") {
    if (operation.operands.size() != 1 || operation.results.empty())
      fail(operation, "vector.bitcast needs a vector and a result");
    if (scalar_of(operation.operands[0], operation).bits !=
        scalar_of(operation.results[0], operation).bits)
      lowering_.diagnostics.unsupported(operation.location,
                                        "vector.bitcast between elements of different sizes");
    compile_convert(operation, ConvertOp::kBitcast);
  } else if (name == "vector.shape_cast") {
    if (operation.operands.size() != 1 || operation.results.empty())
      fail(operation, "vector.shape_cast needs a vector and a result");
    equal_lanes(operation);
    registers_[operation.results[0]] = register_of(operation.operands[0], operation);
  } else {
    return compile_vector_shape(operation);
  }
  return true;
}

// ---- the cascade, the stream port ----

// aie.put_stream(%port, %value), aie.get_stream(%port)
void CoreCompiler::compile_stream(const Operation& operation) {
  const bool put = operation.name == "aie.put_stream";
  if (operation.operands.size() != (put ? 2 : 1) || (!put && operation.results.empty()))
    fail(operation, fmt::format("{} needs a port and a value", operation.name));
  const Operation* port = lowering_.value(operation.operands[0]).definition;
  const Attribute* number = port == nullptr ? nullptr : port->attribute("value");
  if (number == nullptr || number->integer != 0)
    fail(operation, "a core has one stream port: expected the constant 0");
  const mlir::ValueId value = put ? operation.operands[1] : operation.results[0];
  const ScalarType type = scalar_of(value, operation);
  if (type.bits != 32 || lanes_of(value) != 1)
    lowering_.diagnostics.unsupported(operation.location, "streamed values other than i32 and f32");
  const int stored = put ? register_of(value, operation) : -1;
  const int loaded = put ? -1 : define(operation);
  Instruction& instruction = emit(put ? Opcode::kStreamPut : Opcode::kStreamGet, operation);
  instruction.type = type;
  instruction.a = stored;
  instruction.destination = loaded;
}

bool CoreCompiler::compile_cascade(const Operation& operation) {
  if (operation.name == "aie.put_stream" || operation.name == "aie.get_stream") {
    compile_stream(operation);
    return true;
  }
  const bool put = operation.name == "aie.put_cascade";
  if (!put && operation.name != "aie.get_cascade") return false;
  if ((put ? operation.operands : operation.results).empty())
    fail(operation, fmt::format("{} needs a value", operation.name));
  const mlir::ValueId value = put ? operation.operands[0] : operation.results[0];
  const ScalarType type = scalar_of(value, operation);
  const int lanes = lanes_of(value);
  if (lanes * type.bits != kCascadeBits || type.bits % 8 != 0)
    fail(operation, fmt::format("a cascade carries vectors of {} bits, not of {}", kCascadeBits,
                                lanes * type.bits));
  const int registers = put ? register_of(value, operation) : define(operation);
  Instruction& instruction = emit(put ? Opcode::kCascadePut : Opcode::kCascadeGet, operation);
  instruction.type = type;
  instruction.immediate = lanes;
  (put ? instruction.a : instruction.destination) = registers;
  return true;
}

}  // namespace tandem::npu

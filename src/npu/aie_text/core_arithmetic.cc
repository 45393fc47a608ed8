// arith, memref and affine operations of core bodies; see core_compiler.h.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cstring>

#include "npu/aie_text/core_compiler.h"

namespace tandem::npu {

using mlir::Attribute;
using mlir::Operation;
using mlir::ValueId;

namespace {

const std::map<std::string_view, BinaryOp> kBinaryOps = {
    {"arith.addi", BinaryOp::kAdd},
    {"arith.subi", BinaryOp::kSub},
    {"arith.muli", BinaryOp::kMul},
    {"arith.divsi", BinaryOp::kDivSigned},
    {"arith.divui", BinaryOp::kDivUnsigned},
    {"arith.ceildivsi", BinaryOp::kCeilDivSigned},
    {"arith.floordivsi", BinaryOp::kFloorDivSigned},
    {"arith.remsi", BinaryOp::kRemSigned},
    {"arith.remui", BinaryOp::kRemUnsigned},
    {"arith.andi", BinaryOp::kAnd},
    {"arith.ori", BinaryOp::kOr},
    {"arith.xori", BinaryOp::kXor},
    {"arith.shli", BinaryOp::kShiftLeft},
    {"arith.shrsi", BinaryOp::kShiftRightSigned},
    {"arith.shrui", BinaryOp::kShiftRightUnsigned},
    {"arith.minsi", BinaryOp::kMinSigned},
    {"arith.maxsi", BinaryOp::kMaxSigned},
    {"arith.minui", BinaryOp::kMinUnsigned},
    {"arith.maxui", BinaryOp::kMaxUnsigned},
    {"arith.addf", BinaryOp::kAddFloat},
    {"arith.subf", BinaryOp::kSubFloat},
    {"arith.mulf", BinaryOp::kMulFloat},
    {"arith.divf", BinaryOp::kDivFloat},
    {"arith.minimumf", BinaryOp::kMinFloat},
    {"arith.maximumf", BinaryOp::kMaxFloat},
    {"arith.minnumf", BinaryOp::kMinFloat},
    {"arith.maxnumf", BinaryOp::kMaxFloat},
};

const std::map<std::string_view, ConvertOp> kConvertOps = {
    {"arith.extsi", ConvertOp::kSignExtend},        {"arith.extui", ConvertOp::kZeroExtend},
    {"arith.trunci", ConvertOp::kTruncate},         {"arith.index_cast", ConvertOp::kSignExtend},
    {"arith.index_castui", ConvertOp::kZeroExtend}, {"arith.sitofp", ConvertOp::kSignedToFloat},
    {"arith.uitofp", ConvertOp::kUnsignedToFloat},  {"arith.fptosi", ConvertOp::kFloatToSigned},
    {"arith.fptoui", ConvertOp::kFloatToUnsigned},  {"arith.extf", ConvertOp::kFloatToFloat},
    {"arith.truncf", ConvertOp::kFloatToFloat},     {"arith.bitcast", ConvertOp::kBitcast},
};

const std::map<std::string_view, Predicate> kPredicates = {
    {"eq", Predicate::kEq},          {"ne", Predicate::kNe},
    {"slt", Predicate::kLtSigned},   {"sle", Predicate::kLeSigned},
    {"sgt", Predicate::kGtSigned},   {"sge", Predicate::kGeSigned},
    {"ult", Predicate::kLtUnsigned}, {"ule", Predicate::kLeUnsigned},
    {"ugt", Predicate::kGtUnsigned}, {"uge", Predicate::kGeUnsigned},
    {"oeq", Predicate::kEqFloat},    {"ueq", Predicate::kEqFloat},
    {"one", Predicate::kNeFloat},    {"une", Predicate::kNeFloat},
    {"olt", Predicate::kLtFloat},    {"ole", Predicate::kLeFloat},
    {"ogt", Predicate::kGtFloat},    {"oge", Predicate::kGeFloat},
};

// The generic form numbers the integer predicates in this order.
constexpr std::string_view kNumberedPredicates[] = {"eq",  "ne",  "slt", "sle", "sgt",
                                                    "sge", "ult", "ule", "ugt", "uge"};

int64_t bits_of(double value) {
  int64_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

}  // namespace

void CoreCompiler::compile_constant(const Operation& operation) {
  const Attribute* value = operation.attribute("value");
  if (value == nullptr || operation.results.empty())
    fail(operation, "arith.constant needs a value");
  const ScalarType type = scalar_of(operation.results[0], operation);
  const int destination = define(operation);
  Instruction& instruction = emit(Opcode::kConstant, operation);
  instruction.destination = destination;
  if (type.is_float()) {
    const bool real = value->kind == Attribute::Kind::kFloat;
    instruction.immediate = bits_of(real ? value->real : static_cast<double>(value->integer));
  } else if (type.bits >= 64 || type.bits == 1) {
    instruction.immediate = type.bits == 1 ? value->integer & 1 : value->integer;
  } else {
    const int shift = 64 - type.bits;
    instruction.immediate =
        static_cast<int64_t>(static_cast<uint64_t>(value->integer) << shift) >> shift;
  }
}

void CoreCompiler::compile_binary(const Operation& operation, BinaryOp function) {
  if (operation.operands.size() != 2 || operation.results.empty())
    fail(operation, fmt::format("{} needs two operands and a result", operation.name));
  const int a = register_of(operation.operands[0], operation);
  const int b = register_of(operation.operands[1], operation);
  const ScalarType type = scalar_of(operation.results[0], operation);
  if (type.is_float() != (function >= BinaryOp::kAddFloat))
    fail(operation, fmt::format("{} does not take this type", operation.name));
  const int destination = define(operation);
  Instruction& instruction = emit(Opcode::kBinary, operation);
  instruction.function = static_cast<uint8_t>(function);
  instruction.type = type;
  instruction.a = a;
  instruction.b = b;
  instruction.destination = destination;
}

void CoreCompiler::compile_compare(const Operation& operation) {
  if (operation.operands.size() != 2) fail(operation, "a comparison needs two operands");
  std::string name = text_of(lowering_, operation, "predicate");
  const bool numbered = !name.empty() && name[0] >= '0' && name[0] <= '9';
  if (numbered && operation.name == "arith.cmpi" && name.size() == 1)
    name = kNumberedPredicates[static_cast<size_t>(name[0] - '0')];
  const auto predicate = kPredicates.find(name);
  if (predicate == kPredicates.end() ||
      (predicate->second >= Predicate::kEqFloat) != (operation.name == "arith.cmpf"))
    fail(operation, fmt::format("expected a predicate of {}, found '{}'", operation.name, name));
  const int a = register_of(operation.operands[0], operation);
  const int b = register_of(operation.operands[1], operation);
  const int destination = define(operation);
  Instruction& instruction = emit(Opcode::kCompare, operation);
  instruction.function = static_cast<uint8_t>(predicate->second);
  instruction.type = scalar_of(operation.operands[0], operation);
  instruction.a = a;
  instruction.b = b;
  instruction.destination = destination;
}

void CoreCompiler::compile_convert(const Operation& operation, ConvertOp function) {
  if (operation.operands.size() != 1 || operation.results.empty())
    fail(operation, fmt::format("{} needs one operand and a result", operation.name));
  const int a = register_of(operation.operands[0], operation);
  const int destination = define(operation);
  Instruction& instruction = emit(Opcode::kConvert, operation);
  instruction.function = static_cast<uint8_t>(function);
  instruction.type = scalar_of(operation.results[0], operation);
  instruction.source_type = scalar_of(operation.operands[0], operation);
  // A narrowing index_cast is a truncation.
  if (instruction.type.bits < instruction.source_type.bits &&
      (function == ConvertOp::kSignExtend || function == ConvertOp::kZeroExtend))
    instruction.function = static_cast<uint8_t>(ConvertOp::kTruncate);
  instruction.a = a;
  instruction.destination = destination;
}

bool CoreCompiler::compile_arithmetic(const Operation& operation) {
  const std::string& name = operation.name;
  if (const auto binary = kBinaryOps.find(name); binary != kBinaryOps.end()) {
    compile_binary(operation, binary->second);
  } else if (const auto convert = kConvertOps.find(name); convert != kConvertOps.end()) {
    compile_convert(operation, convert->second);
  } else if (name == "arith.constant") {
    compile_constant(operation);
  } else if (name == "arith.cmpi" || name == "arith.cmpf") {
    compile_compare(operation);
  } else if (name == "arith.select") {
    if (operation.operands.size() != 3) fail(operation, "arith.select needs three operands");
    const int a = register_of(operation.operands[0], operation);
    const int b = register_of(operation.operands[1], operation);
    const int c = register_of(operation.operands[2], operation);
    const int destination = define(operation);
    Instruction& instruction = emit(Opcode::kSelect, operation);
    instruction.a = a;
    instruction.b = b;
    instruction.c = c;
    instruction.destination = destination;
  } else if (name == "arith.negf") {
    if (operation.operands.size() != 1) fail(operation, "arith.negf needs one operand");
    const int a = register_of(operation.operands[0], operation);
    const int zero = constant(bits_of(-0.0), operation);
    const int destination = define(operation);
    Instruction& instruction = emit(Opcode::kBinary, operation);
    instruction.function = static_cast<uint8_t>(BinaryOp::kSubFloat);
    instruction.type = scalar_of(operation.operands[0], operation);
    instruction.a = zero;
    instruction.b = a;
    instruction.destination = destination;
  } else if (name == "affine.apply") {
    const Attribute* map = operation.attribute("map");
    if (map == nullptr) fail(operation, "affine.apply is supported in its custom spelling only");
    const int value = affine_expression(*map, operation);
    if (!operation.results.empty()) registers_[operation.results[0]] = value;
  } else {
    return false;
  }
  return true;
}

int CoreCompiler::affine_expression(const Attribute& tree, const Operation& operation) {
  if (tree.kind == Attribute::Kind::kInteger) return constant(tree.integer, operation);
  if (tree.text == "%") {
    const auto index = static_cast<size_t>(tree.integer);
    if (index >= operation.operands.size()) fail(operation, "an affine expression lacks a value");
    return register_of(operation.operands[index], operation);
  }
  static const std::map<std::string_view, BinaryOp> kFunctions = {
      {"+", BinaryOp::kAdd},
      {"-", BinaryOp::kSub},
      {"*", BinaryOp::kMul},
      {"floordiv", BinaryOp::kFloorDivSigned},
      {"ceildiv", BinaryOp::kCeilDivSigned},
      {"mod", BinaryOp::kRemSigned}};
  const auto function = kFunctions.find(tree.text);
  if (function == kFunctions.end() || tree.items.size() != 2)
    fail(operation, "this affine expression is not supported");
  const int a = affine_expression(tree.items[0], operation);
  const int b = affine_expression(tree.items[1], operation);
  const int destination = new_register();
  Instruction& instruction = emit(Opcode::kBinary, operation);
  instruction.function = static_cast<uint8_t>(function->second);
  instruction.type = {ScalarType::Kind::kIndex, 64};
  instruction.a = a;
  instruction.b = b;
  instruction.destination = destination;
  return destination;
}

// ---- memref ----

std::vector<int64_t> CoreCompiler::strides_of(const mlir::Type& type) const {
  if (!type.strides.empty()) return type.strides;
  std::vector<int64_t> strides(type.shape.size(), 1);
  for (size_t i = type.shape.size(); i-- > 1;) strides[i - 1] = strides[i] * type.shape[i];
  return strides;
}

void CoreCompiler::check_in_core_memory(const mlir::Type& type, const Operation& operation) const {
  if (type.kind != mlir::Type::Kind::kMemref) fail(operation, "expected a memref");
  for (size_t i = 0; i < type.shape.size(); ++i)
    if (type.shape[i] < 0 || (i < type.strides.size() && type.strides[i] < 0))
      lowering_.diagnostics.unsupported(operation.location,
                                        "memrefs of unknown shape or stride in a core");
  if (type.scalar.bits % 8 != 0 || type.scalar.bits > 64)
    lowering_.diagnostics.unsupported(operation.location,
                                      "memory elements other than 8, 16, 32 or 64 bits in a core");
}

int CoreCompiler::offset_address(const Operation& operation, int base, const mlir::Type& source,
                                 const std::vector<int>& offsets) {
  const std::vector<int64_t> strides = strides_of(source);
  for (size_t i = 0; i < offsets.size() && i < strides.size(); ++i) {
    const int address = new_register();
    Instruction& instruction = emit(Opcode::kMultiplyAdd, operation);
    instruction.destination = address;
    instruction.a = base;
    instruction.b = offsets[i];
    instruction.immediate = strides[i] * source.scalar.bytes();
    base = address;
  }
  return base;
}

int CoreCompiler::element_address(const Operation& operation, ValueId memref,
                                  const std::vector<int>& indices) {
  const mlir::Type& type = type_of(memref);
  check_in_core_memory(type, operation);
  if (indices.size() != type.shape.size())
    fail(operation, fmt::format("{} indices for a memref of {} dimensions", indices.size(),
                                type.shape.size()));
  for (size_t i = 0; i < indices.size(); ++i) {
    Instruction& check = emit(Opcode::kCheckIndex, operation);
    check.a = indices[i];
    check.immediate = type.shape[i];
  }
  return offset_address(operation, register_of(memref, operation), type, indices);
}

std::vector<int> CoreCompiler::mixed_registers(const Operation& operation, std::string_view key,
                                               size_t& operand) {
  std::vector<int> registers;
  const Attribute* list = operation.attribute(key);
  if (list == nullptr) fail(operation, fmt::format("{} needs its {}", operation.name, key));
  for (const Attribute& item : list->items) {
    if (item.kind == Attribute::Kind::kInteger) {
      registers.push_back(constant(item.integer, operation));
    } else {
      if (operand >= operation.operands.size()) fail(operation, "too few operands");
      registers.push_back(register_of(operation.operands[operand++], operation));
    }
  }
  return registers;
}

bool CoreCompiler::compile_memory(const Operation& operation) {
  const std::string& name = operation.name;
  const bool store = name == "memref.store" || name == "affine.store";
  if (store || name == "memref.load" || name == "affine.load") {
    const size_t memref = store ? 1 : 0;
    if (operation.operands.size() <= memref)
      fail(operation, fmt::format("{} needs a memref", name));
    std::vector<int> indices;
    if (const Attribute* expressions = operation.attribute("indices")) {
      for (const Attribute& tree : expressions->items)
        indices.push_back(affine_expression(tree, operation));
    } else {
      for (size_t i = memref + 1; i < operation.operands.size(); ++i)
        indices.push_back(register_of(operation.operands[i], operation));
    }
    const int address = element_address(operation, operation.operands[memref], indices);
    const int stored = store ? register_of(operation.operands[0], operation) : -1;
    const int loaded = store ? -1 : define(operation);
    Instruction& instruction = emit(store ? Opcode::kStore : Opcode::kLoad, operation);
    instruction.type = type_of(operation.operands[memref]).scalar;
    instruction.a = address;
    instruction.b = stored;
    instruction.destination = loaded;
    return true;
  }
  if (name == "memref.copy") {
    if (operation.operands.size() != 2) fail(operation, "memref.copy needs source and target");
    const mlir::Type& type = type_of(operation.operands[0]);
    check_in_core_memory(type, operation);
    if (!type.strides.empty() || !type_of(operation.operands[1]).strides.empty())
      lowering_.diagnostics.unsupported(operation.location, "memref.copy of strided memrefs");
    const int source = register_of(operation.operands[0], operation);
    const int target = register_of(operation.operands[1], operation);
    Instruction& instruction = emit(Opcode::kCopy, operation);
    instruction.a = source;
    instruction.b = target;
    instruction.immediate = type.byte_count();
    return true;
  }
  if (name == "memref.subview" || name == "memref.reinterpret_cast") {
    if (operation.operands.empty() || operation.results.empty())
      fail(operation, fmt::format("{} needs a memref and a result", name));
    const mlir::Type& source = type_of(operation.operands[0]);
    check_in_core_memory(source, operation);
    size_t operand = 1;
    const bool subview = name == "memref.subview";
    const std::vector<int> offsets =
        mixed_registers(operation, subview ? "static_offsets" : "offset", operand);
    // A reinterpret_cast's one offset counts elements whatever the source's shape.
    const mlir::Type flat{mlir::Type::Kind::kMemref, source.scalar, {-1}, {1}, 0};
    registers_[operation.results[0]] = offset_address(
        operation, register_of(operation.operands[0], operation), subview ? source : flat, offsets);
    return true;
  }
  if (name == "memref.cast" || name == "memref.collapse_shape" || name == "memref.expand_shape" ||
      name == "memref.assume_alignment") {
    if (!operation.results.empty() && !operation.operands.empty())
      registers_[operation.results[0]] = register_of(operation.operands[0], operation);
    return true;
  }
  return false;
}

}  // namespace tandem::npu

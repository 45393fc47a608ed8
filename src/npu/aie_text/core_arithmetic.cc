// arith, math, index and affine operations of core bodies; see core_compiler.h.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cstring>
#include <span>

#include "npu/aie_text/affine.h"
#include "npu/aie_text/core_compiler.h"

namespace tandem::npu {

using mlir::Attribute;
using mlir::ValueId;

namespace {

const std::map<std::string_view, BinaryOp> kBinaryOps = {
    {"arith.addi", BinaryOp::kAdd},
    {"arith.subi", BinaryOp::kSub},
    {"arith.muli", BinaryOp::kMul},
    {"arith.divsi", BinaryOp::kDivSigned},
    {"arith.divui", BinaryOp::kDivUnsigned},
    {"arith.ceildivsi", BinaryOp::kCeilDivSigned},
    {"arith.ceildivui", BinaryOp::kCeilDivUnsigned},
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
    {"arith.remf", BinaryOp::kRemainderFloat},
    {"arith.minimumf", BinaryOp::kMinimumFloat},
    {"arith.maximumf", BinaryOp::kMaximumFloat},
    {"arith.minnumf", BinaryOp::kMinNumberFloat},
    {"arith.maxnumf", BinaryOp::kMaxNumberFloat},
    {"math.powf", BinaryOp::kPowerFloat},
    {"index.add", BinaryOp::kAdd},
    {"index.sub", BinaryOp::kSub},
    {"index.mul", BinaryOp::kMul},
    {"index.divs", BinaryOp::kDivSigned},
    {"index.divu", BinaryOp::kDivUnsigned},
    {"index.ceildivs", BinaryOp::kCeilDivSigned},
    {"index.ceildivu", BinaryOp::kCeilDivUnsigned},
    {"index.floordivs", BinaryOp::kFloorDivSigned},
    {"index.rems", BinaryOp::kRemSigned},
    {"index.remu", BinaryOp::kRemUnsigned},
    {"index.mins", BinaryOp::kMinSigned},
    {"index.maxs", BinaryOp::kMaxSigned},
    {"index.minu", BinaryOp::kMinUnsigned},
    {"index.maxu", BinaryOp::kMaxUnsigned},
    {"index.and", BinaryOp::kAnd},
    {"index.or", BinaryOp::kOr},
    {"index.xor", BinaryOp::kXor},
    {"index.shl", BinaryOp::kShiftLeft},
    {"index.shrs", BinaryOp::kShiftRightSigned},
    {"index.shru", BinaryOp::kShiftRightUnsigned},
};

const std::map<std::string_view, UnaryOp> kUnaryOps = {
    {"math.absi", UnaryOp::kAbsolute},
    {"math.ctpop", UnaryOp::kPopulationCount},
    {"math.ctlz", UnaryOp::kLeadingZeros},
    {"math.cttz", UnaryOp::kTrailingZeros},
    {"math.absf", UnaryOp::kAbsoluteFloat},
    {"math.sqrt", UnaryOp::kSqrt},
    {"math.rsqrt", UnaryOp::kInverseSqrt},
    {"math.exp", UnaryOp::kExp},
    {"math.exp2", UnaryOp::kExp2},
    {"math.log", UnaryOp::kLog},
    {"math.log2", UnaryOp::kLog2},
    {"math.sin", UnaryOp::kSin},
    {"math.cos", UnaryOp::kCos},
    {"math.tanh", UnaryOp::kTanh},
    {"math.erf", UnaryOp::kErf},
    {"math.floor", UnaryOp::kFloor},
    {"math.ceil", UnaryOp::kCeil},
    {"math.trunc", UnaryOp::kTruncate},
    {"math.round", UnaryOp::kRound},
    {"math.roundeven", UnaryOp::kRoundEven},
};

const std::map<std::string_view, ConvertOp> kConvertOps = {
    {"arith.extsi", ConvertOp::kSignExtend},        {"arith.extui", ConvertOp::kZeroExtend},
    {"arith.trunci", ConvertOp::kTruncate},         {"arith.index_cast", ConvertOp::kSignExtend},
    {"arith.index_castui", ConvertOp::kZeroExtend}, {"arith.sitofp", ConvertOp::kSignedToFloat},
    {"arith.uitofp", ConvertOp::kUnsignedToFloat},  {"arith.fptosi", ConvertOp::kFloatToSigned},
    {"arith.fptoui", ConvertOp::kFloatToUnsigned},  {"arith.extf", ConvertOp::kFloatToFloat},
    {"arith.truncf", ConvertOp::kFloatToFloat},     {"arith.bitcast", ConvertOp::kBitcast},
    {"index.casts", ConvertOp::kSignExtend},        {"index.castu", ConvertOp::kZeroExtend},
};

const std::map<std::string_view, Predicate> kPredicates = {
    {"eq", Predicate::kEq},          {"ne", Predicate::kNe},
    {"slt", Predicate::kLtSigned},   {"sle", Predicate::kLeSigned},
    {"sgt", Predicate::kGtSigned},   {"sge", Predicate::kGeSigned},
    {"ult", Predicate::kLtUnsigned}, {"ule", Predicate::kLeUnsigned},
    {"ugt", Predicate::kGtUnsigned}, {"uge", Predicate::kGeUnsigned},
};

constexpr uint8_t kE = kRelationEqual, kG = kRelationGreater, kL = kRelationLess,
                  kU = kRelationUnordered;
const std::map<std::string_view, uint8_t> kFloatPredicates = {
    {"false", 0},          {"oeq", kE},
    {"ogt", kG},           {"oge", kG | kE},
    {"olt", kL},           {"ole", kL | kE},
    {"one", kL | kG},      {"ord", kL | kE | kG},
    {"ueq", kU | kE},      {"ugt", kU | kG},
    {"uge", kU | kG | kE}, {"ult", kU | kL},
    {"ule", kU | kL | kE}, {"une", kU | kL | kG},
    {"uno", kU},           {"true", kU | kL | kE | kG},
};

// The generic form numbers the predicates in these orders.
constexpr std::string_view kNumberedPredicates[] = {"eq",  "ne",  "slt", "sle", "sgt",
                                                    "sge", "ult", "ule", "ugt", "uge"};
constexpr std::string_view kNumberedFloatPredicates[] = {"false", "oeq", "ogt", "oge", "olt", "ole",
                                                         "one",   "ord", "ueq", "ugt", "uge", "ult",
                                                         "ule",   "une", "uno", "true"};

int64_t bits_of(double value) {
  int64_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// A number of the text as a register holds it.
int64_t register_value(const DeviceLowering& lowering, const Attribute& number,
                       const ScalarType& type) {
  if (type.is_float()) return bits_of(real_of(lowering, number, type));
  if (type.bits == 1) return number.integer & 1;
  if (type.bits >= 64) return number.integer;
  const int shift = 64 - type.bits;
  return static_cast<int64_t>(static_cast<uint64_t>(number.integer) << shift) >> shift;
}

std::string predicate_name(const DeviceLowering& lowering, const mlir::Operation& operation,
                           bool real) {
  const std::string name = text_of(lowering, operation, "predicate");
  const Attribute* number = operation.attribute("predicate");
  if (number->kind != Attribute::Kind::kInteger || number->integer < 0) return name;
  const std::span<const std::string_view> names =
      real ? std::span<const std::string_view>(kNumberedFloatPredicates) : kNumberedPredicates;
  const auto index = static_cast<size_t>(number->integer);
  return index < names.size() ? std::string(names[index]) : name;
}

}  // namespace

void CoreCompiler::compile_constant(const Operation& operation) {
  const Attribute* value = operation.attribute("value");
  if (value == nullptr || operation.results.empty())
    fail(operation, fmt::format("{} needs a value", operation.name));
  const ScalarType type = scalar_of(operation.results[0], operation);
  const int lanes = lanes_of(operation.results[0]);
  const bool dense = value->kind == Attribute::Kind::kDense;
  if (dense && value->items.size() != 1 && value->items.size() != static_cast<size_t>(lanes))
    fail(operation, fmt::format("{} values for a vector of {}", value->items.size(), lanes));
  const int destination = define(operation);
  for (int lane = 0; lane < lanes; ++lane) {
    const size_t item = !dense || value->items.size() == 1 ? 0 : static_cast<size_t>(lane);
    Instruction& instruction = emit(Opcode::kConstant, operation);
    instruction.destination = destination + lane;
    instruction.immediate = register_value(lowering_, dense ? value->items[item] : *value, type);
  }
}

// One result of the operands' lanes each.
void CoreCompiler::compile_binary(const Operation& operation, BinaryOp function) {
  if (operation.operands.size() != 2 || operation.results.empty())
    fail(operation, fmt::format("{} needs two operands and a result", operation.name));
  const int a = register_of(operation.operands[0], operation);
  const int b = register_of(operation.operands[1], operation);
  const ScalarType type = scalar_of(operation.results[0], operation);
  if (type.is_float() != (function >= BinaryOp::kAddFloat))
    fail(operation, fmt::format("{} does not take this type", operation.name));
  const int lanes = equal_lanes(operation);
  const int destination = define(operation);
  for (int lane = 0; lane < lanes; ++lane) {
    Instruction& instruction = emit_lane(Opcode::kBinary, operation, lane);
    instruction.function = static_cast<uint8_t>(function);
    instruction.type = type;
    instruction.a = a + lane;
    instruction.b = b + lane;
    instruction.destination = destination + lane;
  }
}

int CoreCompiler::equal_lanes(const Operation& operation) const {
  const int lanes = lanes_of(operation.results[0]);
  for (const ValueId operand : operation.operands)
    if (lanes_of(operand) != lanes)
      fail(operation, fmt::format("{} needs operands of as many lanes as its result, {}",
                                  operation.name, lanes));
  return lanes;
}

void CoreCompiler::compile_compare(const Operation& operation) {
  if (operation.operands.size() != 2 || operation.results.empty())
    fail(operation, "a comparison needs two operands and a result");
  const bool real = operation.name == "arith.cmpf";
  const std::string name = predicate_name(lowering_, operation, real);
  const auto predicate = kPredicates.find(name);
  const auto relations = kFloatPredicates.find(name);
  if (real ? relations == kFloatPredicates.end() : predicate == kPredicates.end())
    fail(operation, fmt::format("expected a predicate of {}, found '{}'", operation.name, name));
  const int a = register_of(operation.operands[0], operation);
  const int b = register_of(operation.operands[1], operation);
  const int lanes = equal_lanes(operation);
  const int destination = define(operation);
  for (int lane = 0; lane < lanes; ++lane) {
    Instruction& instruction =
        emit_lane(real ? Opcode::kCompareFloat : Opcode::kCompare, operation, lane);
    instruction.function = real ? relations->second : static_cast<uint8_t>(predicate->second);
    instruction.type = scalar_of(operation.operands[0], operation);
    instruction.a = a + lane;
    instruction.b = b + lane;
    instruction.destination = destination + lane;
  }
}

void CoreCompiler::compile_convert(const Operation& operation, ConvertOp function) {
  if (operation.operands.size() != 1 || operation.results.empty())
    fail(operation, fmt::format("{} needs one operand and a result", operation.name));
  const int a = register_of(operation.operands[0], operation);
  const int lanes = equal_lanes(operation);
  const int destination = define(operation);
  const ScalarType to = scalar_of(operation.results[0], operation);
  const ScalarType from = scalar_of(operation.operands[0], operation);
  // A narrowing index_cast is a truncation.
  if (to.bits < from.bits &&
      (function == ConvertOp::kSignExtend || function == ConvertOp::kZeroExtend))
    function = ConvertOp::kTruncate;
  for (int lane = 0; lane < lanes; ++lane) {
    Instruction& instruction = emit_lane(Opcode::kConvert, operation, lane);
    instruction.function = static_cast<uint8_t>(function);
    instruction.type = to;
    instruction.source_type = from;
    instruction.a = a + lane;
    instruction.destination = destination + lane;
  }
}

void CoreCompiler::compile_unary(const Operation& operation, UnaryOp function) {
  if (operation.operands.size() != 1 || operation.results.empty())
    fail(operation, fmt::format("{} needs one operand and a result", operation.name));
  const ScalarType type = scalar_of(operation.results[0], operation);
  if (type.is_float() != (function >= UnaryOp::kAbsoluteFloat))
    fail(operation, fmt::format("{} does not take this type", operation.name));
  const int a = register_of(operation.operands[0], operation);
  const int lanes = equal_lanes(operation);
  const int destination = define(operation);
  for (int lane = 0; lane < lanes; ++lane) {
    Instruction& instruction = emit_lane(Opcode::kUnary, operation, lane);
    instruction.function = static_cast<uint8_t>(function);
    instruction.type = type;
    instruction.a = a + lane;
    instruction.destination = destination + lane;
  }
}

// The condition may be one for all lanes.
void CoreCompiler::compile_select(const Operation& operation) {
  if (operation.operands.size() != 3 || operation.results.empty())
    fail(operation, "arith.select needs three operands and a result");
  const int a = register_of(operation.operands[0], operation);
  const int b = register_of(operation.operands[1], operation);
  const int c = register_of(operation.operands[2], operation);
  const int lanes = lanes_of(operation.results[0]);
  const int conditions = lanes_of(operation.operands[0]);
  if (lanes_of(operation.operands[1]) != lanes || lanes_of(operation.operands[2]) != lanes ||
      (conditions != 1 && conditions != lanes))
    fail(operation, "the operands of arith.select differ in their lanes");
  const int destination = define(operation);
  for (int lane = 0; lane < lanes; ++lane) {
    Instruction& instruction = emit_lane(Opcode::kSelect, operation, lane);
    instruction.a = conditions == 1 ? a : a + lane;
    instruction.b = b + lane;
    instruction.c = c + lane;
    instruction.destination = destination + lane;
  }
}

void CoreCompiler::compile_negate(const Operation& operation) {
  if (operation.operands.size() != 1 || operation.results.empty())
    fail(operation, "arith.negf needs one operand and a result");
  const int a = register_of(operation.operands[0], operation);
  const int zero = constant(bits_of(-0.0), operation);
  const int lanes = equal_lanes(operation);
  const int destination = define(operation);
  for (int lane = 0; lane < lanes; ++lane) {
    Instruction& instruction = emit_lane(Opcode::kBinary, operation, lane);
    instruction.function = static_cast<uint8_t>(BinaryOp::kSubFloat);
    instruction.type = scalar_of(operation.operands[0], operation);
    instruction.a = zero;
    instruction.b = a + lane;
    instruction.destination = destination + lane;
  }
}

bool CoreCompiler::compile_arithmetic(const Operation& operation) {
  const std::string& name = operation.name;
  if (const auto binary = kBinaryOps.find(name); binary != kBinaryOps.end()) {
    compile_binary(operation, binary->second);
  } else if (const auto convert = kConvertOps.find(name); convert != kConvertOps.end()) {
    compile_convert(operation, convert->second);
  } else if (const auto unary = kUnaryOps.find(name); unary != kUnaryOps.end()) {
    compile_unary(operation, unary->second);
  } else if (name == "arith.constant" || name == "index.constant") {
    compile_constant(operation);
  } else if (name == "arith.cmpi" || name == "arith.cmpf" || name == "index.cmp") {
    compile_compare(operation);
  } else if (name == "arith.select") {
    compile_select(operation);
  } else if (name == "arith.negf") {
    compile_negate(operation);
  } else if (name == "affine.apply" || name == "affine.min" || name == "affine.max") {
    const Attribute* map = operation.attribute("map");
    if (map == nullptr) fail(operation, fmt::format("{} needs its map", name));
    const int value = affine_expression(
        map->text == "affine_map" ? mlir::fold_map(*map, name == "affine.min" ? "min" : "max")
                                  : *map,
        operation);
    if (!operation.results.empty()) registers_[operation.results[0]] = value;
  } else {
    return false;
  }
  return true;
}

int CoreCompiler::affine_expression(const Attribute& tree, const Operation& operation,
                                    size_t first) {
  if (tree.kind == Attribute::Kind::kInteger) return constant(tree.integer, operation);
  if (tree.text == "%") {
    const size_t index = static_cast<size_t>(tree.integer) + first;
    if (index >= operation.operands.size()) fail(operation, "an affine expression lacks a value");
    return register_of(operation.operands[index], operation);
  }
  static const std::map<std::string_view, BinaryOp> kFunctions = {
      {"+", BinaryOp::kAdd},
      {"-", BinaryOp::kSub},
      {"*", BinaryOp::kMul},
      {"floordiv", BinaryOp::kFloorDivSigned},
      {"ceildiv", BinaryOp::kCeilDivSigned},
      {"mod", BinaryOp::kModulo},
      {"min", BinaryOp::kMinSigned},
      {"max", BinaryOp::kMaxSigned}};
  const auto function = kFunctions.find(tree.text);
  if (function == kFunctions.end() || tree.items.size() != 2)
    fail(operation, "this affine expression is not supported");
  const int a = affine_expression(tree.items[0], operation, first);
  const int b = affine_expression(tree.items[1], operation, first);
  const int destination = new_register();
  Instruction& instruction = emit(Opcode::kBinary, operation);
  instruction.function = static_cast<uint8_t>(function->second);
  instruction.type = {ScalarType::Kind::kIndex, 64};
  instruction.a = a;
  instruction.b = b;
  instruction.destination = destination;
  return destination;
}

}  // namespace tandem::npu

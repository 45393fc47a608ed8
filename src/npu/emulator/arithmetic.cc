// See arithmetic.h.
// SPDX-License-Identifier: Apache-2.0
#include "npu/emulator/arithmetic.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "tensor/bf16.h"
#include "tensor/half.h"

namespace tandem::npu {
namespace {

uint64_t unsigned_of(int64_t value, const ScalarType& type) {
  const auto bits = static_cast<uint64_t>(value);
  return type.bits >= 64 ? bits : bits & ((uint64_t{1} << type.bits) - 1);
}

double round_to(double value, const ScalarType& type) {
  switch (type.kind) {
    case ScalarType::Kind::kFloat32: return static_cast<float>(value);
    case ScalarType::Kind::kBfloat16: return bf16_to_f32(f32_to_bf16(static_cast<float>(value)));
    case ScalarType::Kind::kFloat16: return f16_to_f32(f32_to_f16(static_cast<float>(value)));
    default: return value;
  }
}

int64_t divide_signed(int64_t a, int64_t b) {
  return b == -1 ? static_cast<int64_t>(0 - static_cast<uint64_t>(a)) : a / b;
}

std::optional<int64_t> divide(BinaryOp function, int64_t a, int64_t b, uint64_t ua, uint64_t ub) {
  if (ub == 0) return std::nullopt;
  const int64_t remainder = b == -1 ? 0 : a % b;
  const bool inexact = remainder != 0;
  switch (function) {
    case BinaryOp::kDivSigned: return divide_signed(a, b);
    case BinaryOp::kCeilDivSigned:
      return divide_signed(a, b) + (inexact && ((a < 0) == (b < 0)) ? 1 : 0);
    case BinaryOp::kFloorDivSigned:
      return divide_signed(a, b) - (inexact && ((a < 0) != (b < 0)) ? 1 : 0);
    case BinaryOp::kRemSigned: return remainder;
    case BinaryOp::kModulo: return inexact && ((a < 0) != (b < 0)) ? remainder + b : remainder;
    case BinaryOp::kCeilDivUnsigned: return static_cast<int64_t>(ua / ub + (ua % ub != 0 ? 1 : 0));
    case BinaryOp::kDivUnsigned: return static_cast<int64_t>(ua / ub);
    default: return static_cast<int64_t>(ua % ub);
  }
}

// -0 is less than 0.
double smaller(double a, double b) { return a < b || (a == b && std::signbit(a)) ? a : b; }

double apply_real(BinaryOp function, double a, double b) {
  switch (function) {
    case BinaryOp::kAddFloat: return a + b;
    case BinaryOp::kSubFloat: return a - b;
    case BinaryOp::kMulFloat: return a * b;
    case BinaryOp::kDivFloat: return a / b;
    case BinaryOp::kRemainderFloat: return std::fmod(a, b);
    case BinaryOp::kMinimumFloat: return std::isunordered(a, b) ? a + b : smaller(a, b);
    case BinaryOp::kMaximumFloat: return std::isunordered(a, b) ? a + b : -smaller(-a, -b);
    case BinaryOp::kMinNumberFloat: return std::fmin(a, b);
    case BinaryOp::kMaxNumberFloat: return std::fmax(a, b);
    default: return std::pow(a, b);
  }
}

int64_t apply_integer(BinaryOp function, int64_t a, int64_t b, const ScalarType& type) {
  const uint64_t ua = unsigned_of(a, type);
  const uint64_t ub = unsigned_of(b, type);
  const auto wrap = [](uint64_t value) { return static_cast<int64_t>(value); };
  const bool shifts_out = ub >= static_cast<uint64_t>(type.bits);
  switch (function) {
    case BinaryOp::kAdd: return wrap(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
    case BinaryOp::kSub: return wrap(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
    case BinaryOp::kMul: return wrap(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
    case BinaryOp::kAnd: return a & b;
    case BinaryOp::kOr: return a | b;
    case BinaryOp::kXor: return a ^ b;
    case BinaryOp::kShiftLeft: return shifts_out ? 0 : wrap(ua << ub);
    case BinaryOp::kShiftRightSigned: return shifts_out ? (a < 0 ? -1 : 0) : a >> ub;
    case BinaryOp::kShiftRightUnsigned: return shifts_out ? 0 : wrap(ua >> ub);
    case BinaryOp::kMinSigned: return a < b ? a : b;
    case BinaryOp::kMaxSigned: return a > b ? a : b;
    case BinaryOp::kMinUnsigned: return ua < ub ? a : b;
    default: return ua > ub ? a : b;
  }
}

}  // namespace

double as_real(int64_t register_value) { return std::bit_cast<double>(register_value); }
int64_t as_register(double value) { return std::bit_cast<int64_t>(value); }

int64_t normalize_integer(int64_t value, const ScalarType& type) {
  if (type.bits >= 64) return value;
  if (type.bits == 1) return value & 1;
  const int shift = 64 - type.bits;
  return static_cast<int64_t>(static_cast<uint64_t>(value) << shift) >> shift;
}

std::optional<int64_t> apply_binary(BinaryOp function, int64_t a, int64_t b,
                                    const ScalarType& type) {
  if (function >= BinaryOp::kAddFloat)
    return as_register(round_to(apply_real(function, as_real(a), as_real(b)), type));
  if (function >= BinaryOp::kDivSigned && function <= BinaryOp::kRemUnsigned) {
    const auto quotient = divide(function, a, b, unsigned_of(a, type), unsigned_of(b, type));
    if (!quotient) return std::nullopt;
    return normalize_integer(*quotient, type);
  }
  return normalize_integer(apply_integer(function, a, b, type), type);
}

namespace {

int64_t apply_integer_unary(UnaryOp function, int64_t a, const ScalarType& type) {
  const uint64_t bits = unsigned_of(a, type);
  switch (function) {
    case UnaryOp::kPopulationCount: return std::popcount(bits);
    case UnaryOp::kLeadingZeros: return std::countl_zero(bits) - (64 - type.bits);
    case UnaryOp::kTrailingZeros: return std::min(std::countr_zero(bits), type.bits);
    default:
      return normalize_integer(a < 0 ? static_cast<int64_t>(0 - static_cast<uint64_t>(a)) : a,
                               type);
  }
}

}  // namespace

int64_t apply_unary(UnaryOp function, int64_t a, const ScalarType& type) {
  if (function < UnaryOp::kAbsoluteFloat) return apply_integer_unary(function, a, type);
  const double x = as_real(a);
  const auto real = [&]() -> double {
    switch (function) {
      case UnaryOp::kSqrt: return std::sqrt(x);
      case UnaryOp::kInverseSqrt: return 1 / std::sqrt(x);
      case UnaryOp::kExp: return std::exp(x);
      case UnaryOp::kExp2: return std::exp2(x);
      case UnaryOp::kLog: return std::log(x);
      case UnaryOp::kLog2: return std::log2(x);
      case UnaryOp::kSin: return std::sin(x);
      case UnaryOp::kCos: return std::cos(x);
      case UnaryOp::kTanh: return std::tanh(x);
      case UnaryOp::kErf: return std::erf(x);
      case UnaryOp::kFloor: return std::floor(x);
      case UnaryOp::kCeil: return std::ceil(x);
      case UnaryOp::kTruncate: return std::trunc(x);
      case UnaryOp::kRound: return std::round(x);
      case UnaryOp::kRoundEven: return std::nearbyint(x);
      default: return std::fabs(x);
    }
  };
  return as_register(round_to(real(), type));
}

int64_t apply_fused(int64_t a, int64_t b, int64_t c, const ScalarType& type) {
  const double x = as_real(a), y = as_real(b), z = as_real(c);
  if (type.kind == ScalarType::Kind::kFloat32)
    return as_register(
        std::fma(static_cast<float>(x), static_cast<float>(y), static_cast<float>(z)));
  return as_register(round_to(std::fma(x, y, z), type));
}

bool apply_compare(Predicate predicate, int64_t a, int64_t b, const ScalarType& type) {
  const uint64_t ua = unsigned_of(a, type);
  const uint64_t ub = unsigned_of(b, type);
  switch (predicate) {
    case Predicate::kEq: return a == b;
    case Predicate::kNe: return a != b;
    case Predicate::kLtSigned: return a < b;
    case Predicate::kLeSigned: return a <= b;
    case Predicate::kGtSigned: return a > b;
    case Predicate::kGeSigned: return a >= b;
    case Predicate::kLtUnsigned: return ua < ub;
    case Predicate::kLeUnsigned: return ua <= ub;
    case Predicate::kGtUnsigned: return ua > ub;
    case Predicate::kGeUnsigned: return ua >= ub;
  }
  return false;
}

bool apply_compare_float(uint8_t relations, int64_t a, int64_t b) {
  const double x = as_real(a), y = as_real(b);
  const uint8_t relation = x == y  ? kRelationEqual
                           : x > y ? kRelationGreater
                           : x < y ? kRelationLess
                                   : kRelationUnordered;
  return (relations & relation) != 0;
}

int64_t apply_convert(ConvertOp function, int64_t value, const ScalarType& from,
                      const ScalarType& to) {
  switch (function) {
    case ConvertOp::kSignExtend:
      // A register holds i1 as 0 or 1; extended with its sign that is 0 or -1.
      return normalize_integer(from.bits == 1 ? -(value & 1) : value, to);
    case ConvertOp::kZeroExtend:
      return normalize_integer(static_cast<int64_t>(unsigned_of(value, from)), to);
    case ConvertOp::kTruncate: return normalize_integer(value, to);
    case ConvertOp::kSignedToFloat: return as_register(round_to(static_cast<double>(value), to));
    case ConvertOp::kUnsignedToFloat:
      return as_register(round_to(static_cast<double>(unsigned_of(value, from)), to));
    case ConvertOp::kFloatToSigned:
    case ConvertOp::kFloatToUnsigned: {
      const double real = std::trunc(as_real(value));
      constexpr double kLimit = 9223372036854775807.0;
      if (!(std::fabs(real) < kLimit)) return 0;  // out of range has no defined result
      return normalize_integer(static_cast<int64_t>(real), to);
    }
    case ConvertOp::kFloatToFloat: return as_register(round_to(as_real(value), to));
    case ConvertOp::kBitcast: {
      uint64_t bits = 0;
      store_scalar(&bits, value, from);
      return load_scalar(&bits, to);
    }
  }
  return value;
}

int64_t load_scalar(const void* memory, const ScalarType& type) {
  uint64_t bits = 0;
  std::memcpy(&bits, memory, static_cast<size_t>(type.bytes()));
  switch (type.kind) {
    case ScalarType::Kind::kFloat32:
      return as_register(std::bit_cast<float>(static_cast<uint32_t>(bits)));
    case ScalarType::Kind::kBfloat16: return as_register(bf16_to_f32(static_cast<uint16_t>(bits)));
    case ScalarType::Kind::kFloat16: return as_register(f16_to_f32(static_cast<uint16_t>(bits)));
    default: return normalize_integer(static_cast<int64_t>(bits), type);
  }
}

void store_scalar(void* memory, int64_t value, const ScalarType& type) {
  auto bits = static_cast<uint64_t>(value);
  switch (type.kind) {
    case ScalarType::Kind::kFloat32:
      bits = std::bit_cast<uint32_t>(static_cast<float>(as_real(value)));
      break;
    case ScalarType::Kind::kBfloat16: bits = f32_to_bf16(static_cast<float>(as_real(value))); break;
    case ScalarType::Kind::kFloat16: bits = f32_to_f16(static_cast<float>(as_real(value))); break;
    default: break;
  }
  std::memcpy(memory, &bits, static_cast<size_t>(type.bytes()));
}

}  // namespace tandem::npu

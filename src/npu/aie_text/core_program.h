// A core's body as a flat list of instructions over 64-bit registers, made from its text once and
// run by the emulator's interpreter. Integers are held sign-extended (i1 as 0 or 1), floats as the
// bits of a double, memory references as addresses (see make_reference), vectors as one register a
// lane, side by side.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "npu/aie_text/source_location.h"

namespace tandem::npu {

// A number's type in a core body or a kernel's argument list.
struct ScalarType {
  enum class Kind : uint8_t { kSigned, kUnsigned, kIndex, kBfloat16, kFloat16, kFloat32, kFloat64 };
  Kind kind = Kind::kSigned;
  int bits = 32;
  bool is_float() const { return kind >= Kind::kBfloat16; }
  int bytes() const { return (bits + 7) / 8; }
  friend bool operator==(const ScalarType&, const ScalarType&) = default;
};

// func.func private: a kernel some library provides.
struct KernelArgument {
  bool is_buffer = false;
  ScalarType type;     // the element, for a buffer
  uint64_t count = 1;  // elements, for a buffer of known shape
};
struct KernelDecl {
  std::string symbol;
  std::vector<KernelArgument> arguments;
  std::string link_with;
  SourceLocation location;
};

enum class Opcode : uint8_t {
  // register <- registers
  kConstant,          // dst = immediate
  kMove,              // dst = a
  kBinary,            // dst = a (BinaryOp) b, as `type`
  kCompare,           // dst = a (Predicate) b, as `type`
  kCompareFloat,      // dst = the relation of a to b is among `function`, see kRelation...
  kSelect,            // dst = a ? b : c
  kUnary,             // dst = (UnaryOp) a, as `type`
  kConvert,           // dst = a converted from `source_type` to `type` (ConvertOp)
  kMultiplyAdd,       // dst = a + b * immediate (addresses)
  kFusedMultiplyAdd,  // dst = a * b + c, rounded once to `type`
  kCheckIndex,        // fail unless 0 <= a < immediate
  // memory
  kLoad,       // dst = [a], of `type`
  kStore,      // [a] = b, of `type`
  kCopy,       // immediate bytes from [a] to [b]
  kReference,  // dst = reference to buffer `immediate` of the device
  // control
  kJump,    // to `target`
  kBranch,  // a != 0: to `target`, else to `other_target`
  kCall,    // kernel `immediate` of CoreProgram::calls
  kEnd,
  // array
  kLock,         // LockAction on device lock `target` by `immediate`
  kCascadePut,   // `immediate` registers from a on, of `type`, as one word of the cascade
  kCascadeGet,   // the same from dst on
  kStreamPut,    // a, of `type`, on the core's stream port
  kStreamGet,    // dst = a word of `type` from it
  kFifoAcquire,  // immediate elements of FifoEnd `target`
  kFifoAccess,   // dst = reference to element `immediate` counted from the oldest held
  kFifoRelease,
};

enum class BinaryOp : uint8_t {
  kAdd,
  kSub,
  kMul,
  kDivSigned,
  kDivUnsigned,
  kCeilDivSigned,
  kCeilDivUnsigned,
  kFloorDivSigned,
  kRemSigned,
  kModulo,  // the remainder of kFloorDivSigned
  kRemUnsigned,
  kAnd,
  kOr,
  kXor,
  kShiftLeft,
  kShiftRightSigned,
  kShiftRightUnsigned,
  kMinSigned,
  kMaxSigned,
  kMinUnsigned,
  kMaxUnsigned,
  kAddFloat,
  kSubFloat,
  kMulFloat,
  kDivFloat,
  kRemainderFloat,
  kMinimumFloat,  // of a NaN and a number: NaN
  kMaximumFloat,
  kMinNumberFloat,  // of a NaN and a number: the number
  kMaxNumberFloat,
  kPowerFloat,
};

enum class UnaryOp : uint8_t {
  kAbsolute,
  kPopulationCount,
  kLeadingZeros,
  kTrailingZeros,
  kAbsoluteFloat,  // the first that takes floats
  kSqrt,
  kInverseSqrt,
  kExp,
  kExp2,
  kLog,
  kLog2,
  kSin,
  kCos,
  kTanh,
  kErf,
  kFloor,
  kCeil,
  kTruncate,
  kRound,  // halves away from zero
  kRoundEven
};

enum class Predicate : uint8_t {
  kEq,
  kNe,
  kLtSigned,
  kLeSigned,
  kGtSigned,
  kGeSigned,
  kLtUnsigned,
  kLeUnsigned,
  kGtUnsigned,
  kGeUnsigned,
};

// How two floats stand to each other; a comparison names those that make it true.
inline constexpr uint8_t kRelationEqual = 1, kRelationGreater = 2, kRelationLess = 4,
                         kRelationUnordered = 8;

enum class ConvertOp : uint8_t {
  kSignExtend,
  kZeroExtend,
  kTruncate,
  kSignedToFloat,
  kUnsignedToFloat,
  kFloatToSigned,
  kFloatToUnsigned,
  kFloatToFloat,
  kBitcast,
};

enum class LockAction : uint8_t { kAcquireEqual, kRelease, kAcquireGreaterEqual };

struct Instruction {
  Opcode opcode = Opcode::kEnd;
  uint8_t function = 0;  // BinaryOp, UnaryOp, Predicate, ConvertOp or LockAction
  bool free = false;     // takes no cycle: a further lane of a vector instruction
  ScalarType type;
  ScalarType source_type;
  int destination = -1;
  int a = -1;
  int b = -1;
  int c = -1;
  int target = 0;
  int other_target = 0;
  int64_t immediate = 0;
  SourceLocation location;
};

struct CallSite {
  std::string symbol;
  std::vector<int> registers;  // one per argument of the declaration
};

// One core's end of an object FIFO: the elements it walks in order and its two locks. All indices
// are into the device's lists.
struct FifoEnd {
  std::string name;
  bool produce = false;
  std::vector<int> buffers;
  int acquire_lock = -1;  // -1: synchronisation disabled
  int release_lock = -1;
  int lock_units = 1;  // per element: the repeat count of a producer
};

struct CoreProgram {
  std::vector<Instruction> instructions;
  std::vector<CallSite> calls;
  std::vector<FifoEnd> fifo_ends;
  int register_count = 0;
};

// A memory reference: tile by column and row, then the byte in its data memory.
inline int64_t make_reference(int column, int row, uint32_t offset) {
  return (static_cast<int64_t>(column) << 40) | (static_cast<int64_t>(row) << 32) | offset;
}
inline int reference_column(int64_t reference) { return static_cast<int>(reference >> 40); }
inline int reference_row(int64_t reference) { return static_cast<int>((reference >> 32) & 0xFF); }
inline uint32_t reference_offset(int64_t reference) { return static_cast<uint32_t>(reference); }

}  // namespace tandem::npu

// SPDX-License-Identifier: Apache-2.0
#include "vulkan/spirv.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "base/error.h"

namespace tandem::vulkan {
namespace {

// Numbers of the SPIR-V specification 1.6, chapter 3.
constexpr uint32_t kMagic = 0x07230203;
enum : uint32_t {
  kOpEntryPoint = 15,
  kOpExecutionMode = 16,
  kOpTypeBool = 20,
  kOpTypeInt = 21,
  kOpTypeFloat = 22,
  kOpTypeVector = 23,
  kOpTypeArray = 28,
  kOpTypeStruct = 30,
  kOpTypePointer = 32,
  kOpConstant = 43,
  kOpSpecConstant = 50,
  kOpVariable = 59,
  kOpDecorate = 71,
  kOpMemberDecorate = 72,
  kOpExecutionModeId = 331,
};
enum : uint32_t {
  kDecorationSpecId = 1,
  kDecorationArrayStride = 6,
  kDecorationOffset = 35,
  kModelCompute = 5,
  kModeLocalSize = 17,
  kModeLocalSizeId = 38,
  kStorageWorkgroup = 4,
  kStoragePushConstant = 9,
};

struct Type {
  uint32_t op = 0;
  std::vector<uint32_t> operands;
};

class Reader {
 public:
  explicit Reader(std::span<const uint32_t> words) : words_(words) {}

  ShaderInterface read() {
    if (words_.size() < 5 || words_[0] != kMagic)
      throw Error(ErrorCode::kInvalidFile, "a shader module does not begin with SPIR-V's magic");
    for (size_t at = 5; at < words_.size();) {
      const uint32_t count = words_[at] >> 16;
      if (count == 0 || at + count > words_.size())
        throw Error(ErrorCode::kInvalidFile,
                    fmt::format("a SPIR-V instruction at word {} ends past the module", at));
      instruction(words_[at] & 0xffff, words_.subspan(at + 1, count - 1));
      at += count;
    }
    return finish();
  }

 private:
  using Operands = std::span<const uint32_t>;

  static uint32_t need(Operands operands, size_t index) {
    if (index >= operands.size())
      throw Error(ErrorCode::kInvalidFile, "a SPIR-V instruction lacks an operand");
    return operands[index];
  }

  void instruction(uint32_t op, Operands o) {
    switch (op) {
      case kOpEntryPoint: entry_point(o); break;
      case kOpExecutionMode:
      case kOpExecutionModeId: execution_mode(o); break;
      case kOpDecorate: decorate(o); break;
      case kOpMemberDecorate:
        if (need(o, 2) == kDecorationOffset) offsets_[{need(o, 0), need(o, 1)}] = need(o, 3);
        break;
      case kOpTypeBool:
      case kOpTypeInt:
      case kOpTypeFloat:
      case kOpTypeVector:
      case kOpTypeArray:
      case kOpTypeStruct:
      case kOpTypePointer: types_[need(o, 0)] = {op, {o.begin() + 1, o.end()}}; break;
      case kOpConstant:
      case kOpSpecConstant: constants_[need(o, 1)] = need(o, 2); break;
      case kOpVariable: variables_.emplace_back(need(o, 2), need(o, 0)); break;
      default: break;
    }
  }

  void entry_point(Operands o) {
    need(o, 2);
    const auto* text = reinterpret_cast<const char*>(&o[2]);
    const std::string_view name(text, strnlen(text, (o.size() - 2) * sizeof(uint32_t)));
    if (need(o, 0) != kModelCompute || name != "main" || has_entry_)
      throw Error(ErrorCode::kInvalidFile,
                  "a shader module needs one compute entry point named main");
    has_entry_ = true;
  }

  void execution_mode(Operands o) {
    const uint32_t mode = need(o, 1);
    if (mode != kModeLocalSize && mode != kModeLocalSizeId) return;
    local_size_by_id_ = mode == kModeLocalSizeId;
    for (size_t i = 0; i < 3; ++i) local_size_[i] = need(o, 2 + i);
  }

  void decorate(Operands o) {
    if (need(o, 1) == kDecorationSpecId) interface_.constant_ids.push_back(need(o, 2));
    if (need(o, 1) == kDecorationArrayStride) strides_[need(o, 0)] = need(o, 2);
  }

  uint32_t constant(uint32_t id) const {
    const auto found = constants_.find(id);
    return found == constants_.end() ? 1 : found->second;
  }

  // Bytes of a type; arrays of computed length count once.
  uint32_t size_of(uint32_t id) const {
    const auto found = types_.find(id);
    if (found == types_.end()) return 0;
    const auto& [op, o] = found->second;
    switch (op) {
      case kOpTypeBool: return 4;
      case kOpTypeInt:
      case kOpTypeFloat: return need(o, 0) / 8;
      case kOpTypeVector: return size_of(need(o, 0)) * need(o, 1);
      case kOpTypePointer: return 8;
      case kOpTypeArray: {
        const auto stride = strides_.find(id);
        const uint32_t each = stride == strides_.end() ? size_of(need(o, 0)) : stride->second;
        return each * constant(need(o, 1));
      }
      case kOpTypeStruct: return struct_size(id, o);
      default: return 0;
    }
  }

  uint32_t struct_size(uint32_t id, Operands members) const {
    uint32_t end = 0;
    for (uint32_t i = 0; i < members.size(); ++i) {
      const auto offset = offsets_.find({id, i});
      const uint32_t begin = offset == offsets_.end() ? end : offset->second;
      end = std::max(end, begin + size_of(members[i]));
    }
    return end;
  }

  bool has_wide_member(uint32_t id) const {
    const auto found = types_.find(id);
    if (found == types_.end()) return false;
    const auto& [op, o] = found->second;
    if (op == kOpTypePointer) return true;
    if (op == kOpTypeInt || op == kOpTypeFloat) return need(o, 0) == 64;
    if (op == kOpTypeVector || op == kOpTypeArray) return has_wide_member(need(o, 0));
    return op == kOpTypeStruct && std::any_of(o.begin(), o.end(), [&](uint32_t member) {
             return has_wide_member(member);
           });
  }

  ShaderInterface finish() {
    if (!has_entry_)
      throw Error(ErrorCode::kInvalidFile,
                  "a shader module needs one compute entry point named main");
    for (size_t i = 0; i < 3; ++i)
      interface_.workgroup[i] = local_size_by_id_ ? constant(local_size_[i]) : local_size_[i];
    for (const auto& [storage, pointer] : variables_) {
      const auto type = types_.find(pointer);
      if (type == types_.end() || type->second.op != kOpTypePointer) continue;
      const uint32_t size = size_of(need(type->second.operands, 1));
      // As sizeof rounds a struct that holds addresses.
      if (storage == kStoragePushConstant)
        interface_.push_constant_size =
            has_wide_member(need(type->second.operands, 1)) ? (size + 7) / 8 * 8 : size;
      if (storage == kStorageWorkgroup) interface_.shared_size += size;
    }
    std::sort(interface_.constant_ids.begin(), interface_.constant_ids.end());
    return interface_;
  }

  std::span<const uint32_t> words_;
  ShaderInterface interface_;
  bool has_entry_ = false, local_size_by_id_ = false;
  std::array<uint32_t, 3> local_size_{1, 1, 1};
  std::map<uint32_t, Type> types_;
  std::map<uint32_t, uint32_t> constants_, strides_;
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> offsets_;
  std::vector<std::pair<uint32_t, uint32_t>> variables_;  // storage class, pointer type
};

}  // namespace

ShaderInterface read_interface(std::span<const uint32_t> words) { return Reader(words).read(); }

}  // namespace tandem::vulkan

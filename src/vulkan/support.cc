// SPDX-License-Identifier: Apache-2.0
#include "vulkan/support.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "vulkan/weight_layout.h"

namespace tandem::vulkan {
namespace {

constexpr std::array kHeadSizes = {32u, 64u, 128u, 256u};
// Of shared memory beside x: sums of splits, reductions.
constexpr uint32_t kSharedReserve = 6144;

Support no(std::string reason) { return {false, std::move(reason)}; }
Support yes() { return {true, {}}; }

bool is_norm(Op op, uint32_t index) {
  switch (op) {
    case Op::kQkv:
    case Op::kHead: return index == 0;
    case Op::kAttnCore:
    case Op::kQkNormRope:
    case Op::kRmsNorm:
    case Op::kRmsNormAdd: return true;
    case Op::kAttnOut: return index == 1;
    case Op::kFfn: return index == 0 || index == 4;
    default: return false;
  }
}

Support check_types(const OpSpec& spec) {
  for (uint32_t i = 0; i < spec.weights.count; ++i) {
    const DType dtype = spec.weights.types[i];
    if (is_norm(spec.op, i) ? dtype != DType::kF32 : !has_weight_layout(dtype))
      return no(fmt::format("no shader reads {} weights there", dtype_name(dtype)));
  }
  return yes();
}

// x of a product lies in shared memory as int8 with 8 bytes a group of 32.
Support check_width(const VulkanDeviceInfo& device, const char* name, uint32_t width) {
  if (width % 32 != 0) return no(fmt::format("{} {} is not a multiple of 32", name, width));
  if (width / 32 * 40 + kSharedReserve > device.shared_memory_size)
    return no(fmt::format("{} {} needs more than the {} bytes of shared memory", name, width,
                          device.shared_memory_size));
  return yes();
}

Support check_core(const OpSpec& spec) {
  const LayerConfig& c = *spec.config;
  if (std::find(kHeadSizes.begin(), kHeadSizes.end(), c.head_dim) == kHeadSizes.end())
    return no(fmt::format("head_dim {} is none of 32, 64, 128, 256", c.head_dim));
  if (c.kv_heads == 0 || c.heads % c.kv_heads != 0)
    return no(fmt::format("{} heads do not divide into {} KV heads", c.heads, c.kv_heads));
  if (spec.kv != DType::kF16 && spec.kv != DType::kI8 && spec.kv != DType::kF32)
    return no(fmt::format("no shader reads a {} KV cache", dtype_name(spec.kv)));
  return yes();
}

Support first_no(std::initializer_list<Support> answers) {
  for (const Support& answer : answers)
    if (!answer.ok) return answer;
  return yes();
}

}  // namespace

Support supports_op(const VulkanDeviceInfo& device, const OpSpec& spec) {
  if (spec.config == nullptr) return no("the layer's configuration is missing");
  const LayerConfig& c = *spec.config;
  Support types = check_types(spec);
  const Support hidden = check_width(device, "hidden size", c.hidden);
  switch (spec.op) {
    case Op::kEmbed: return types;
    case Op::kQkv:
    case Op::kHead: return first_no({types, hidden});
    case Op::kAttnOut:
      return first_no({types, hidden, check_width(device, "q width", c.q_width())});
    case Op::kFfn: return first_no({types, hidden, check_width(device, "FFN width", c.ffn)});
    case Op::kAttnCore:
    case Op::kQkNormRope:
    case Op::kAttention: return first_no({types, check_core(spec)});
    case Op::kMatmul:
    case Op::kRmsNorm:
    case Op::kRmsNormAdd: return types;
    case Op::kGeglu:
    case Op::kGather:
    case Op::kArgmax:
    case Op::kTopK: return yes();
  }
  return no("it is unknown here");
}

}  // namespace tandem::vulkan

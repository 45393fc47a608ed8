// SPDX-License-Identifier: Apache-2.0
#include "vulkan/ops/attention_prefill.h"

#include "vulkan/ops/ops.h"
#include "vulkan/shaders/include/prefill_params.h"

namespace tandem::vulkan {
namespace {

constexpr uint32_t kQueries = 32;  // of a workgroup; as in attention.comp
constexpr uint32_t kMostHeadSize = 256;

}  // namespace

bool use_attention_prefill(ProgramBuilder& builder, const Node& node) {
  const LayerConfig& config = *node.spec.config;
  return node.spec.max_rows >= builder.context().matmul_min_rows && config.head_dim % 32 == 0 &&
         config.head_dim <= kMostHeadSize && config.heads / config.kv_heads <= kQueries;
}

void attend_many(ProgramBuilder& builder, const Node& node, uint32_t mode,
                 const AttentionDecodeParams& decode) {
  const LayerConfig& config = *node.spec.config;
  const uint32_t group = config.heads / config.kv_heads;
  const uint32_t rows = kQueries / group;  // of a workgroup
  const uint32_t max_rows = node.spec.max_rows;
  const AttentionParams push{.batch = decode.batch,
                             .qkv = decode.qkv,
                             .target = decode.target,
                             .k = decode.k,
                             .v = decode.v,
                             .k_scale = decode.k_scale,
                             .v_scale = decode.v_scale,
                             .q_norm = decode.q_norm,
                             .facts = decode.facts,
                             .qkv_stride = decode.qkv_stride,
                             .target_stride = decode.target_stride,
                             .capacity = decode.capacity,
                             .cache_stride = decode.cache_stride,
                             .scale_stride = decode.scale_stride,
                             .reserved = 0};
  const Pipeline& pipeline = builder.pipeline("attention",
                                              {{kSpecHeadSize, config.head_dim},
                                               {kSpecKv, cache_kind(node.spec.kv)},
                                               {kSpecGroup, group},
                                               {kSpecMode, mode}},
                                              sizeof push);
  const uint64_t length =
      config.window != 0 ? std::min(config.window, decode.capacity) : decode.capacity;
  builder.dispatch(pipeline, push, {(max_rows + rows - 1) / rows, config.kv_heads, 1},
                   {"core", 2 * length * config.kv_width() * dtype_size(node.spec.kv, 1),
                    4 * length * config.q_width() * max_rows});
}

}  // namespace tandem::vulkan

// The attention core: QK-norm, RoPE, KV write and attention, in one dispatch for a row of each
// sequence.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>

#include "vulkan/ops/attention_prefill.h"
#include "vulkan/ops/ops.h"

namespace tandem::vulkan {
namespace {

// The angle that a position adds to pair i, in turns times 2^64: the fraction of a turn is kept
// exactly by wrapping multiplication.
uint64_t turns(const LayerConfig& config, uint32_t i) {
  const long double frequency =
      config.rope_scale *
      std::pow(static_cast<long double>(config.rope_base),
               -2.0L * static_cast<long double>(i) / static_cast<long double>(config.head_dim));
  const long double fraction =
      std::fmod(frequency / (2.0L * std::numbers::pi_v<long double>), 1.0L);
  return static_cast<uint64_t>(std::ldexp(fraction, 64));
}

AttentionFacts facts_of(const LayerConfig& config) {
  AttentionFacts facts{};
  facts.heads = config.heads;
  facts.kv_heads = config.kv_heads;
  facts.window = config.window;
  facts.scale = config.attention_scale;
  facts.epsilon = config.norm_epsilon;
  for (uint32_t i = 0; i < config.head_dim / 2; ++i) facts.turns[i] = turns(config, i);
  return facts;
}

uint32_t heads_together(const Tuning& tuning, const LayerConfig& config) {
  const uint32_t group = config.heads / config.kv_heads;
  uint32_t heads = std::min(group, tuning.attention_heads);
  while (group % heads != 0) --heads;
  return heads;
}

// What a mode of the shader works on, by place in the node's arguments.
struct Places {
  size_t qkv, cache;  // of k; v, k_scale, v_scale follow
  std::optional<size_t> target;
};

AttentionDecodeParams common_params(ProgramBuilder& builder, const Node& node,
                                    const Places& places) {
  AttentionDecodeParams push{};
  push.batch = builder.batch();
  push.qkv = node.rows[places.qkv].address;
  push.qkv_stride = node.rows[places.qkv].stride;
  if (places.target) {
    push.target = node.rows[*places.target].address;
    push.target_stride = node.rows[*places.target].stride;
  }
  push.k = node.addresses[places.cache];
  push.v = node.addresses[places.cache + 1];
  push.k_scale = node.addresses[places.cache + 2];
  push.v_scale = node.addresses[places.cache + 3];
  const TensorView& k = node.views[places.cache];
  push.capacity = k.rows();
  push.cache_stride = static_cast<uint32_t>(k.strides[1] / dtype_size(node.spec.kv, 1));
  push.scale_stride =
      static_cast<uint32_t>(node.views[places.cache + 2].strides[1] / sizeof(uint16_t));
  if (node.weights != nullptr) {
    push.q_norm = node.weights->vector(0).address;
    push.k_norm = node.weights->vector(1).address;
  }
  push.facts = builder.table(facts_of(*node.spec.config));
  return push;
}

const Pipeline& pipeline_of(ProgramBuilder& builder, const Node& node, uint32_t mode) {
  Context& context = builder.context();
  const LayerConfig& config = *node.spec.config;
  const uint32_t lanes =
      std::min({config.head_dim / 8, context.subgroup(), context.tuning.attention_lanes});
  const uint32_t runs = config.head_dim / 8 / lanes;  // of a position, of an invocation
  return builder.pipeline(
      "attention_decode",
      {{kSpecWorkgroup, context.tuning.attention_workgroup},
       {kSpecHeadSize, config.head_dim},
       {kSpecKv, cache_kind(node.spec.kv)},
       {kSpecHeadsTogether, heads_together(context.tuning, config)},
       {kSpecMode, mode},
       {kSpecPositionLanes, lanes},
       {kSpecSubgroups, context.tuning.attention_workgroup / context.subgroup()},
       {kSpecLeastTiles, context.tuning.attention_least_tiles},
       {kSpecAhead, std::max(1u, context.tuning.attention_ahead / runs)},
       {kSpecChained, builder.chained() ? 1u : 0u}},
      sizeof(AttentionDecodeParams));
}

uint32_t head_blocks(const Tuning& tuning, const LayerConfig& config) {
  return config.heads / heads_together(tuning, config);
}

// Writes k and v (and rotates qkv, in kModeRotate) for all rows.
void dispatch_write(ProgramBuilder& builder, const Node& node, uint32_t mode,
                    const AttentionDecodeParams& push) {
  const LayerConfig& config = *node.spec.config;
  const uint64_t bytes = uint64_t{node.spec.max_rows} * config.qkv_width() * sizeof(float);
  builder.dispatch(pipeline_of(builder, node, mode), push,
                   {head_blocks(builder.context().tuning, config), 1, node.spec.max_rows},
                   {"kv_write", bytes, 0});
}

// Attends in as many parts as fill the device.
void dispatch_attend(ProgramBuilder& builder, const Node& node, uint32_t mode,
                     AttentionDecodeParams push) {
  if (mode != kModeFused && use_attention_prefill(builder, node))
    return attend_many(builder, node, mode, push);
  Context& context = builder.context();
  const LayerConfig& config = *node.spec.config;
  const uint32_t max_rows = node.spec.max_rows;
  const uint32_t blocks = head_blocks(builder.context().tuning, config);
  const uint32_t wanted = context.units() * context.tuning.attention_per_unit;
  const uint32_t parts = std::clamp(wanted / (blocks * max_rows), 1u, kMostParts);
  if (parts > 1) {
    const size_t slots = size_t{blocks} * max_rows;
    const size_t partial = size_t{heads_together(context.tuning, config)} * (config.head_dim + 2);
    push.scratch = builder.scratch(Scratch::kAttention,
                                   (slots * parts * partial + slots) * sizeof(float), true);
  }
  const uint64_t length =
      config.window != 0 ? std::min(config.window, push.capacity) : push.capacity;
  builder.dispatch(pipeline_of(builder, node, mode), push, {blocks, parts, max_rows},
                   {"core", 2 * length * config.kv_width() * dtype_size(node.spec.kv, 1),
                    4 * length * config.q_width() * max_rows});
}

}  // namespace

uint32_t cache_kind(DType dtype) {
  if (dtype == DType::kI8) return kCacheQ8;
  return dtype == DType::kF32 ? kCacheF32 : kCacheF16;
}

// Arguments: out, k, v, k_scale, v_scale, qkv.
void record_attention_core(ProgramBuilder& builder, const Node& node) {
  const AttentionDecodeParams push = common_params(builder, node, {5, 1, 0});
  if (node.spec.max_rows == 1 || node.spec.phase == Phase::kDecode)
    return dispatch_attend(builder, node, kModeFused, push);
  // Rows of one sequence attend to each other, so all are written first.
  dispatch_write(builder, node, kModeWrite, push);
  dispatch_attend(builder, node, kModeAttend, push);
}

// Arguments: qkv, k, v, k_scale, v_scale.
void record_qk_norm_rope(ProgramBuilder& builder, const Node& node) {
  dispatch_write(builder, node, kModeRotate, common_params(builder, node, {0, 1, {}}));
}

// Arguments: out, k, v, k_scale, v_scale, qkv.
void record_attention(ProgramBuilder& builder, const Node& node) {
  dispatch_attend(builder, node, kModeReady, common_params(builder, node, {5, 1, 0}));
}

}  // namespace tandem::vulkan

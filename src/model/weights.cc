// SPDX-License-Identifier: Apache-2.0
#include "model/weights.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/error.h"

namespace tandem {
namespace {

// Rows and columns of a layer's tensor, by the config's fields.
enum class Dim : uint8_t { kOne, kHidden, kFfn, kHeadDim, kQWidth, kKvWidth };

struct LayerTensor {
  std::string_view suffix;  // "blk.I." + suffix + ".weight" (llama.cpp's names)
  Op node;
  Dim rows, cols;
};

// Grouped by node, in the order of op.h.
constexpr std::array kLayerTensors = {
    LayerTensor{"attn_norm", Op::kQkv, Dim::kOne, Dim::kHidden},
    LayerTensor{"attn_q", Op::kQkv, Dim::kQWidth, Dim::kHidden},
    LayerTensor{"attn_k", Op::kQkv, Dim::kKvWidth, Dim::kHidden},
    LayerTensor{"attn_v", Op::kQkv, Dim::kKvWidth, Dim::kHidden},
    LayerTensor{"attn_q_norm", Op::kAttnCore, Dim::kOne, Dim::kHeadDim},
    LayerTensor{"attn_k_norm", Op::kAttnCore, Dim::kOne, Dim::kHeadDim},
    LayerTensor{"attn_output", Op::kAttnOut, Dim::kHidden, Dim::kQWidth},
    LayerTensor{"post_attention_norm", Op::kAttnOut, Dim::kOne, Dim::kHidden},
    LayerTensor{"ffn_norm", Op::kFfn, Dim::kOne, Dim::kHidden},
    LayerTensor{"ffn_gate", Op::kFfn, Dim::kFfn, Dim::kHidden},
    LayerTensor{"ffn_up", Op::kFfn, Dim::kFfn, Dim::kHidden},
    LayerTensor{"ffn_down", Op::kFfn, Dim::kHidden, Dim::kFfn},
    LayerTensor{"post_ffw_norm", Op::kFfn, Dim::kOne, Dim::kHidden},
};

uint32_t extent(Dim dim, const LayerConfig& c) {
  switch (dim) {
    case Dim::kOne: return 1;
    case Dim::kHidden: return c.hidden;
    case Dim::kFfn: return c.ffn;
    case Dim::kHeadDim: return c.head_dim;
    case Dim::kQWidth: return c.q_width();
    case Dim::kKvWidth: return c.kv_width();
  }
  return 0;
}

bool belongs_to_vision_tower(std::string_view name) {
  return name.substr(0, 2) == "v." || name.substr(0, 3) == "mm.";
}

}  // namespace

WeightTypes NodeWeights::types() const {
  WeightTypes result;
  result.count = count;
  for (uint32_t i = 0; i < count; ++i) result.types[i] = tensors[i]->dtype;
  return result;
}

std::array<TensorView, 6> NodeWeights::views() const {
  std::array<TensorView, 6> result;
  for (uint32_t i = 0; i < count; ++i) result[i] = tensors[i]->view();
  return result;
}

uint64_t NodeWeights::size() const {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count; ++i) sum += tensors[i]->data.size();
  return sum;
}

ModelWeights::ModelWeights(const GgufFile& file, const ModelConfig& config) : file_(&file) {
  const LayerConfig& common = config.common();
  embedding_ = require("token_embd.weight", config.vocab, common.hidden);
  final_norm_ = require("output_norm.weight", 1, common.hidden);
  head_ = file.find_tensor("output.weight") == nullptr
              ? embedding_
              : require("output.weight", config.vocab, common.hidden);
  layers_.resize(config.layers.size());
  for (size_t i = 0; i < layers_.size(); ++i)
    for (size_t t = 0; t < kLayerTensors.size(); ++t)
      layers_[i][t] = require(fmt::format("blk.{}.{}.weight", i, kLayerTensors[t].suffix),
                              extent(kLayerTensors[t].rows, config.layers[i]),
                              extent(kLayerTensors[t].cols, config.layers[i]));
  for (const GgufTensor& tensor : file.tensors())
    if (belongs_to_vision_tower(tensor.name)) ++skipped_count_;
}

const GgufTensor* ModelWeights::require(std::string_view name, uint64_t rows, uint64_t cols) {
  const GgufTensor* tensor = file_->find_tensor(name);
  if (tensor == nullptr)
    throw Error(
        ErrorCode::kInvalidFile,
        fmt::format("{}: tensor {} is missing; the file is incomplete", file_->name(), name));
  const auto& d = tensor->dims;
  if (d[0] != cols || d[1] != rows || d[2] != 1 || d[3] != 1)
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("{}: offset {}: tensor {} is {} x {}, expected {} x {}", file_->name(),
                            tensor->offset, name, d[1], d[0], rows, cols));
  if (rows == 1 && tensor->dtype != DType::kF32)
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{}: norm {} is {}, expected f32", file_->name(), name,
                            dtype_name(tensor->dtype)));
  parameter_count_ += rows * cols;
  size_ += tensor->data.size();
  return tensor;
}

NodeWeights ModelWeights::node(Op op, uint32_t layer) const {
  NodeWeights result;
  const auto add = [&](const GgufTensor* tensor) { result.tensors[result.count++] = tensor; };
  if (op == Op::kEmbed) {
    add(embedding_);
  } else if (op == Op::kHead) {
    add(final_norm_);
    add(head_);
  } else {
    TANDEM_CHECK(layer < layers_.size(), "layer %u of %zu", layer, layers_.size());
    for (size_t t = 0; t < kLayerTensors.size(); ++t)
      if (kLayerTensors[t].node == op) add(layers_[layer][t]);
  }
  return result;
}

}  // namespace tandem

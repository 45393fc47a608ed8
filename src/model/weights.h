// Where each weight of the model is in the file: names, shapes, and the views each node needs.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backend/op.h"
#include "gguf/gguf.h"
#include "model/config.h"
#include "tensor/tensor_view.h"

namespace tandem {

// The file's tensors of one node, in the order of op.h.
struct NodeWeights {
  std::array<const GgufTensor*, 6> tensors{};
  uint32_t count = 0;

  WeightTypes types() const;
  std::array<TensorView, 6> views() const;
  uint64_t size() const;  // bytes in the file
};

// All weights of a model, checked: every tensor present, of the right shape, norms in f32. Does
// not own the file, which must outlive it.
class ModelWeights {
 public:
  // Throws kInvalidFile naming the tensor. Tensors of the vision tower (v.*, mm.*) are left alone.
  ModelWeights(const GgufFile& file, const ModelConfig& config);

  // `layer` counts for the nodes of a layer only.
  NodeWeights node(Op op, uint32_t layer) const;
  const GgufFile& file() const { return *file_; }
  // Elements of all weights, and their bytes, the tied embedding counted once.
  uint64_t parameter_count() const { return parameter_count_; }
  uint64_t size() const { return size_; }
  // Whether the head is the embedding: one tensor under two nodes.
  bool tied() const { return head_ == embedding_; }
  // Bytes read for one token: every layer's weights and the head, not the embedding's one row.
  uint64_t size_per_token() const { return size_ - (tied() ? 0 : embedding_->data.size()); }
  // Tensors of the vision tower that were left alone.
  uint32_t skipped_count() const { return skipped_count_; }

 private:
  const GgufTensor* require(std::string_view name, uint64_t rows, uint64_t cols);

  const GgufFile* file_;
  const GgufTensor* embedding_ = nullptr;
  const GgufTensor* head_ = nullptr;  // output.weight where a file has one, else the embedding
  const GgufTensor* final_norm_ = nullptr;
  std::vector<std::array<const GgufTensor*, 13>> layers_;
  uint64_t parameter_count_ = 0;
  uint64_t size_ = 0;
  uint32_t skipped_count_ = 0;
};

}  // namespace tandem

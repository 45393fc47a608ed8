// Weights on the device: packed matrices and f32 vectors of one node.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "base/threads.h"
#include "vulkan/memory.h"

namespace tandem::vulkan {

// A matrix (or, with one f32 row, a norm's weights) at an address.
struct Matrix {
  DType dtype = DType::kF32;
  uint32_t rows = 0, cols = 0;
  uint32_t row_size = 0;  // bytes
  VkDeviceAddress address = 0;
  size_t size() const { return size_t{rows} * row_size; }
};

class VulkanWeights : public Weights {
 public:
  size_t size() const override;
  // Weights [index, index + count) in the order of op.h's table. A matrix larger than one
  // allocation is cut into runs of rows, each a matrix of its own.
  std::span<const Matrix> parts(size_t index, size_t count = 1) const {
    return std::span(matrices_).subspan(first_part_[index],
                                        first_part_[index + count] - first_part_[index]);
  }
  // Parts beyond one for each of the weights.
  size_t cuts() const { return matrices_.size() - (first_part_.size() - 1); }
  // One row, which is never cut.
  const Matrix& vector(size_t index) const { return matrices_[first_part_[index]]; }

 private:
  friend class WeightStore;
  std::vector<Matrix> matrices_;
  std::vector<size_t> first_part_ = {0};  // of each weight, and one past the last
  // Shared, since the embedding and the head are one table under two nodes.
  std::vector<std::shared_ptr<Buffer>> buffers_;
};

// Uploads weights, the shared ones once however many nodes use them.
class WeightStore {
 public:
  explicit WeightStore(Memory& memory) : memory_(memory) {}
  // `shared` says that the bytes stay mapped, so that their address identifies the tensor.
  std::unique_ptr<VulkanWeights> load(std::span<const TensorView> file, bool shared);

 private:
  struct Key {
    const std::byte* data;
    DType dtype;
    auto operator<=>(const Key&) const = default;
  };
  std::shared_ptr<Buffer> upload(const TensorView& view, const Matrix& matrix);
  std::shared_ptr<Buffer> find_or_upload(const TensorView& view, const Matrix& matrix);

  Memory& memory_;
  ThreadPool threads_{0};  // that pack
  std::map<Key, std::weak_ptr<Buffer>> loaded_;
};

}  // namespace tandem::vulkan

// SPDX-License-Identifier: Apache-2.0
#include "vulkan/weights.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "vulkan/weight_layout.h"

namespace tandem::vulkan {
namespace {

Matrix describe(const TensorView& view) {
  Matrix matrix;
  matrix.dtype = view.dtype;
  matrix.rows = view.rows();
  matrix.cols = view.cols();
  matrix.row_size = static_cast<uint32_t>(packed_row_size(view.dtype, view.cols()));
  return matrix;
}

void pack(const TensorView& view, uint32_t row, std::span<std::byte> packed) {
  pack_row(view.dtype, {view.row(0, row), dtype_size(view.dtype, view.cols())}, packed);
}

// Rows of one allocation.
uint32_t rows_at_most(const TensorView& view, size_t max_allocation) {
  const size_t fitting = max_allocation / packed_row_size(view.dtype, view.cols());
  return static_cast<uint32_t>(std::clamp<size_t>(fitting, 1, view.rows()));
}

}  // namespace

size_t VulkanWeights::size() const {
  size_t sum = 0;
  for (const Matrix& matrix : matrices_) sum += matrix.size();
  return sum;
}

std::shared_ptr<Buffer> WeightStore::upload(const TensorView& view, const Matrix& matrix) {
  auto buffer = std::make_shared<Buffer>(
      memory_.allocate(matrix.size(), Placement::kDevice, "the model's weights"));
  const uint32_t rows_at_a_time =
      std::max<uint32_t>(1, static_cast<uint32_t>(memory_.upload_chunk() / matrix.row_size));
  TANDEM_CHECK(matrix.row_size <= memory_.upload_chunk(), "a row of %u bytes", matrix.row_size);
  for (uint32_t first = 0; first < matrix.rows; first += rows_at_a_time) {
    const uint32_t count = std::min(rows_at_a_time, matrix.rows - first);
    memory_.upload(*buffer, size_t{first} * matrix.row_size, size_t{count} * matrix.row_size,
                   [&](std::span<std::byte> chunk, size_t) {
                     threads_.run([&](uint32_t thread) noexcept {
                       for (uint32_t i = thread; i < count; i += threads_.size())
                         pack(view, first + i,
                              chunk.subspan(size_t{i} * matrix.row_size, matrix.row_size));
                     });
                   });
  }
  return buffer;
}

std::shared_ptr<Buffer> WeightStore::find_or_upload(const TensorView& view, const Matrix& matrix) {
  std::weak_ptr<Buffer>& known = loaded_[{view.data(), view.dtype}];
  std::shared_ptr<Buffer> buffer = known.lock();
  if (buffer == nullptr) known = buffer = upload(view, matrix);
  return buffer;
}

std::unique_ptr<VulkanWeights> WeightStore::load(std::span<const TensorView> file, bool shared) {
  auto weights = std::make_unique<VulkanWeights>();
  for (const TensorView& whole : file) {
    const uint32_t most = rows_at_most(whole, memory_.max_allocation());
    for (uint32_t first = 0; first < whole.rows(); first += most) {
      const TensorView part = whole.slice_rows(first, std::min(most, whole.rows() - first));
      Matrix matrix = describe(part);
      std::shared_ptr<Buffer> buffer = shared ? find_or_upload(part, matrix) : upload(part, matrix);
      matrix.address = buffer->address();
      weights->matrices_.push_back(matrix);
      weights->buffers_.push_back(std::move(buffer));
    }
    weights->first_part_.push_back(weights->matrices_.size());
  }
  memory_.finish_uploads();
  return weights;
}

}  // namespace tandem::vulkan

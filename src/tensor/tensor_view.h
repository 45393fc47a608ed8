// A view of a tensor: where it lies and how it is laid out. Never owns.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace tandem {

class SharedMemory;

// Trivially copyable. `dims` are planes, rows, cols; cols are contiguous.
struct TensorView {
  SharedMemory* memory = nullptr;  // null for read-only bytes outside shared memory (a mapped file)
  size_t offset = 0;  // bytes from the start of `memory`, or the address when it is null
  DType dtype = DType::kF32;
  std::array<uint32_t, 3> dims = {1, 1, 1};
  std::array<size_t, 2> strides = {0, 0};  // bytes from plane to plane, from row to row

  uint32_t planes() const { return dims[0]; }
  uint32_t rows() const { return dims[1]; }
  uint32_t cols() const { return dims[2]; }
  size_t element_count() const { return size_t{dims[0]} * dims[1] * dims[2]; }
  // Bytes from the first to one past the last, strides included.
  size_t size() const;

  // Host address of a row. Valid while the memory lives.
  std::byte* row(uint32_t plane, uint32_t row) const;
  template <typename T>
  T* row_as(uint32_t row_index, uint32_t plane = 0) const {
    return reinterpret_cast<T*>(row(plane, row_index));
  }
  const std::byte* data() const { return row(0, 0); }

  // Rows [first, first + count) of every plane.
  TensorView slice_rows(uint32_t first, uint32_t count) const;
  // Columns [first, first + count); for block types both must be whole blocks.
  TensorView slice_cols(uint32_t first, uint32_t count) const;
};

// A contiguous view over bytes outside shared memory, such as a tensor of a mapped file.
TensorView view_of_bytes(const std::byte* data, DType dtype, std::array<uint32_t, 3> dims);

}  // namespace tandem

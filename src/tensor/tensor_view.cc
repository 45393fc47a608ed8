// SPDX-License-Identifier: Apache-2.0
#include "tensor/tensor_view.h"

#include "base/check.h"
#include "tensor/shared_memory.h"

namespace tandem {

size_t TensorView::size() const {
  return (size_t{dims[0]} - 1) * strides[0] + (size_t{dims[1]} - 1) * strides[1] +
         dtype_size(dtype, dims[2]);
}

std::byte* TensorView::row(uint32_t plane, uint32_t row) const {
  TANDEM_DCHECK(plane < dims[0] && row < dims[1], "row %u of plane %u in %u x %u", row, plane,
                dims[0], dims[1]);
  std::byte* base =
      memory == nullptr ? reinterpret_cast<std::byte*>(offset) : memory->data() + offset;
  return base + plane * strides[0] + row * strides[1];
}

TensorView TensorView::slice_rows(uint32_t first, uint32_t count) const {
  TANDEM_CHECK(first + count <= dims[1], "rows [%u, %u) of %u", first, first + count, dims[1]);
  TensorView slice = *this;
  slice.offset += first * strides[1];
  slice.dims[1] = count;
  return slice;
}

TensorView TensorView::slice_cols(uint32_t first, uint32_t count) const {
  TANDEM_CHECK(first + count <= dims[2], "columns [%u, %u) of %u", first, first + count, dims[2]);
  TensorView slice = *this;
  slice.offset += dtype_size(dtype, first);
  slice.dims[2] = count;
  return slice;
}

TensorView view_of_bytes(const std::byte* data, DType dtype, std::array<uint32_t, 3> dims) {
  TensorView view;
  view.offset = reinterpret_cast<size_t>(data);
  view.dtype = dtype;
  view.dims = dims;
  view.strides[1] = dtype_size(dtype, dims[2]);
  view.strides[0] = view.strides[1] * dims[1];
  return view;
}

}  // namespace tandem

// SPDX-License-Identifier: Apache-2.0
#include "tensor/shared_memory.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace tandem {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;  // x86-64's large page
constexpr size_t kAlignment = 64;              // a cache line, and one AVX-512 register

size_t round_up(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

SharedMemory::SharedMemory(size_t size, std::string_view purpose) : size_(size) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  mapped_ = round_up(size == 0 ? 1 : size, page);
  void* pages = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED)
    throw Error(
        ErrorCode::kOutOfMemory,
        fmt::format("no room for {} bytes of {}: {}; use a shorter context (-c) or a smaller model",
                    mapped_, purpose, std::strerror(errno)));
  base_ = static_cast<std::byte*>(pages);
  // Fewer page faults at load, fewer TLB misses in every pass over the weights. Only a hint.
  if (mapped_ >= kHugePage) madvise(pages, mapped_, MADV_HUGEPAGE);
}

SharedMemory::~SharedMemory() {
  imports_.clear();
  munmap(base_, mapped_);
}

Import& SharedMemory::import_for(Importer& device) {
  std::unique_ptr<Import>& slot = imports_[&device];
  if (!slot) slot = device.import(*this);
  return *slot;
}

TensorView Arena::allocate(DType dtype, std::array<uint32_t, 3> dims) {
  const size_t size = size_of(dtype, dims);
  if (size > memory_->size() - used_)
    throw Error(ErrorCode::kOutOfMemory,
                fmt::format("an arena of {} bytes has {} left and {} are needed", memory_->size(),
                            memory_->size() - used_, size));
  TensorView view;
  view.memory = memory_;
  view.offset = used_;
  view.dtype = dtype;
  view.dims = dims;
  view.strides[1] = dtype_size(dtype, dims[2]);
  view.strides[0] = view.strides[1] * dims[1];
  used_ += size;
  return view;
}

size_t Arena::size_of(DType dtype, std::array<uint32_t, 3> dims) {
  return round_up(dtype_size(dtype, dims[2]) * dims[1] * dims[0], kAlignment);
}

}  // namespace tandem

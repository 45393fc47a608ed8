// Memory that several devices address: host pages, born here, imported by devices.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string_view>

#include "tensor/tensor_view.h"

namespace tandem {

enum class Access : uint8_t { kRead = 1, kWrite = 2 };

// One device's handle on a SharedMemory: VkBuffer, NPU buffer object, host pointer.
class Import {
 public:
  virtual ~Import() = default;
  // False when the device works on a copy, which acquire and release move.
  virtual bool zero_copy() const = 0;
  // The device may now read (or write) bytes [offset, offset + size): what the host wrote is
  // visible to it.
  virtual void acquire(Access access, size_t offset, size_t size) = 0;
  // What the device wrote in the range is visible to the host.
  virtual void release(Access access, size_t offset, size_t size) = 0;
};

class SharedMemory;

// A device, as far as memory is concerned.
class Importer {
 public:
  virtual ~Importer() = default;
  virtual std::unique_ptr<Import> import(SharedMemory& memory) = 0;
};

// Page-aligned, zeroed anonymous pages; committed by the kernel as they are touched. Owns the
// imports made of it, which must not outlive their device: destroy memory before devices.
class SharedMemory {
 public:
  // Throws kOutOfMemory when the pages cannot be reserved; `purpose` names them in that message.
  SharedMemory(size_t size, std::string_view purpose);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  size_t size() const { return size_; }
  std::span<std::byte> host() { return {base_, size_}; }
  std::byte* data() { return base_; }
  // Imported at first use, cached after. Not thread-safe.
  Import& import_for(Importer& device);

 private:
  size_t size_;        // as asked for
  size_t mapped_ = 0;  // rounded up to pages
  std::byte* base_ = nullptr;
  std::map<const Importer*, std::unique_ptr<Import>> imports_;
};

// Hands out pieces of one SharedMemory, each aligned to 64 bytes. Nothing is freed singly.
class Arena {
 public:
  explicit Arena(SharedMemory& memory) : memory_(&memory) {}
  // A view of dims {planes, rows, cols} with contiguous rows and planes. Throws kOutOfMemory
  // when the memory is used up.
  TensorView allocate(DType dtype, std::array<uint32_t, 3> dims);
  size_t used() const { return used_; }
  // Bytes that allocate() takes for such a tensor, to size an arena in advance.
  static size_t size_of(DType dtype, std::array<uint32_t, 3> dims);

 private:
  SharedMemory* memory_;
  size_t used_ = 0;
};

}  // namespace tandem

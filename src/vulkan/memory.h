// Device memory: buffers with addresses, imported host pages, and the copies made where memory is
// not shared. Every buffer is used through its 64-bit address, so no binding limit applies.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "tensor/shared_memory.h"
#include "vulkan/api.h"
#include "vulkan/device.h"

namespace tandem::vulkan {

enum class Placement : uint8_t {
  kDevice,   // fastest for the device; host() may be null
  kMapped,   // device-local and host-visible where such memory exists, else host memory
  kStaging,  // host memory, cached, for copies
};

// The types among `allowed` (bits) that serve a placement, best first.
std::vector<uint32_t> memory_types(const VkPhysicalDeviceMemoryProperties& types, uint32_t allowed,
                                   Placement placement, bool zero_copy);

// A VkBuffer bound to memory of its own.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  VkBuffer handle() const { return buffer_; }
  VkDeviceAddress address() const { return address_; }
  size_t size() const { return size_; }
  std::byte* host() const { return host_; }  // null when not mapped

 private:
  friend class Memory;
  class Memory* owner_ = nullptr;
  VkBuffer buffer_ = VK_NULL_HANDLE;
  VkDeviceMemory memory_ = VK_NULL_HANDLE;
  VkDeviceAddress address_ = 0;
  size_t size_ = 0;
  std::byte* host_ = nullptr;
  bool imported_ = false;
};

struct MemoryOptions {
  bool zero_copy = true;  // use shared pages where the device can
  size_t budget = 0;      // bytes; 0: what the driver reports
  size_t largest = 0;     // allocation in bytes; 0: what the driver reports
};

// The memory of one device. Used by one thread at a time; outlives its buffers.
class Memory {
 public:
  Memory(Device& device, const MemoryOptions& options);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Throws kOutOfMemory naming `purpose`, what is needed and what is left of the budget.
  Buffer allocate(size_t size, Placement placement, std::string_view purpose);
  // `pages` is aligned and sized to the page.
  Buffer import_pages(std::byte* pages, size_t size);

  // Whether the device works on host pages in place.
  bool zero_copy() const { return zero_copy_; }
  size_t max_allocation() const { return max_allocation_; }
  size_t budget() const { return budget_; }
  size_t used() const { return used_; }
  // What the driver says this process uses, its own needs included; 0 where it does not say.
  uint64_t used_by_driver() const;
  // Empty when `size` more bytes fit, else a sentence with the numbers.
  std::string why_not_fit(size_t size, std::string_view purpose) const;

  // The copies between host and device memory, finished on return, counted.
  void copy_in(const Buffer& target, size_t offset, std::span<const std::byte> bytes);
  void copy_out(const Buffer& source, size_t offset, std::span<std::byte> bytes);
  uint64_t staged_copies() const { return staged_copies_; }
  uint64_t staged_bytes() const { return staged_bytes_; }

  // Fills `size` bytes of a buffer at `offset`, in chunks of at most upload_chunk(), each written
  // by `fill(chunk, first)` where `first` counts from `offset`: straight into the buffer where it
  // is shared memory, through a ring of staging slots otherwise.
  size_t upload_chunk() const { return std::min(size_t{8} << 20, max_allocation_); }
  using Fill = std::function<void(std::span<std::byte> chunk, size_t first)>;
  void upload(const Buffer& target, size_t offset, size_t size, const Fill& fill);
  // Waits for the ring.
  void finish_uploads();

  Device& device() { return device_; }

 private:
  friend class Buffer;
  struct Slot {
    Buffer staging;
    VkCommandBuffer commands = VK_NULL_HANDLE;
    VkFence fence = VK_NULL_HANDLE;
    bool busy = false;
  };

  void create_buffer(Buffer& buffer, size_t size, const void* next);
  // Allocates from the first of the memory types that has room, and returns the type.
  uint32_t bind(Buffer& buffer, uint32_t allowed, Placement placement, const void* next);
  void free(Buffer& buffer) noexcept;
  Slot& slot(size_t index);
  void wait(Slot& slot);
  // The only place that copies between host and device memory.
  void staged_copy(Slot& slot, VkBuffer from, VkBuffer to, const VkBufferCopy& region);

  Device& device_;
  bool zero_copy_ = false;
  size_t budget_ = 0, max_allocation_ = 0, used_ = 0;
  uint64_t staged_copies_ = 0, staged_bytes_ = 0;
  VkPhysicalDeviceMemoryProperties types_{};
  VkCommandPool pool_ = VK_NULL_HANDLE;
  std::vector<Slot> slots_;
  size_t next_slot_ = 0;
};

// A device's handle on SharedMemory: the pages themselves, or device memory of the same size that
// acquire() and release() keep in step.
class PageImport : public Import {
 public:
  PageImport(Memory& memory, SharedMemory& shared);

  bool zero_copy() const override { return memory_.zero_copy(); }
  void acquire(Access access, size_t offset, size_t size) override;
  void release(Access access, size_t offset, size_t size) override;

  // Address of the view's first byte; the whole view is contiguous from there.
  VkDeviceAddress address(const TensorView& view);

 private:
  struct Piece {
    size_t offset;
    Buffer buffer;
  };
  Piece& piece(size_t offset, size_t size);
  void copy(bool in, size_t offset, size_t size);

  Memory& memory_;
  SharedMemory& shared_;
  std::vector<Piece> pieces_;
};

}  // namespace tandem::vulkan

// The system calls through which the NPU is reached, as an interface: the kernel's, or a fake
// driver's (fake_driver.h) that answers the same calls.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace tandem::npu {

// Results are as the kernel gives them: a value of 0 or more, or a negated errno.
class DriverCalls {
 public:
  struct Mapping {
    void* address = nullptr;
    int error = 0;  // 0 or a negated errno
  };

  virtual ~DriverCalls() = default;

  virtual int open(const char* path) noexcept = 0;
  virtual int close(int fd) noexcept = 0;
  virtual int ioctl(int fd, unsigned long request, void* argument) noexcept = 0;

  // Readable and writable. With a file: shared and locked, at exactly `address` when it is not
  // null. With fd -1: private anonymous pages, to reserve addresses; `address` must be null.
  virtual Mapping mmap(void* address, size_t size, int fd, uint64_t offset) noexcept = 0;
  virtual int munmap(void* address, size_t size) noexcept = 0;

  // Writes back and drops the CPU's cache lines of the range. The NPU does not see the CPU's
  // caches: flush after the CPU wrote and before it reads what the NPU wrote.
  virtual void flush_cache(const void* address, size_t size) noexcept = 0;

  // CLOCK_MONOTONIC in nanoseconds.
  virtual int64_t now_ns() noexcept = 0;
};

std::unique_ptr<DriverCalls> make_kernel_driver_calls();

}  // namespace tandem::npu

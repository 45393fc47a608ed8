// SPDX-License-Identifier: Apache-2.0
#include "npu/driver_calls.h"

#include <fcntl.h>
#include <immintrin.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "npu/amdxdna.h"

namespace tandem::npu {
namespace {

class KernelDriverCalls final : public DriverCalls {
 public:
  int open(const char* path) noexcept override {
    return result_of(::open(path, O_RDWR | O_CLOEXEC));
  }

  int close(int fd) noexcept override { return result_of(::close(fd)); }

  int ioctl(int fd, unsigned long request, void* argument) noexcept override {
    return result_of(::ioctl(fd, request, argument));
  }

  Mapping mmap(void* address, size_t size, int fd, uint64_t offset) noexcept override {
    int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED | MAP_LOCKED;
    if (address != nullptr) flags |= MAP_FIXED;
    void* mapped =
        ::mmap(address, size, PROT_READ | PROT_WRITE, flags, fd, static_cast<off_t>(offset));
    if (mapped == MAP_FAILED) return {nullptr, -errno};
    return {mapped, 0};
  }

  int munmap(void* address, size_t size) noexcept override {
    return result_of(::munmap(address, size));
  }

  void flush_cache(const void* address, size_t size) noexcept override {
    const auto first = reinterpret_cast<uintptr_t>(address) & ~(amdxdna::kCacheLineSize - 1);
    const auto end = reinterpret_cast<uintptr_t>(address) + size;
    // clflush is not ordered with plain loads and stores; the fences order it on both sides.
    _mm_mfence();
    for (uintptr_t line = first; line < end; line += amdxdna::kCacheLineSize)
      _mm_clflush(reinterpret_cast<const void*>(line));
    _mm_mfence();
  }

  int64_t now_ns() noexcept override {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  }

 private:
  static int result_of(int value) noexcept { return value < 0 ? -errno : value; }
};

}  // namespace

std::unique_ptr<DriverCalls> make_kernel_driver_calls() {
  return std::make_unique<KernelDriverCalls>();
}

}  // namespace tandem::npu

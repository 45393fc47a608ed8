// SPDX-License-Identifier: Apache-2.0
#include "npu/fake_memory.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tandem::npu {
namespace {

using amdxdna::BoType;
using amdxdna::kCacheLineSize;
using amdxdna::kPageSize;

constexpr uint64_t kHeapPieceAlignment = 32 << 10;  // npu1: addresses of PDIs are shifted by 15

int fail(int error, std::string* why, std::string reason) {
  *why = std::move(reason);
  return -error;
}

uint64_t round_up(uint64_t value, uint64_t step) { return (value + step - 1) / step * step; }

bool pages_exist(uint64_t address, uint64_t size) {
  std::vector<unsigned char> resident(size / kPageSize);
  return mincore(reinterpret_cast<void*>(address), size, resident.data()) == 0;
}

void give_device_view(FakeBuffer* buffer) {
  buffer->device.resize(buffer->size);
  buffer->device_wrote.resize(buffer->size / kCacheLineSize);
}

}  // namespace

FakeMemory::~FakeMemory() {
  for (const auto& [address, size] : mappings_) munmap(address, size);
}

int FakeMemory::create(const amdxdna::CreateBo& request, bool user_pages, uint32_t handle,
                       std::string* why) {
  if (request.flags != 0) return fail(EINVAL, why, "CREATE_BO: flags must be zero");
  if (request.address != 0 && !user_pages)
    return fail(EINVAL, why, "CREATE_BO: this driver takes no user pages");
  FakeBuffer buffer;
  buffer.type = request.type;
  buffer.size = round_up(request.size, kPageSize);
  int error = 0;
  switch (request.type) {
    case BoType::kDeviceHeap:
      if (request.size == 0 || request.size % amdxdna::kHeapSize != 0)
        return fail(EINVAL, why, "CREATE_BO: a heap's size must be a multiple of 64 MiB");
      if (heap() != nullptr) return fail(EBUSY, why, "CREATE_BO: there is a heap already");
      buffer.device_address = amdxdna::kHeapDeviceAddress;
      break;
    case BoType::kDevice: error = create_heap_piece(&buffer, why); break;
    case BoType::kShare:
      if (request.address != 0) {
        error = adopt_user_pages(request, &buffer, why);
        break;
      }
      [[fallthrough]];
    case BoType::kCommand:
      if (request.size == 0) error = fail(EINVAL, why, "CREATE_BO: the size is zero");
      break;
    default: return fail(EINVAL, why, "CREATE_BO: unknown type");
  }
  if (error != 0) return error;
  if (buffer.host == nullptr) {
    buffer.map_offset = next_map_offset_;
    next_map_offset_ += buffer.size;
  }
  if (buffer.type == BoType::kDevice || buffer.type == BoType::kShare) give_device_view(&buffer);
  buffers_.emplace(handle, std::move(buffer));
  return 0;
}

// First fit among the pieces there are.
int FakeMemory::create_heap_piece(FakeBuffer* buffer, std::string* why) {
  const FakeBuffer* parent = heap();
  if (parent == nullptr || parent->host == nullptr)
    return fail(EAGAIN, why, "CREATE_BO: a device buffer needs the heap created and mapped first");
  if (buffer->size == 0) return fail(EINVAL, why, "CREATE_BO: the size is zero");
  std::vector<std::pair<uint64_t, uint64_t>> used;  // begin, end
  for (const auto& [handle, other] : buffers_)
    if (other.type == BoType::kDevice)
      used.emplace_back(other.device_address, other.device_address + other.size);
  std::sort(used.begin(), used.end());
  uint64_t address = amdxdna::kHeapDeviceAddress;
  for (const auto& [begin, end] : used) {
    if (address + buffer->size <= begin) break;
    address = round_up(end, kHeapPieceAlignment);
  }
  if (address + buffer->size > amdxdna::kHeapDeviceAddress + parent->size)
    return fail(ENOSPC, why, "CREATE_BO: the heap is full");
  buffer->device_address = address;
  buffer->host = parent->host + (address - amdxdna::kHeapDeviceAddress);
  return 0;
}

int FakeMemory::adopt_user_pages(const amdxdna::CreateBo& request, FakeBuffer* buffer,
                                 std::string* why) {
  if (request.size != 0)
    return fail(EINVAL, why, "CREATE_BO: the size must be zero with user pages");
  amdxdna::UserPages table;
  std::memcpy(&table, reinterpret_cast<const void*>(request.address), sizeof table);
  if (table.dmabuf_fd != -1 || table.num_entries != 1)
    return fail(EINVAL, why, "CREATE_BO: one entry of user pages and no dma-buf are expected");
  if (table.address % kPageSize != 0 || table.size % kPageSize != 0 || table.size == 0)
    return fail(EINVAL, why,
                fmt::format("CREATE_BO: user pages at {:#x}, {} bytes: both must be multiples of "
                            "the page size",
                            table.address, table.size));
  if (!pages_exist(table.address, table.size))
    return fail(EFAULT, why, "CREATE_BO: the user pages are not all mapped");
  buffer->size = table.size;
  buffer->host = reinterpret_cast<std::byte*>(table.address);
  buffer->device_address = table.address;
  return 0;
}

int FakeMemory::close(uint32_t handle) { return buffers_.erase(handle) == 1 ? 0 : -EINVAL; }

int FakeMemory::reserve(uint64_t size, std::byte** mapped) {
  void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) return -errno;
  *mapped = static_cast<std::byte*>(address);
  mappings_[*mapped] = size;
  return 0;
}

int FakeMemory::map(void* address, uint64_t size, uint64_t offset, std::byte** mapped,
                    std::string* why) {
  const auto entry = std::find_if(buffers_.begin(), buffers_.end(), [&](const auto& candidate) {
    return candidate.second.map_offset == offset;
  });
  if (entry == buffers_.end() || entry->second.type == BoType::kDevice)
    return fail(EINVAL, why, fmt::format("mmap: no buffer has map offset {:#x}", offset));
  FakeBuffer& buffer = entry->second;
  if (size != buffer.size)
    return fail(EINVAL, why, fmt::format("mmap: {} bytes of a buffer of {}", size, buffer.size));
  if (buffer.type == BoType::kDeviceHeap &&
      reinterpret_cast<uint64_t>(address) % amdxdna::kHeapSize != 0)
    return fail(EINVAL, why, "mmap: the heap must lie at a multiple of 64 MiB");
  if (buffer.type == BoType::kDeviceHeap && address == nullptr)
    return fail(EINVAL, why, "mmap: the heap needs an address chosen by the caller");
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | (address != nullptr ? MAP_FIXED : 0);
  void* pages = ::mmap(address, size, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (pages == MAP_FAILED) return -errno;
  *mapped = static_cast<std::byte*>(pages);
  buffer.host = *mapped;
  // With shared virtual addressing the device uses the process's addresses.
  if (buffer.type != BoType::kDeviceHeap) buffer.device_address = reinterpret_cast<uint64_t>(pages);
  mappings_[*mapped] = size;
  return 0;
}

int FakeMemory::unmap(std::byte* address, uint64_t size) {
  const auto inside = [&](const std::byte* pointer) {
    return pointer >= address && pointer < address + size;
  };
  const size_t removed =
      std::erase_if(mappings_, [&](const auto& entry) { return inside(entry.first); });
  if (removed == 0) return -EINVAL;
  for (auto& [handle, buffer] : buffers_)
    if (buffer.map_offset != amdxdna::kInvalidAddress && inside(buffer.host)) buffer.host = nullptr;
  return ::munmap(address, size) == 0 ? 0 : -errno;
}

FakeBuffer* FakeMemory::find(uint32_t handle) {
  const auto entry = buffers_.find(handle);
  return entry == buffers_.end() ? nullptr : &entry->second;
}

FakeBuffer* FakeMemory::find_device(uint64_t address, uint64_t size) {
  for (auto& [handle, buffer] : buffers_) {
    if (buffer.device.empty() || buffer.host == nullptr || address < buffer.device_address)
      continue;
    const uint64_t offset = address - buffer.device_address;
    if (offset < buffer.size && size <= buffer.size - offset) return &buffer;
  }
  return nullptr;
}

const FakeBuffer* FakeMemory::heap() const {
  for (const auto& [handle, buffer] : buffers_)
    if (buffer.type == BoType::kDeviceHeap) return &buffer;
  return nullptr;
}

void FakeMemory::flush(const std::byte* address, uint64_t size) {
  for (auto& [handle, buffer] : buffers_) {
    if (buffer.device.empty() || buffer.host == nullptr) continue;
    const std::byte* begin = std::max(address, const_cast<const std::byte*>(buffer.host));
    const std::byte* end =
        std::min(address + size, const_cast<const std::byte*>(buffer.host + buffer.size));
    if (begin >= end) continue;
    buffer.flushed_once = true;
    const auto first = static_cast<uint64_t>(begin - buffer.host) / kCacheLineSize;
    const auto last = static_cast<uint64_t>(end - 1 - buffer.host) / kCacheLineSize;
    for (uint64_t line = first; line <= last; ++line) {
      std::byte* host = buffer.host + line * kCacheLineSize;
      std::byte* device = buffer.device.data() + line * kCacheLineSize;
      if (buffer.device_wrote[line])
        std::memcpy(host, device, kCacheLineSize);
      else
        std::memcpy(device, host, kCacheLineSize);
      buffer.device_wrote[line] = false;
    }
  }
}

std::optional<uint64_t> FakeMemory::first_unflushed(const FakeBuffer& buffer) {
  if (!buffer.flushed_once) return 0;
  if (std::memcmp(buffer.host, buffer.device.data(), buffer.size) == 0) return std::nullopt;
  for (uint64_t line = 0; line < buffer.device_wrote.size(); ++line) {
    if (buffer.device_wrote[line]) continue;
    const uint64_t offset = line * kCacheLineSize;
    if (std::memcmp(buffer.host + offset, buffer.device.data() + offset, kCacheLineSize) == 0)
      continue;
    return offset;
  }
  return std::nullopt;
}

void FakeMemory::note_device_writes(FakeBuffer& buffer) {
  if (std::memcmp(buffer.host, buffer.device.data(), buffer.size) == 0) return;
  for (uint64_t line = 0; line < buffer.device_wrote.size(); ++line) {
    const uint64_t offset = line * kCacheLineSize;
    if (std::memcmp(buffer.host + offset, buffer.device.data() + offset, kCacheLineSize) != 0)
      buffer.device_wrote[line] = true;
  }
}

void FakeMemory::zero_device_writes(FakeBuffer& buffer) {
  for (uint64_t line = 0; line < buffer.device_wrote.size(); ++line)
    if (buffer.device_wrote[line])
      std::memset(buffer.device.data() + line * kCacheLineSize, 0, kCacheLineSize);
}

}  // namespace tandem::npu

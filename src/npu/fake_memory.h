// The fake driver's buffers, in two states at once: the host's pages (what the CPU's caches hold)
// and what the device sees. A flush moves cache lines between them; nothing else does.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "npu/amdxdna.h"

namespace tandem::npu {

struct FakeBuffer {
  amdxdna::BoType type = amdxdna::BoType::kShare;
  uint64_t size = 0;
  uint64_t map_offset = amdxdna::kInvalidAddress;
  std::byte* host = nullptr;  // null until mapped
  uint64_t device_address = amdxdna::kInvalidAddress;
  std::vector<std::byte> device;   // what the device sees; empty for the heap and commands
  std::vector<bool> device_wrote;  // per cache line: newer on the device than at the host
  bool flushed_once = false;
};

class FakeMemory {
 public:
  ~FakeMemory();

  // 0 or a negated errno, with the reason in *why.
  int create(const amdxdna::CreateBo& request, bool user_pages, uint32_t handle, std::string* why);
  int close(uint32_t handle);
  void close_all() { buffers_.clear(); }
  // Real pages at the host; `address` as for DriverCalls::mmap.
  int map(void* address, uint64_t size, uint64_t offset, std::byte** mapped, std::string* why);
  int reserve(uint64_t size, std::byte** mapped);
  int unmap(std::byte* address, uint64_t size);

  FakeBuffer* find(uint32_t handle);
  // The buffer that holds device address [address, address + size), or null.
  FakeBuffer* find_device(uint64_t address, uint64_t size);
  const FakeBuffer* heap() const;

  void flush(const std::byte* address, uint64_t size);

  // The first byte the host wrote and did not flush; nullopt when the device sees everything.
  static std::optional<uint64_t> first_unflushed(const FakeBuffer& buffer);
  // After a run that began with everything flushed: lines that now differ, the device wrote.
  static void note_device_writes(FakeBuffer& buffer);
  static void zero_device_writes(FakeBuffer& buffer);

  size_t buffer_count() const { return buffers_.size(); }
  size_t mapping_count() const { return mappings_.size(); }

 private:
  int create_heap_piece(FakeBuffer* buffer, std::string* why);
  int adopt_user_pages(const amdxdna::CreateBo& request, FakeBuffer* buffer, std::string* why);

  std::map<uint32_t, FakeBuffer> buffers_;
  std::map<std::byte*, uint64_t> mappings_;  // address to size
  uint64_t next_map_offset_ = 0x100000000;
};

}  // namespace tandem::npu

// The NPU through the kernel driver's own ioctls: buffers, hardware contexts with a loaded design,
// runs with a time-out. Everything made is given back on every path, errors included. The same code
// drives silicon and, over FakeDriver, the emulator. One thread at a time.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "backend/backend.h"
#include "npu/amdxdna.h"
#include "npu/artifact.h"
#include "npu/driver_calls.h"

namespace tandem::npu {

// The opened device node. Every call is checked here: an error becomes an Error that names the
// call.
class DriverSession {
 public:
  // Throws kNotFound or kUnsupported when the node cannot be opened or is another driver's.
  DriverSession(DriverCalls& calls, const std::string& node);
  ~DriverSession();
  DriverSession(const DriverSession&) = delete;
  DriverSession& operator=(const DriverSession&) = delete;

  DriverCalls& calls() { return *calls_; }
  int fd() const { return fd_; }

  // Repeats a call that a signal interrupted. Throws with `what`, a clause such as "creating a
  // buffer of 64 bytes".
  void ioctl(unsigned long request, void* argument, const std::string& what);
  // The same for hot paths and destructors: 0 or a negated errno.
  int try_ioctl(unsigned long request, void* argument) noexcept;

 private:
  DriverCalls* calls_;
  int fd_ = -1;
};

// A range of addresses mapped from the node, or reserved; unmapped at the end.
class MappedRange {
 public:
  MappedRange() = default;
  MappedRange(DriverSession& session, size_t size, int fd, uint64_t offset);
  ~MappedRange();
  MappedRange(MappedRange&& other) noexcept { *this = std::move(other); }
  MappedRange& operator=(MappedRange&& other) noexcept;
  std::byte* data() const { return data_; }

 private:
  DriverCalls* calls_ = nullptr;
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// A buffer object: memory the NPU addresses. Must be destroyed before its device.
class Buffer {
 public:
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::span<std::byte> host() const { return host_; }
  size_t size() const { return host_.size(); }
  uint32_t handle() const { return handle_; }
  uint64_t device_address() const { return device_address_; }

  // Makes bytes [offset, offset + size) that one side wrote visible to the other: after the host
  // wrote and before a run, after a run and before the host reads. The host must not have written
  // into cache lines that the run wrote.
  void sync(size_t offset, size_t size) const noexcept;
  void sync() const noexcept { sync(0, size()); }

 private:
  friend class Device;
  Buffer(DriverSession& session, uint32_t handle) : session_(&session), handle_(handle) {}

  DriverSession* session_;
  uint32_t handle_;
  MappedRange mapping_;  // empty for heap pieces and user pages
  std::span<std::byte> host_;
  uint64_t device_address_ = 0;
};

struct RunResult {
  Status status = Status::kDone;
  std::string_view reason;  // a static sentence when not kDone
};

// A hardware context with one design in it: loaded once, run many times. After a run that did not
// end well the context is destroyed, so that the device no longer touches the buffers, and further
// runs return kDeviceLost.
class LoadedDesign {
 public:
  ~LoadedDesign();
  LoadedDesign(const LoadedDesign&) = delete;
  LoadedDesign& operator=(const LoadedDesign&) = delete;

  // `buffers` are the arguments of the design's sequence in order, at most kMaxBuffers, already
  // synced. Does not allocate or throw.
  RunResult run(std::span<const Buffer* const> buffers, std::chrono::microseconds timeout) noexcept;

 private:
  friend class Device;
  explicit LoadedDesign(DriverSession& session) : session_(&session) {}
  void write_command(std::span<const Buffer* const> buffers) noexcept;
  RunResult finish(RunResult result) noexcept;
  void destroy_context() noexcept;

  DriverSession* session_;
  std::unique_ptr<Buffer> configuration_, instructions_, command_;
  uint64_t instruction_words_ = 0;
  uint32_t context_ = 0, syncobj_ = 0;
  bool has_context_ = false;
};

struct DeviceFacts {
  uint32_t columns = 0, core_rows = 0;  // physical; npu1 says 5 columns, of which 4 are usable
  amdxdna::FirmwareVersion firmware;
  uint32_t driver_major = 0, driver_minor = 0;
};

class Device {
 public:
  // Opens the node and makes the heap that designs are loaded into. `calls` must outlive it.
  // Throws kNotFound, kUnsupported, kOutOfMemory (memlock limit), kInternal.
  Device(DriverCalls& calls, const std::string& node);

  const DeviceFacts& facts() const { return facts_; }

  // Pages of the driver's, mapped for the host, zeroed. Size is rounded up to pages.
  std::unique_ptr<Buffer> allocate(size_t size);
  // The caller's own pages, which must be page-aligned, readable and writable, and outlive the
  // buffer; the last page is taken whole. Throws kUnsupported on drivers without user pages.
  std::unique_ptr<Buffer> import(std::span<std::byte> pages);

  std::unique_ptr<LoadedDesign> load(const Artifact& artifact);

 private:
  std::unique_ptr<Buffer> create(amdxdna::CreateBo request, const std::string& what);
  std::unique_ptr<Buffer> create_in_heap(size_t size, const std::string& what);
  void map(Buffer& buffer, size_t size, const std::string& what);
  void create_heap();
  void read_facts();

  DriverSession session_;
  DeviceFacts facts_;
  MappedRange heap_range_;        // reserved addresses, with the heap's mapping somewhere in them
  std::unique_ptr<Buffer> heap_;  // pieces of it are handed out by the driver
};

}  // namespace tandem::npu

// A stand-in for the kernel, its amdxdna driver and the NPU behind it. It answers the same calls,
// refuses what the real driver refuses (and some mistakes that silicon would answer with silence:
// see complaint()), keeps what the device sees apart from what the CPU's caches hold, and runs
// loaded designs on the emulator. It implements one opener of one device; no threads.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "npu/amdxdna.h"
#include "npu/driver_calls.h"
#include "npu/emulator/emulator.h"
#include "npu/fake_memory.h"
#include "npu/geometry.h"

namespace tandem::npu {

struct FakeDriverOptions {
  Generation generation = Generation::kNpu1;
  std::string node = "/dev/accel/accel0";
  std::string driver_name = "amdxdna";
  EmulatorOptions emulator;  // kernels, clock, limits
  bool user_pages = true;    // false: as the first kernels with the driver
  // Whether a run is refused while the CPU's caches hold what the device should read. Costs a
  // comparison of every argument per run.
  bool check_flushes = true;
  bool zero_results = false;  // a fault: whatever the array writes arrives as zeros
};

class FakeDriver final : public DriverCalls {
 public:
  explicit FakeDriver(FakeDriverOptions options);
  ~FakeDriver() override;

  int open(const char* path) noexcept override;
  int close(int fd) noexcept override;
  int ioctl(int fd, unsigned long request, void* argument) noexcept override;
  Mapping mmap(void* address, size_t size, int fd, uint64_t offset) noexcept override;
  int munmap(void* address, size_t size) noexcept override;
  void flush_cache(const void* address, size_t size) noexcept override;
  int64_t now_ns() noexcept override;

  // ---- Faults

  // The call after `calls` further ones (open, ioctl and mmap count) fails once with `error`, an
  // errno; has_failed() tells whether it came to that, failed_request() of which ioctl (else 0).
  void fail_after(uint64_t calls, int error);
  bool has_failed() const { return !fault_.has_value(); }
  unsigned long failed_request() const { return failed_request_; }
  void hang_next_run() { hang_next_run_ = true; }  // it never completes
  // The next run ends in this state of its command instead.
  void end_next_run_as(amdxdna::CommandState state) { next_state_ = state; }

  // ---- What happened

  // One sentence on the last call that was refused or run that failed; empty when there was none.
  const std::string& complaint() const { return complaint_; }

  struct Open {  // what is not given back yet
    size_t files = 0, buffers = 0, contexts = 0, syncobjs = 0, mappings = 0;
    friend bool operator==(const Open&, const Open&) = default;
  };
  Open open_resources() const;
  // The same as the last close of the file found it, which gives back all but mappings.
  const Open& open_at_close() const { return open_at_close_; }

  // Of the runs so far; predicted times come from the emulator.
  struct Totals {
    uint64_t runs = 0, array_bytes_read = 0, array_bytes_written = 0, cycles = 0;
    double array_seconds = 0, launch_seconds = 0;
  };
  const Totals& totals() const { return totals_; }
  const EmulationResult& last_run() const { return last_run_; }

 private:
  struct Context;
  struct Run;

  bool fails_now(unsigned long request, int* error);
  int refuse(int error, std::string complaint);
  int dispatch(unsigned long request, void* argument);
  int version(amdxdna::DrmVersion& request);
  int info(const amdxdna::GetInfo& request);
  int create_bo(amdxdna::CreateBo& request);
  int bo_info(amdxdna::BoInfo& request);
  int gem_close(const amdxdna::GemClose& request);
  int sync_bo(const amdxdna::SyncBo& request);
  int create_context(amdxdna::CreateContext& request);
  int config_context(const amdxdna::ConfigContext& request);
  int destroy_context(const amdxdna::DestroyContext& request);
  int exec(amdxdna::ExecCommand& request);
  int timeline_wait(amdxdna::SyncobjTimelineWait& request);
  int syncobj_destroy(const amdxdna::SyncobjDestroy& request);

  int check_header(const uint32_t* words);
  int read_command(const amdxdna::ExecCommand& request, Run* run);
  int check_arguments(const Run& run);
  amdxdna::CommandState execute(Run& run);

  FakeDriverOptions options_;
  const Geometry& geometry_;
  FakeMemory memory_;
  std::map<uint32_t, std::unique_ptr<Context>> contexts_;
  struct Timeline {
    uint64_t submitted = 0, signaled = 0;
  };
  std::map<uint32_t, Timeline> syncobjs_;
  uint32_t next_handle_ = 1;
  size_t open_files_ = 0;
  int64_t skipped_ns_ = 0;  // time that waits pretended to take

  struct Fault {
    uint64_t calls;
    int error;
  };
  std::optional<Fault> fault_;
  unsigned long failed_request_ = 0;
  Open open_at_close_;
  bool hang_next_run_ = false;
  std::optional<amdxdna::CommandState> next_state_;

  std::string complaint_;
  Totals totals_;
  EmulationResult last_run_;
};

}  // namespace tandem::npu

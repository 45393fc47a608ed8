// SPDX-License-Identifier: Apache-2.0
#include "npu/fake_driver.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <new>

#include "base/error.h"
#include "npu/aie_text/design.h"
#include "npu/text_container.h"
#include "npu/transaction.h"

namespace tandem::npu {
namespace {

using amdxdna::BoType;
using amdxdna::CommandState;

constexpr int kFd = 1000;  // the only file this driver opens
constexpr uint32_t kMaxArguments = 4095;
constexpr uint32_t kMaxUserCommandWords = amdxdna::kCommandBoSize / sizeof(uint32_t) - 1;

template <typename T>
T& as(void* argument) {
  return *static_cast<T*>(argument);
}

void copy_out(uint64_t address, const void* source, size_t room, size_t size) {
  std::memcpy(reinterpret_cast<void*>(address), source, std::min(room, size));
}

// Words after the header, by the header.
uint32_t command_words(const uint32_t* words) { return words[0] >> 12 & 0x7FF; }

uint64_t join(uint32_t low, uint32_t high) { return low | uint64_t{high} << 32; }

}  // namespace

// A hardware context: the partition's columns and, once configured, the array with its design.
struct FakeDriver::Context {
  uint32_t columns = 0, syncobj = 0;
  Design design;
  std::unique_ptr<Emulator> emulator;
};

// A command as taken apart by read_command.
struct FakeDriver::Run {
  Context* context = nullptr;
  FakeBuffer* command = nullptr;
  std::vector<uint32_t> instructions;
  std::vector<FakeBuffer*> buffers;
  std::vector<uint64_t> offsets;  // of each argument in its buffer
};

FakeDriver::FakeDriver(FakeDriverOptions options)
    : options_(std::move(options)), geometry_(geometry_of(options_.generation)) {}

FakeDriver::~FakeDriver() = default;

// ---- Faults and errors --------------------------------------------------------------------------

void FakeDriver::fail_after(uint64_t calls, int error) { fault_ = Fault{calls, error}; }

bool FakeDriver::fails_now(unsigned long request, int* error) {
  if (!fault_ || fault_->calls-- > 0) return false;
  *error = -fault_->error;
  failed_request_ = request;
  fault_.reset();
  return true;
}

int FakeDriver::refuse(int error, std::string complaint) {
  complaint_ = std::move(complaint);
  return -error;
}

FakeDriver::Open FakeDriver::open_resources() const {
  return {open_files_, memory_.buffer_count(), contexts_.size(), syncobjs_.size(),
          memory_.mapping_count()};
}

// ---- Calls --------------------------------------------------------------------------------------

int FakeDriver::open(const char* path) noexcept {
  int error = 0;
  if (fails_now(0, &error)) return error;
  if (path != options_.node) return refuse(ENOENT, fmt::format("open: no {}", path));
  if (open_files_ != 0) return refuse(EBUSY, "open: this device is open already");
  open_files_ = 1;
  return kFd;
}

int FakeDriver::close(int fd) noexcept {
  if (fd != kFd || open_files_ == 0) return refuse(EBADF, "close: no such file");
  open_at_close_ = open_resources();
  open_files_ = 0;
  contexts_.clear();
  syncobjs_.clear();
  memory_.close_all();
  return 0;
}

int FakeDriver::ioctl(int fd, unsigned long request, void* argument) noexcept {
  int error = 0;
  if (fails_now(request, &error)) return error;
  if (fd != kFd || open_files_ == 0) return refuse(EBADF, "ioctl: no such file");
  if (argument == nullptr) return refuse(EFAULT, "ioctl: no argument");
  try {
    return dispatch(request, argument);
  } catch (const std::bad_alloc&) {  // the emulation's own memory, as a driver's might lack
    return -ENOMEM;
  }
}

int FakeDriver::dispatch(unsigned long request, void* argument) {
  switch (request) {
    case amdxdna::kIoctlVersion: return version(as<amdxdna::DrmVersion>(argument));
    case amdxdna::kIoctlGetInfo: return info(as<amdxdna::GetInfo>(argument));
    case amdxdna::kIoctlCreateBo: return create_bo(as<amdxdna::CreateBo>(argument));
    case amdxdna::kIoctlBoInfo: return bo_info(as<amdxdna::BoInfo>(argument));
    case amdxdna::kIoctlGemClose: return gem_close(as<amdxdna::GemClose>(argument));
    case amdxdna::kIoctlSyncBo: return sync_bo(as<amdxdna::SyncBo>(argument));
    case amdxdna::kIoctlCreateContext: return create_context(as<amdxdna::CreateContext>(argument));
    case amdxdna::kIoctlConfigContext: return config_context(as<amdxdna::ConfigContext>(argument));
    case amdxdna::kIoctlDestroyContext:
      return destroy_context(as<amdxdna::DestroyContext>(argument));
    case amdxdna::kIoctlExecCommand: return exec(as<amdxdna::ExecCommand>(argument));
    case amdxdna::kIoctlSyncobjTimelineWait:
      return timeline_wait(as<amdxdna::SyncobjTimelineWait>(argument));
    case amdxdna::kIoctlSyncobjDestroy:
      return syncobj_destroy(as<amdxdna::SyncobjDestroy>(argument));
    default: return refuse(ENOTTY, fmt::format("ioctl: unknown request {:#x}", request));
  }
}

DriverCalls::Mapping FakeDriver::mmap(void* address, size_t size, int fd,
                                      uint64_t offset) noexcept {
  int error = 0;
  if (fails_now(0, &error)) return {nullptr, error};
  std::byte* mapped = nullptr;
  if (fd < 0) {
    error = memory_.reserve(size, &mapped);
  } else if (fd != kFd || open_files_ == 0) {
    error = refuse(EBADF, "mmap: no such file");
  } else {
    error = memory_.map(address, size, offset, &mapped, &complaint_);
  }
  return {mapped, error};
}

int FakeDriver::munmap(void* address, size_t size) noexcept {
  const int error = memory_.unmap(static_cast<std::byte*>(address), size);
  return error == 0 ? 0 : refuse(-error, "munmap: nothing is mapped there");
}

void FakeDriver::flush_cache(const void* address, size_t size) noexcept {
  memory_.flush(static_cast<const std::byte*>(address), size);
}

int64_t FakeDriver::now_ns() noexcept {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count() + skipped_ns_;
}

// ---- Questions ----------------------------------------------------------------------------------

int FakeDriver::version(amdxdna::DrmVersion& request) {
  if (request.name != 0)
    copy_out(request.name, options_.driver_name.data(), request.name_size,
             options_.driver_name.size());
  request.name_size = options_.driver_name.size();
  request.major = 0;
  request.minor = 1;
  request.patch = 0;
  return 0;
}

int FakeDriver::info(const amdxdna::GetInfo& request) {
  const auto answer = [&](const auto& value) {
    if (request.buffer == 0) return refuse(EFAULT, "GET_INFO: no buffer");
    copy_out(request.buffer, &value, request.size, sizeof value);
    return 0;
  };
  switch (static_cast<amdxdna::InfoParam>(request.param)) {
    case amdxdna::InfoParam::kAieMetadata: {
      amdxdna::AieMetadata metadata;
      metadata.columns = static_cast<uint16_t>(geometry_.physical_columns);
      metadata.rows = static_cast<uint16_t>(geometry_.rows);
      metadata.core.row_count = static_cast<uint16_t>(geometry_.core_rows());
      metadata.core.row_start = static_cast<uint16_t>(geometry_.first_core_row);
      metadata.memory.row_count = metadata.shim.row_count = 1;
      metadata.memory.row_start = 1;
      return answer(metadata);
    }
    case amdxdna::InfoParam::kClocks: {
      amdxdna::Clocks clocks;
      clocks.array.mhz = static_cast<uint32_t>(options_.emulator.timing.clock_hz / 1e6);
      return answer(clocks);
    }
    case amdxdna::InfoParam::kFirmware: return answer(amdxdna::FirmwareVersion{1, 5, 5, 391});
    case amdxdna::InfoParam::kPowerMode: return answer(amdxdna::PowerMode{});
    default: return refuse(EOPNOTSUPP, fmt::format("GET_INFO: parameter {}", request.param));
  }
}

// ---- Buffers ------------------------------------------------------------------------------------

int FakeDriver::create_bo(amdxdna::CreateBo& request) {
  const uint32_t handle = next_handle_;
  const int error = memory_.create(request, options_.user_pages, handle, &complaint_);
  if (error != 0) return error;
  ++next_handle_;
  request.handle = handle;
  return 0;
}

int FakeDriver::bo_info(amdxdna::BoInfo& request) {
  if (request.ext != 0 || request.ext_flags != 0 || request.pad != 0)
    return refuse(EINVAL, "GET_BO_INFO: ext, ext_flags and pad must be zero");
  const FakeBuffer* buffer = memory_.find(request.handle);
  if (buffer == nullptr)
    return refuse(ENOENT, fmt::format("GET_BO_INFO: no buffer {}", request.handle));
  request.map_offset = buffer->map_offset;
  request.host_address = reinterpret_cast<uint64_t>(buffer->host);
  request.device_address = buffer->device_address;
  return 0;
}

int FakeDriver::gem_close(const amdxdna::GemClose& request) {
  if (memory_.close(request.handle) != 0)
    return refuse(EINVAL, fmt::format("GEM_CLOSE: no buffer {}", request.handle));
  return 0;
}

int FakeDriver::sync_bo(const amdxdna::SyncBo& request) {
  const FakeBuffer* buffer = memory_.find(request.handle);
  if (buffer == nullptr)
    return refuse(ENOENT, fmt::format("SYNC_BO: no buffer {}", request.handle));
  // From the device, the driver serves debug buffers alone.
  if (request.direction != 0) return refuse(EINVAL, "SYNC_BO: only to the device");
  if (buffer->host == nullptr || request.offset >= buffer->size ||
      request.size > buffer->size - request.offset)
    return refuse(EINVAL, "SYNC_BO: the range is not in the mapped buffer");
  memory_.flush(buffer->host + request.offset, request.size);
  return 0;
}

// ---- Contexts -----------------------------------------------------------------------------------

int FakeDriver::create_context(amdxdna::CreateContext& request) {
  if (request.ext != 0 || request.ext_flags != 0)
    return refuse(EINVAL, "CREATE_HWCTX: ext and ext_flags must be zero");
  if (request.qos == 0) return refuse(EFAULT, "CREATE_HWCTX: no quality-of-service structure");
  if (memory_.heap() == nullptr || memory_.heap()->host == nullptr)
    return refuse(ENOENT, "CREATE_HWCTX: the heap must be created and mapped before");
  const uint32_t columns = request.num_tiles / geometry_.core_rows();
  if (columns == 0 || columns > geometry_.physical_columns)
    return refuse(EINVAL, fmt::format("CREATE_HWCTX: {} tiles are no number of columns the array "
                                      "has",
                                      request.num_tiles));
  auto context = std::make_unique<Context>();
  context->columns = columns;
  context->syncobj = next_handle_++;
  syncobjs_[context->syncobj] = {};
  request.handle = next_handle_++;
  request.syncobj_handle = context->syncobj;
  contexts_[request.handle] = std::move(context);
  return 0;
}

int FakeDriver::config_context(const amdxdna::ConfigContext& request) {
  const auto entry = contexts_.find(request.handle);
  if (entry == contexts_.end())
    return refuse(EINVAL, fmt::format("CONFIG_HWCTX: no context {}", request.handle));
  Context& context = *entry->second;
  amdxdna::CuConfig cu;
  if (request.pad != 0 || request.param_type != amdxdna::kConfigCu ||
      request.param_size != sizeof cu || request.param == 0)
    return refuse(EINVAL, "CONFIG_HWCTX: expected the configuration of one compute unit");
  std::memcpy(&cu, reinterpret_cast<const void*>(request.param), sizeof cu);
  if (cu.num_cus != 1 || cu.pad[0] != 0 || cu.pad[1] != 0 || cu.pad[2] != 0)
    return refuse(EINVAL, "CONFIG_HWCTX: one compute unit and zero padding are expected");
  if (context.emulator != nullptr)
    return refuse(EINVAL, "CONFIG_HWCTX: the context is configured already");
  const FakeBuffer* pdi = memory_.find(cu.bo);
  if (pdi == nullptr || pdi->type != BoType::kDevice)
    return refuse(EINVAL, fmt::format("CONFIG_HWCTX: {} is no device buffer", cu.bo));
  if (FakeMemory::first_unflushed(*pdi))
    return refuse(EINVAL, "CONFIG_HWCTX: the configuration was not flushed from the CPU's caches");
  try {
    context.design = parse_design(unpack_text(pdi->device));
    const DeviceDesign& device =
        context.design.devices.at(static_cast<size_t>(context.design.main_device));
    if (device.generation != options_.generation ||
        static_cast<uint32_t>(device.columns) > context.columns)
      return refuse(EINVAL, fmt::format("CONFIG_HWCTX: a design of {} columns for {} in a context "
                                        "of {} columns of {}",
                                        device.columns, geometry_of(device.generation).name,
                                        context.columns, geometry_.name));
    context.emulator = std::make_unique<Emulator>(context.design, options_.emulator);
  } catch (const Error& error) {
    return refuse(EINVAL, fmt::format("CONFIG_HWCTX: {}", error.what()));
  }
  return 0;
}

int FakeDriver::destroy_context(const amdxdna::DestroyContext& request) {
  if (request.pad != 0) return refuse(EINVAL, "DESTROY_HWCTX: pad must be zero");
  if (contexts_.erase(request.handle) == 0)
    return refuse(EINVAL, fmt::format("DESTROY_HWCTX: no context {}", request.handle));
  return 0;
}

// ---- Commands -----------------------------------------------------------------------------------

// The fixed words of a command: header, mask of compute units, the kernel's opcode.
int FakeDriver::check_header(const uint32_t* words) {
  const uint32_t count = command_words(words);
  if ((words[0] & amdxdna::kCommandStateMask) != static_cast<uint32_t>(CommandState::kNew) ||
      (words[0] >> 23 & 0x1F) != amdxdna::kStartCu || (words[0] >> 10 & 3) != 0)
    return refuse(EINVAL, fmt::format("EXEC_CMD: header {:#x} is no new START_CU", words[0]));
  if (count > kMaxUserCommandWords || count < 1 + amdxdna::kStartCuFixedWords ||
      count - 1 > amdxdna::kStartCuPayloadMaxWords ||
      (count - 1 - amdxdna::kStartCuFixedWords) % 2 != 0)
    return refuse(EINVAL, fmt::format("EXEC_CMD: {} words after the header", count));
  if (words[1] != 1) return refuse(EINVAL, "EXEC_CMD: the mask must name compute unit 0");
  if (join(words[2], words[3]) != amdxdna::kTransactionOpcode)
    return refuse(EINVAL, "EXEC_CMD: the kernel's opcode must be 3, run a transaction");
  return 0;
}

int FakeDriver::read_command(const amdxdna::ExecCommand& request, Run* run) {
  const auto entry = contexts_.find(request.context);
  if (entry == contexts_.end() || entry->second->emulator == nullptr)
    return refuse(EINVAL, fmt::format("EXEC_CMD: context {} does not exist or is not configured",
                                      request.context));
  run->context = entry->second.get();
  run->command = memory_.find(static_cast<uint32_t>(request.commands));
  if (run->command == nullptr || run->command->type != BoType::kCommand ||
      run->command->host == nullptr)
    return refuse(EINVAL, "EXEC_CMD: the command is no mapped command buffer");
  std::vector<uint32_t> handles(request.arg_count);
  if (!handles.empty())
    std::memcpy(handles.data(), reinterpret_cast<const void*>(request.args),
                handles.size() * sizeof(uint32_t));
  std::vector<const FakeBuffer*> pinned;
  for (const uint32_t handle : handles) {
    pinned.push_back(memory_.find(handle));
    if (pinned.back() == nullptr)
      return refuse(ENOENT, fmt::format("EXEC_CMD: no argument buffer {}", handle));
  }
  const auto locate = [&](uint64_t address, uint64_t size) -> FakeBuffer* {
    FakeBuffer* buffer = memory_.find_device(address, size);
    return std::find(pinned.begin(), pinned.end(), buffer) == pinned.end() ? nullptr : buffer;
  };

  const auto* words = reinterpret_cast<const uint32_t*>(run->command->host);
  if (const int error = check_header(words); error != 0) return error;
  const uint32_t count = command_words(words);
  const uint64_t address = join(words[4], words[5]);
  const FakeBuffer* instructions = locate(address, uint64_t{words[6]} * sizeof(uint32_t));
  if (instructions == nullptr || instructions->type != BoType::kDevice)
    return refuse(EINVAL,
                  "EXEC_CMD: the instructions are not in a device buffer among the "
                  "arguments");
  if (options_.check_flushes && FakeMemory::first_unflushed(*instructions))
    return refuse(EINVAL, "EXEC_CMD: the instructions were not flushed from the CPU's caches");
  run->instructions.resize(words[6]);
  std::memcpy(run->instructions.data(),
              instructions->device.data() + (address - instructions->device_address),
              run->instructions.size() * sizeof(uint32_t));
  for (uint32_t word = 1 + 1 + amdxdna::kStartCuFixedWords; word < count + 1; word += 2) {
    const uint64_t buffer_address = join(words[word], words[word + 1]);
    FakeBuffer* buffer = locate(buffer_address, 1);
    if (buffer == nullptr || buffer->type != BoType::kShare)
      return refuse(EINVAL, fmt::format("EXEC_CMD: buffer {} at {:#x} is not mapped memory among "
                                        "the arguments",
                                        run->buffers.size(), buffer_address));
    run->buffers.push_back(buffer);
    run->offsets.push_back(buffer_address - buffer->device_address);
  }
  return check_arguments(*run);
}

// What silicon would not notice: too few or too small buffers, data still in the CPU's caches.
int FakeDriver::check_arguments(const Run& run) {
  const std::vector<HostArgument>& expected = run.context->design.arguments;
  if (run.buffers.size() != expected.size())
    return refuse(EINVAL, fmt::format("EXEC_CMD: {} buffers, the design takes {}",
                                      run.buffers.size(), expected.size()));
  for (size_t i = 0; i < expected.size(); ++i) {
    const FakeBuffer& buffer = *run.buffers[i];
    if (run.offsets[i] % sizeof(uint32_t) != 0)
      return refuse(EINVAL, fmt::format("EXEC_CMD: buffer {} is not aligned to 4 bytes", i));
    if (buffer.size - run.offsets[i] < expected[i].size)
      return refuse(EINVAL,
                    fmt::format("EXEC_CMD: buffer {} has {} bytes, argument {} takes {}", i,
                                buffer.size - run.offsets[i], expected[i].name, expected[i].size));
    if (!options_.check_flushes) continue;
    if (const auto byte = FakeMemory::first_unflushed(buffer))
      return refuse(EINVAL, fmt::format("EXEC_CMD: byte {} of buffer {} is still in the CPU's "
                                        "caches; flush it before the run",
                                        *byte, i));
  }
  return 0;
}

CommandState FakeDriver::execute(Run& run) {
  if (next_state_) {
    const CommandState state = *next_state_;
    next_state_.reset();
    return state;
  }
  std::vector<HostBuffer> buffers;
  for (size_t i = 0; i < run.buffers.size(); ++i) {
    const uint64_t size = run.context->design.arguments[i].size;
    buffers.push_back({std::span(run.buffers[i]->device).subspan(run.offsets[i], size), size});
  }
  try {
    const Transaction transaction = decode_transaction(run.instructions);
    if (transaction.generation != geometry_.transaction_generation)
      throw Error(ErrorCode::kInvalidFile, "the instructions are for another generation");
    last_run_ = run.context->emulator->run(transaction.instructions, buffers);
  } catch (const Error& error) {
    complaint_ = error.what();
    return error.code() == ErrorCode::kTimeout ? CommandState::kTimeout : CommandState::kError;
  }
  for (FakeBuffer* buffer : run.buffers) {
    FakeMemory::note_device_writes(*buffer);
    if (options_.zero_results) FakeMemory::zero_device_writes(*buffer);
  }
  ++totals_.runs;
  totals_.array_bytes_read += last_run_.host_bytes_read;
  totals_.array_bytes_written += last_run_.host_bytes_written;
  totals_.cycles += last_run_.cycles;
  totals_.array_seconds += last_run_.seconds;
  totals_.launch_seconds += last_run_.launch_seconds;
  return CommandState::kCompleted;
}

int FakeDriver::exec(amdxdna::ExecCommand& request) {
  if (request.ext != 0 || request.ext_flags != 0 || request.type != 0)
    return refuse(EINVAL, "EXEC_CMD: ext, ext_flags and type must be zero");
  if (request.command_count != 1)
    return refuse(EINVAL, "EXEC_CMD: exactly one command is expected");
  if (request.arg_count > kMaxArguments) return refuse(EINVAL, "EXEC_CMD: too many arguments");
  Run run;
  if (const int error = read_command(request, &run); error != 0) return error;
  Timeline& timeline = syncobjs_[run.context->syncobj];
  request.sequence = timeline.submitted++;
  if (hang_next_run_) {
    hang_next_run_ = false;
    return 0;
  }
  const CommandState state = execute(run);
  auto* header = reinterpret_cast<uint32_t*>(run.command->host);
  *header = (*header & ~amdxdna::kCommandStateMask) | static_cast<uint32_t>(state);
  timeline.signaled = timeline.submitted;
  return 0;
}

int FakeDriver::timeline_wait(amdxdna::SyncobjTimelineWait& request) {
  if (request.count != 1 || request.pad != 0 || request.handles == 0 || request.points == 0)
    return refuse(EINVAL, "SYNCOBJ_TIMELINE_WAIT: one handle and one point are expected");
  uint32_t handle = 0;
  uint64_t point = 0;
  std::memcpy(&handle, reinterpret_cast<const void*>(request.handles), sizeof handle);
  std::memcpy(&point, reinterpret_cast<const void*>(request.points), sizeof point);
  const auto entry = syncobjs_.find(handle);
  if (entry == syncobjs_.end())
    return refuse(ENOENT, fmt::format("SYNCOBJ_TIMELINE_WAIT: no object {}", handle));
  if (point >= entry->second.submitted)
    return refuse(EINVAL,
                  fmt::format("SYNCOBJ_TIMELINE_WAIT: point {} was never submitted", point));
  if (point < entry->second.signaled) return 0;
  skipped_ns_ += std::max<int64_t>(0, request.timeout_ns - now_ns());
  return refuse(ETIME, "SYNCOBJ_TIMELINE_WAIT: the time ran out");
}

int FakeDriver::syncobj_destroy(const amdxdna::SyncobjDestroy& request) {
  if (request.pad != 0 || syncobjs_.erase(request.handle) == 0)
    return refuse(EINVAL, fmt::format("SYNCOBJ_DESTROY: no object {}", request.handle));
  return 0;
}

}  // namespace tandem::npu

// SPDX-License-Identifier: Apache-2.0
#include "npu/device.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace tandem::npu {
namespace {

using amdxdna::BoType;
using amdxdna::CommandState;

constexpr int kMaxRepeats = 64;                 // of a call that signals keep interrupting
constexpr uint32_t kOperationsPerCycle = 2048;  // of one npu1 column; what the vendor's shim asks

size_t round_up_to_pages(size_t size) {
  return (size + amdxdna::kPageSize - 1) / amdxdna::kPageSize * amdxdna::kPageSize;
}

uint64_t address_of(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

ErrorCode code_of(int error) {
  switch (-error) {
    case ENOENT: return ErrorCode::kNotFound;
    case ENOMEM:
    case ENOSPC:
    case EAGAIN: return ErrorCode::kOutOfMemory;
    case ENODEV:
    case EIO: return ErrorCode::kDeviceLost;
    case ETIME:
    case ETIMEDOUT: return ErrorCode::kTimeout;
    case EACCES:
    case EPERM:
    case ENOTTY:
    case EOPNOTSUPP:
    case ENXIO: return ErrorCode::kUnsupported;
    default: return ErrorCode::kInternal;
  }
}

const char* advice_for(int error) {
  switch (-error) {
    case ENOMEM:
    case ENOSPC:
    case EAGAIN: return "raise the memlock limit (`tandem doctor`) or use the NPU for fewer layers";
    case EACCES:
    case EPERM: return "join the group of the device node (`tandem doctor`)";
    case ENOENT: return "see `tandem doctor`";
    default: return "read `dmesg | grep amdxdna`";
  }
}

[[noreturn]] void fail(int error, const std::string& what) {
  throw Error(code_of(error), fmt::format("the NPU driver refused {}: {}; {}", what,
                                          std::strerror(-error), advice_for(error)));
}

}  // namespace

// ---- DriverSession ------------------------------------------------------------------------------

DriverSession::DriverSession(DriverCalls& calls, const std::string& node) : calls_(&calls) {
  fd_ = calls.open(node.c_str());
  if (fd_ < 0) fail(fd_, "opening " + node);
}

DriverSession::~DriverSession() { calls_->close(fd_); }

int DriverSession::try_ioctl(unsigned long request, void* argument) noexcept {
  int result = 0;
  int repeats = 0;
  do {
    result = calls_->ioctl(fd_, request, argument);
  } while (result == -EINTR && ++repeats < kMaxRepeats);
  return result;
}

void DriverSession::ioctl(unsigned long request, void* argument, const std::string& what) {
  const int result = try_ioctl(request, argument);
  if (result < 0) fail(result, what);
}

// ---- MappedRange --------------------------------------------------------------------------------

MappedRange::MappedRange(DriverSession& session, size_t size, int fd, uint64_t offset)
    : calls_(&session.calls()), size_(size) {
  const DriverCalls::Mapping mapping = calls_->mmap(nullptr, size, fd, offset);
  if (mapping.error != 0) fail(mapping.error, fmt::format("mapping {} bytes", size));
  data_ = static_cast<std::byte*>(mapping.address);
}

MappedRange::~MappedRange() {
  if (data_ != nullptr) calls_->munmap(data_, size_);
}

MappedRange& MappedRange::operator=(MappedRange&& other) noexcept {
  std::swap(calls_, other.calls_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

// ---- Buffer -------------------------------------------------------------------------------------

Buffer::~Buffer() {
  mapping_ = MappedRange();
  amdxdna::GemClose close{handle_};
  session_->try_ioctl(amdxdna::kIoctlGemClose, &close);
}

void Buffer::sync(size_t offset, size_t size) const noexcept {
  TANDEM_DCHECK(offset <= host_.size() && size <= host_.size() - offset, "%zu + %zu of %zu", offset,
                size, host_.size());
  if (size > 0) session_->calls().flush_cache(host_.data() + offset, size);
}

// ---- LoadedDesign -------------------------------------------------------------------------------

LoadedDesign::~LoadedDesign() { destroy_context(); }

void LoadedDesign::destroy_context() noexcept {
  if (!has_context_) return;
  has_context_ = false;
  amdxdna::DestroyContext destroy{context_};
  session_->try_ioctl(amdxdna::kIoctlDestroyContext, &destroy);
  amdxdna::SyncobjDestroy destroy_syncobj{syncobj_};
  session_->try_ioctl(amdxdna::kIoctlSyncobjDestroy, &destroy_syncobj);
}

void LoadedDesign::write_command(std::span<const Buffer* const> buffers) noexcept {
  const auto payload_words =
      static_cast<uint32_t>(amdxdna::kStartCuFixedWords + 2 * buffers.size());
  auto* out = reinterpret_cast<uint32_t*>(command_->host().data());
  const auto put = [&](uint64_t value, int words) {
    for (int word = 0; word < words; ++word) *out++ = static_cast<uint32_t>(value >> 32 * word);
  };
  put(amdxdna::command_header(CommandState::kNew, amdxdna::kStartCu, 1 + payload_words), 1);
  put(1, 1);  // the only compute unit
  put(amdxdna::kTransactionOpcode, 2);
  put(instructions_->device_address(), 2);
  put(instruction_words_, 1);
  for (const Buffer* buffer : buffers) put(buffer->device_address(), 2);
}

RunResult LoadedDesign::run(std::span<const Buffer* const> buffers,
                            std::chrono::microseconds timeout) noexcept {
  TANDEM_CHECK(buffers.size() <= amdxdna::kMaxBuffers, "%zu buffers", buffers.size());
  if (!has_context_) return {Status::kDeviceLost, "an earlier run failed and lost the context"};
  write_command(buffers);
  std::array<uint32_t, amdxdna::kMaxBuffers + 1> handles{instructions_->handle()};
  for (size_t i = 0; i < buffers.size(); ++i) handles[i + 1] = buffers[i]->handle();

  amdxdna::ExecCommand exec;
  exec.context = context_;
  exec.commands = command_->handle();
  exec.args = address_of(handles.data());
  exec.arg_count = static_cast<uint32_t>(buffers.size() + 1);
  if (session_->try_ioctl(amdxdna::kIoctlExecCommand, &exec) < 0)
    return finish({Status::kDeviceLost, "the NPU driver refused a command"});

  amdxdna::SyncobjTimelineWait wait;
  wait.handles = address_of(&syncobj_);
  wait.points = address_of(&exec.sequence);
  wait.timeout_ns = session_->calls().now_ns() + std::chrono::nanoseconds(timeout).count();
  wait.count = 1;
  const int waited = session_->try_ioctl(amdxdna::kIoctlSyncobjTimelineWait, &wait);
  if (waited == -ETIME) return finish({Status::kTimeout, "the NPU did not finish in time"});
  if (waited < 0) return finish({Status::kDeviceLost, "waiting for the NPU failed"});

  uint32_t header = 0;
  std::memcpy(&header, command_->host().data(), sizeof header);
  switch (static_cast<CommandState>(header & amdxdna::kCommandStateMask)) {
    case CommandState::kCompleted: return {};
    case CommandState::kError:
      return finish({Status::kDeviceLost, "the NPU firmware reported an error in the design"});
    case CommandState::kAbort:
      return finish({Status::kDeviceLost, "the NPU firmware aborted the command; is it too old?"});
    case CommandState::kTimeout:
      return finish({Status::kTimeout, "the driver's watchdog stopped the design"});
    default: return finish({Status::kDeviceLost, "the NPU firmware did not respond"});
  }
}

RunResult LoadedDesign::finish(RunResult result) noexcept {
  destroy_context();
  return result;
}

// ---- Device -------------------------------------------------------------------------------------

Device::Device(DriverCalls& calls, const std::string& node) : session_(calls, node) {
  read_facts();
  create_heap();
}

void Device::read_facts() {
  std::array<char, 32> name{};
  amdxdna::DrmVersion version;
  version.name_size = name.size() - 1;
  version.name = address_of(name.data());
  session_.ioctl(amdxdna::kIoctlVersion, &version, "telling its version");
  if (std::string_view(name.data()) != "amdxdna")
    throw Error(ErrorCode::kUnsupported,
                fmt::format("the device node belongs to the driver \"{}\", not amdxdna; name the "
                            "NPU's node",
                            name.data()));
  facts_.driver_major = static_cast<uint32_t>(version.major);
  facts_.driver_minor = static_cast<uint32_t>(version.minor);

  amdxdna::AieMetadata metadata;
  amdxdna::GetInfo info{static_cast<uint32_t>(amdxdna::InfoParam::kAieMetadata), sizeof metadata,
                        address_of(&metadata)};
  session_.ioctl(amdxdna::kIoctlGetInfo, &info, "describing its array");
  facts_.columns = metadata.columns;
  facts_.core_rows = metadata.core.row_count;
  info = {static_cast<uint32_t>(amdxdna::InfoParam::kFirmware), sizeof facts_.firmware,
          address_of(&facts_.firmware)};
  session_.ioctl(amdxdna::kIoctlGetInfo, &info, "telling its firmware's version");
}

// The firmware addresses the heap in a window of its own size, so it must lie at a multiple of
// that. The alignment is found in a reservation of twice the size, over which the heap is mapped
// and together with which it is unmapped.
void Device::create_heap() {
  const size_t reserved = 2 * amdxdna::kHeapSize - amdxdna::kPageSize;
  heap_range_ = MappedRange(session_, reserved, -1, 0);
  const uint64_t first = address_of(heap_range_.data());
  const uint64_t aligned =
      (first + amdxdna::kHeapSize - 1) / amdxdna::kHeapSize * amdxdna::kHeapSize;
  amdxdna::CreateBo request;
  request.size = amdxdna::kHeapSize;
  request.type = BoType::kDeviceHeap;
  heap_ = create(request, "creating the heap for designs");
  amdxdna::BoInfo info;
  info.handle = heap_->handle();
  session_.ioctl(amdxdna::kIoctlBoInfo, &info, "locating the heap");
  const DriverCalls::Mapping mapping = session_.calls().mmap(
      reinterpret_cast<void*>(aligned), amdxdna::kHeapSize, session_.fd(), info.map_offset);
  if (mapping.error != 0) fail(mapping.error, "mapping the heap");
  heap_->host_ = {static_cast<std::byte*>(mapping.address), amdxdna::kHeapSize};
}

std::unique_ptr<Buffer> Device::create(amdxdna::CreateBo request, const std::string& what) {
  session_.ioctl(amdxdna::kIoctlCreateBo, &request, what);
  return std::unique_ptr<Buffer>(new Buffer(session_, request.handle));
}

// Maps `buffer` for the host; its device address is known only then.
void Device::map(Buffer& buffer, size_t size, const std::string& what) {
  amdxdna::BoInfo info;
  info.handle = buffer.handle();
  session_.ioctl(amdxdna::kIoctlBoInfo, &info, what);
  buffer.mapping_ = MappedRange(session_, size, session_.fd(), info.map_offset);
  buffer.host_ = {buffer.mapping_.data(), size};
  session_.ioctl(amdxdna::kIoctlBoInfo, &info, what);
  // With shared virtual addressing the device uses the host's addresses and the driver gives none.
  buffer.device_address_ = info.device_address == amdxdna::kInvalidAddress
                               ? address_of(buffer.mapping_.data())
                               : info.device_address;
}

std::unique_ptr<Buffer> Device::create_in_heap(size_t size, const std::string& what) {
  amdxdna::CreateBo request;
  request.size = round_up_to_pages(size);
  request.type = BoType::kDevice;
  std::unique_ptr<Buffer> buffer = create(request, what);
  amdxdna::BoInfo info;
  info.handle = buffer->handle();
  session_.ioctl(amdxdna::kIoctlBoInfo, &info, what);
  buffer->device_address_ = info.device_address;
  buffer->host_ = heap_->host().subspan(info.device_address - amdxdna::kHeapDeviceAddress, size);
  return buffer;
}

std::unique_ptr<Buffer> Device::allocate(size_t size) {
  const std::string what = fmt::format("creating a buffer of {} bytes", size);
  amdxdna::CreateBo request;
  request.size = round_up_to_pages(size);
  std::unique_ptr<Buffer> buffer = create(request, what);
  map(*buffer, request.size, what);
  // Dirty cache lines of fresh pages would later be written over what the device wrote.
  buffer->sync();
  return buffer;
}

std::unique_ptr<Buffer> Device::import(std::span<std::byte> pages) {
  if (address_of(pages.data()) % amdxdna::kPageSize != 0)
    throw Error(ErrorCode::kUsage,
                fmt::format("memory at {} cannot be given to the NPU: it does not start on a page",
                            static_cast<const void*>(pages.data())));
  amdxdna::UserPages table;
  table.address = address_of(pages.data());
  table.size = round_up_to_pages(pages.size());
  amdxdna::CreateBo request;
  request.address = address_of(&table);
  const std::string what = fmt::format("taking {} bytes of user memory", table.size);
  // The first drivers knew no user pages and took the table for a wrong argument.
  const int result = session_.try_ioctl(amdxdna::kIoctlCreateBo, &request);
  if (result == -EINVAL || result == -EOPNOTSUPP)
    throw Error(ErrorCode::kUnsupported,
                "this NPU driver does not take user memory; use its own buffers");
  if (result < 0) fail(result, what);
  std::unique_ptr<Buffer> buffer(new Buffer(session_, request.handle));
  amdxdna::BoInfo info;
  info.handle = buffer->handle();
  session_.ioctl(amdxdna::kIoctlBoInfo, &info, what);
  buffer->host_ = {pages.data(), table.size};
  buffer->device_address_ =
      info.device_address == amdxdna::kInvalidAddress ? table.address : info.device_address;
  buffer->sync();
  return buffer;
}

std::unique_ptr<LoadedDesign> Device::load(const Artifact& artifact) {
  const std::string name = design_name(artifact.manifest.identity);
  const std::string what = "loading " + name;
  const uint32_t columns = artifact.manifest.identity.columns;
  if (columns == 0 || columns > facts_.columns)
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{} needs {} columns, this NPU has {}", name, columns, facts_.columns));
  std::unique_ptr<LoadedDesign> design(new LoadedDesign(session_));

  amdxdna::Qos qos;
  amdxdna::CreateContext context;
  context.qos = address_of(&qos);
  context.max_opc = kOperationsPerCycle;
  context.num_tiles = columns * facts_.core_rows;
  session_.ioctl(amdxdna::kIoctlCreateContext, &context, what);
  design->context_ = context.handle;
  design->syncobj_ = context.syncobj_handle;
  design->has_context_ = true;

  const std::span<const std::byte> configuration = artifact.configuration;
  design->configuration_ = create_in_heap(configuration.size(), what);
  std::memcpy(design->configuration_->host().data(), configuration.data(), configuration.size());
  design->configuration_->sync();
  amdxdna::CuConfig cu;
  cu.bo = design->configuration_->handle();
  amdxdna::ConfigContext config;
  config.handle = design->context_;
  config.param_type = amdxdna::kConfigCu;
  config.param = address_of(&cu);
  config.param_size = sizeof cu;
  session_.ioctl(amdxdna::kIoctlConfigContext, &config, what);

  const auto instructions = std::as_bytes(std::span(artifact.instructions));
  design->instructions_ = create_in_heap(instructions.size(), what);
  std::memcpy(design->instructions_->host().data(), instructions.data(), instructions.size());
  design->instructions_->sync();
  design->instruction_words_ = artifact.instructions.size();

  amdxdna::CreateBo command;
  command.size = amdxdna::kCommandBoSize;
  command.type = BoType::kCommand;
  design->command_ = create(command, what);
  map(*design->command_, command.size, what);
  return design;
}

}  // namespace tandem::npu

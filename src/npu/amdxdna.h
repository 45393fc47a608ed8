// The structures and numbers of the kernel driver's interface that this project uses: the amdxdna
// ioctls, the few generic DRM ones, and the layout of a command buffer. Nothing else belongs here.
// Facts from the public headers amdxdna_accel.h and drm.h and from amdxdna_ctx.h of the driver
// (Linux 6.14 and amd/xdna-driver); every size is asserted, because the size is part of the number.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/ioctl.h>

#include <cstdint>

namespace tandem::npu::amdxdna {

// ---- Generic DRM ------------------------------------------------------------------------------

struct DrmVersion {
  int32_t major = 0, minor = 0, patch = 0, pad = 0;
  uint64_t name_size = 0, name = 0;  // in: room and address; out: full length
  uint64_t date_size = 0, date = 0;
  uint64_t description_size = 0, description = 0;
};
struct GemClose {
  uint32_t handle = 0, pad = 0;
};
struct SyncobjDestroy {
  uint32_t handle = 0, pad = 0;
};
struct SyncobjTimelineWait {
  uint64_t handles = 0, points = 0;  // addresses of u32[count] and u64[count]
  int64_t timeout_ns = 0;            // absolute, CLOCK_MONOTONIC
  uint32_t count = 0, flags = 0;
  uint32_t first_signaled = 0, pad = 0;
};

// ---- amdxdna ----------------------------------------------------------------------------------

// In CreateContext::qos; all zero but the priority asks for the driver's defaults.
struct Qos {
  uint32_t gops = 0, fps = 0, dma_bandwidth = 0, latency = 0, frame_exec_time = 0;
  uint32_t priority = 0x200;  // normal
};
struct CreateContext {
  uint64_t ext = 0, ext_flags = 0;  // must be zero
  uint64_t qos = 0;                 // address of a Qos
  uint32_t umq_bo = 0, log_bo = 0;
  uint32_t max_opc = 0;    // operations per cycle at most
  uint32_t num_tiles = 0;  // columns times core rows
  uint32_t mem_size = 0;
  uint32_t umq_doorbell = 0;                // out
  uint32_t handle = 0, syncobj_handle = 0;  // out
};
struct DestroyContext {
  uint32_t handle = 0, pad = 0;
};
struct ConfigContext {
  uint32_t handle = 0;
  uint32_t param_type = 0;  // kConfigCu
  uint64_t param = 0;       // address of a CuConfig
  uint32_t param_size = 0, pad = 0;
};
constexpr uint32_t kConfigCu = 0;

// One compute unit, the only number this project uses; `bo` is the device buffer with the PDI.
struct CuConfig {
  uint16_t num_cus = 1;
  uint16_t pad[3] = {};
  uint32_t bo = 0;
  uint8_t function = 0;
  uint8_t cu_pad[3] = {};
};

enum class BoType : uint32_t { kShare = 1, kDeviceHeap = 2, kDevice = 3, kCommand = 4 };

struct CreateBo {
  uint64_t flags = 0;
  uint64_t address = 0;  // 0, or the address of a UserPages for a kShare buffer over user pages
  uint64_t size = 0;     // 0 with UserPages
  BoType type = BoType::kShare;
  uint32_t handle = 0;  // out
};
// A table with a single entry.
struct UserPages {
  int32_t dmabuf_fd = -1;
  uint32_t num_entries = 1;
  uint64_t address = 0, size = 0;  // both multiples of the page size
};
struct BoInfo {
  uint64_t ext = 0, ext_flags = 0;
  uint32_t handle = 0, pad = 0;
  uint64_t map_offset = 0;      // out; kInvalidAddress for kDevice
  uint64_t host_address = 0;    // out
  uint64_t device_address = 0;  // out; kInvalidAddress where the host address is the device's too
};
constexpr uint64_t kInvalidAddress = ~uint64_t{0};

struct SyncBo {
  uint32_t handle = 0;
  uint32_t direction = 0;  // 0 to the device, 1 from it
  uint64_t offset = 0, size = 0;
};
struct ExecCommand {
  uint64_t ext = 0, ext_flags = 0;
  uint32_t context = 0;
  uint32_t type = 0;      // 0: execute a command buffer
  uint64_t commands = 0;  // the handle itself when there is one
  uint64_t args = 0;      // address of u32 buffer handles, which the driver pins for the run
  uint32_t command_count = 1, arg_count = 0;
  uint64_t sequence = 0;  // out: the timeline point that completion signals
};
struct GetInfo {
  uint32_t param = 0;  // InfoParam
  uint32_t size = 0;
  uint64_t buffer = 0;
};
enum class InfoParam : uint32_t { kAieMetadata = 1, kClocks = 3, kFirmware = 8, kPowerMode = 9 };

struct TileMetadata {
  uint16_t row_count = 0, row_start = 0, dma_channels = 0, locks = 0, event_registers = 0;
  uint16_t pad[3] = {};
};
struct AieMetadata {
  uint32_t column_size = 0;
  uint16_t columns = 0, rows = 0;
  uint32_t version_major = 0, version_minor = 0;
  TileMetadata core, memory, shim;
};
struct Clock {
  char name[16] = {};
  uint32_t mhz = 0, pad = 0;
};
struct Clocks {
  Clock controller, array;
};
struct FirmwareVersion {
  uint32_t major = 0, minor = 0, patch = 0, build = 0;
};
struct PowerMode {
  uint8_t mode = 0;  // 0 default, 1 low, 2 medium, 3 high, 4 turbo
  uint8_t pad[7] = {};
};

static_assert(sizeof(DrmVersion) == 64 && sizeof(GemClose) == 8 && sizeof(SyncobjDestroy) == 8);
static_assert(sizeof(SyncobjTimelineWait) == 40);
static_assert(sizeof(Qos) == 24 && sizeof(CreateContext) == 56 && sizeof(DestroyContext) == 8);
static_assert(sizeof(ConfigContext) == 24 && sizeof(CuConfig) == 16);
static_assert(sizeof(CreateBo) == 32 && sizeof(UserPages) == 24 && sizeof(BoInfo) == 48);
static_assert(sizeof(SyncBo) == 24 && sizeof(ExecCommand) == 56 && sizeof(GetInfo) == 16);
static_assert(sizeof(TileMetadata) == 16 && sizeof(AieMetadata) == 64);
static_assert(sizeof(Clocks) == 48 && sizeof(FirmwareVersion) == 16 && sizeof(PowerMode) == 8);

// ---- Request numbers --------------------------------------------------------------------------

constexpr unsigned long kIoctlVersion = _IOWR('d', 0x00, DrmVersion);
constexpr unsigned long kIoctlGemClose = _IOW('d', 0x09, GemClose);
constexpr unsigned long kIoctlSyncobjDestroy = _IOWR('d', 0xC0, SyncobjDestroy);
constexpr unsigned long kIoctlSyncobjTimelineWait = _IOWR('d', 0xCA, SyncobjTimelineWait);
constexpr unsigned long kIoctlCreateContext = _IOWR('d', 0x40, CreateContext);
constexpr unsigned long kIoctlDestroyContext = _IOWR('d', 0x41, DestroyContext);
constexpr unsigned long kIoctlConfigContext = _IOWR('d', 0x42, ConfigContext);
constexpr unsigned long kIoctlCreateBo = _IOWR('d', 0x43, CreateBo);
constexpr unsigned long kIoctlBoInfo = _IOWR('d', 0x44, BoInfo);
constexpr unsigned long kIoctlSyncBo = _IOWR('d', 0x45, SyncBo);
constexpr unsigned long kIoctlExecCommand = _IOWR('d', 0x46, ExecCommand);
constexpr unsigned long kIoctlGetInfo = _IOWR('d', 0x47, GetInfo);

static_assert(kIoctlVersion == 0xC0406400 && kIoctlGemClose == 0x40086409);
static_assert(kIoctlSyncobjDestroy == 0xC00864C0 && kIoctlSyncobjTimelineWait == 0xC02864CA);
static_assert(kIoctlCreateContext == 0xC0386440 && kIoctlDestroyContext == 0xC0086441);
static_assert(kIoctlConfigContext == 0xC0186442 && kIoctlCreateBo == 0xC0206443);
static_assert(kIoctlBoInfo == 0xC0306444 && kIoctlSyncBo == 0xC0186445);
static_assert(kIoctlExecCommand == 0xC0386446 && kIoctlGetInfo == 0xC0106447);

// ---- Memory -----------------------------------------------------------------------------------

constexpr uint64_t kPageSize = 4096;
constexpr uint64_t kHeapSize = uint64_t{64} << 20;  // size of the heap and alignment of its mapping
constexpr uint64_t kHeapDeviceAddress = 0x04000000;
constexpr uint64_t kCacheLineSize = 64;

// ---- Command buffer ---------------------------------------------------------------------------

// Word 0 is a header; with kStartCu, word 1 is a mask of compute units and the kernel's arguments
// follow, packed: u64 opcode, u64 address and u32 word count of the instructions, then one u64
// address per buffer.
constexpr uint32_t kCommandBoSize = 4096;
constexpr uint32_t kStartCu = 0;                  // header bits 27..23
constexpr uint32_t kTransactionOpcode = 3;        // run the instructions as a transaction
constexpr uint32_t kStartCuPayloadMaxWords = 19;  // after the mask
constexpr uint32_t kStartCuFixedWords = 5;        // opcode, instruction address and count
constexpr uint32_t kMaxBuffers = (kStartCuPayloadMaxWords - kStartCuFixedWords) / 2;
constexpr uint32_t kMaxCommandsInFlight = 4;  // per context

enum class CommandState : uint32_t {
  kNew = 1,
  kQueued = 2,
  kRunning = 3,
  kCompleted = 4,
  kError = 5,
  kAbort = 6,
  kSubmitted = 7,
  kTimeout = 8,
  kNoResponse = 9,
};
constexpr uint32_t kCommandStateMask = 0xF;

// `words` counts the 32-bit words after the header.
constexpr uint32_t command_header(CommandState state, uint32_t opcode, uint32_t words) {
  return static_cast<uint32_t>(state) | words << 12 | opcode << 23;
}

}  // namespace tandem::npu::amdxdna

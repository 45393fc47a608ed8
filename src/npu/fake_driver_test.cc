// The fake driver's own behaviour: a correct client of the raw calls is served, and each mistake a
// client can make is refused with a sentence.
// SPDX-License-Identifier: Apache-2.0
#include "npu/fake_driver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <functional>

#include "npu/add_one_design.h"

namespace tandem::npu {
namespace {

using amdxdna::BoType;
using ::testing::HasSubstr;

uint64_t address_of(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

// Each field is what a correct client does; a test changes one.
struct Behaviour {
  bool make_heap = true, map_heap = true;
  uint64_t heap_size = amdxdna::kHeapSize, heap_shift = 0;
  uint64_t bo_flags = 0, context_ext = 0, qos_missing = 0;
  uint32_t tiles = 4;
  BoType pdi_type = BoType::kDevice;
  bool damage_pdi = false, flush_pdi = true, configure = true, configure_twice = false;
  uint16_t cu_count = 1, cu_pad = 0;
  bool flush_instructions = true, damage_instructions = false;
  uint32_t header = amdxdna::command_header(amdxdna::CommandState::kNew, amdxdna::kStartCu, 10);
  uint32_t mask = 1, opcode = 3;
  uint64_t out_size = 4096, out_shift = 0;
  bool map_out = true, flush_in = true, flush_out = true;
  bool swap_buffers_away = false;  // instructions' address where a buffer's belongs
  uint32_t argument_count = 3, command_count = 1, exec_type = 0;
  uint64_t exec_ext = 0, point_shift = 0;
  int fd_shift = 0;
};

// Drives the calls without the runtime. After any refusal it stops and `refused` is set.
class RawClient {
 public:
  explicit RawClient(const Behaviour& behaviour, FakeDriverOptions options = {})
      : does_(behaviour), driver_(std::move(options)) {}

  // True when the run ended well and the output was right.
  bool run() {
    fd_ = driver_.open("/dev/accel/accel0");
    const std::function<bool()> steps[] = {
        [&] { return make_heap(); },      [&] { return make_context(); },
        [&] { return load_pdi(); },       [&] { return load_instructions(); },
        [&] { return make_buffers(); },   [&] { return submit_and_wait(); },
        [&] { return output_is_right(); }};
    for (const auto& step : steps)
      if (!step()) return false;
    return true;
  }

  FakeDriver& driver() { return driver_; }
  int error() const { return error_; }

 private:
  struct Bo {
    uint32_t handle = 0;
    uint64_t device = 0, offset = 0, size = 0;
    std::byte* host = nullptr;
  };

  template <typename T>
  bool call(unsigned long request, T& argument) {
    error_ = driver_.ioctl(fd_ + does_.fd_shift, request, &argument);
    return error_ == 0;
  }

  bool create(BoType type, uint64_t size, Bo* bo) {
    amdxdna::CreateBo request{does_.bo_flags, 0, size, type, 0};
    if (!call(amdxdna::kIoctlCreateBo, request)) return false;
    bo->handle = request.handle;
    bo->size = size;
    return look(bo);
  }
  bool look(Bo* bo) {
    amdxdna::BoInfo info;
    info.handle = bo->handle;
    if (!call(amdxdna::kIoctlBoInfo, info)) return false;
    bo->offset = info.map_offset;
    bo->device = info.device_address;
    bo->host = reinterpret_cast<std::byte*>(info.host_address);
    return true;
  }
  bool map(Bo* bo, void* address) {
    const DriverCalls::Mapping mapping = driver_.mmap(address, bo->size, fd_, bo->offset);
    error_ = mapping.error;
    return error_ == 0 && look(bo);
  }
  void flush(const Bo& bo) { driver_.flush_cache(bo.host, bo.size); }

  bool make_heap() {
    if (!does_.make_heap) return true;
    if (!create(BoType::kDeviceHeap, does_.heap_size, &heap_)) return false;
    if (!does_.map_heap) return true;
    const auto space = driver_.mmap(nullptr, 3 * amdxdna::kHeapSize, -1, 0);
    const uint64_t aligned =
        (address_of(space.address) / amdxdna::kHeapSize + 1) * amdxdna::kHeapSize;
    return map(&heap_, reinterpret_cast<void*>(aligned + does_.heap_shift));
  }

  bool make_context() {
    amdxdna::Qos qos;
    amdxdna::CreateContext request;
    request.ext = does_.context_ext;
    request.qos = does_.qos_missing != 0 ? 0 : address_of(&qos);
    request.max_opc = 2048;
    request.num_tiles = does_.tiles;
    if (!call(amdxdna::kIoctlCreateContext, request)) return false;
    context_ = request.handle;
    syncobj_ = request.syncobj_handle;
    return true;
  }

  bool load_pdi() {
    std::vector<std::byte> bytes = artifact_.configuration;
    if (does_.damage_pdi) bytes.back() ^= std::byte{1};
    Bo pdi;
    if (!create(does_.pdi_type, bytes.size(), &pdi)) return false;
    if (pdi.host == nullptr) {
      pdi.size = (pdi.size + 4095) / 4096 * 4096;
      if (!map(&pdi, nullptr)) return false;
    }
    std::memcpy(pdi.host, bytes.data(), bytes.size());
    if (does_.flush_pdi) flush(pdi);
    amdxdna::CuConfig cu;
    cu.num_cus = does_.cu_count;
    cu.pad[1] = does_.cu_pad;
    cu.bo = pdi.handle;
    amdxdna::ConfigContext request;
    request.handle = context_;
    request.param = address_of(&cu);
    request.param_size = sizeof cu;
    if (does_.configure && !call(amdxdna::kIoctlConfigContext, request)) return false;
    return !does_.configure_twice || call(amdxdna::kIoctlConfigContext, request);
  }

  bool load_instructions() {
    std::vector<uint32_t> words = artifact_.instructions;
    if (does_.damage_instructions) words[3] += 4;
    if (!create(BoType::kDevice, words.size() * sizeof(uint32_t), &instructions_)) return false;
    std::memcpy(instructions_.host, words.data(), instructions_.size);
    if (does_.flush_instructions) flush(instructions_);
    return true;
  }

  bool make_buffers() {
    if (!create(BoType::kShare, 4096, &in_) || !map(&in_, nullptr)) return false;
    if (!create(BoType::kShare, does_.out_size, &out_)) return false;
    if (does_.map_out && !map(&out_, nullptr)) return false;
    if (!create(BoType::kCommand, 4096, &command_) || !map(&command_, nullptr)) return false;
    for (uint32_t i = 0; i < kAddOneCount; ++i) reinterpret_cast<uint32_t*>(in_.host)[i] = 3 * i;
    if (does_.flush_in) flush(in_);
    if (does_.flush_out && does_.map_out) flush(out_);
    return true;
  }

  bool submit_and_wait() {
    const uint64_t in = does_.swap_buffers_away ? instructions_.device : in_.device;
    const uint64_t out = out_.device + does_.out_shift;
    const uint32_t words[] = {does_.header,
                              does_.mask,
                              does_.opcode,
                              0,
                              static_cast<uint32_t>(instructions_.device),
                              static_cast<uint32_t>(instructions_.device >> 32),
                              static_cast<uint32_t>(artifact_.instructions.size()),
                              static_cast<uint32_t>(in),
                              static_cast<uint32_t>(in >> 32),
                              static_cast<uint32_t>(out),
                              static_cast<uint32_t>(out >> 32)};
    std::memcpy(command_.host, words, sizeof words);
    const uint32_t handles[] = {instructions_.handle, in_.handle, out_.handle};
    amdxdna::ExecCommand exec;
    exec.ext = does_.exec_ext;
    exec.context = context_;
    exec.type = does_.exec_type;
    exec.commands = command_.handle;
    exec.args = address_of(handles);
    exec.command_count = does_.command_count;
    exec.arg_count = does_.argument_count;
    if (!call(amdxdna::kIoctlExecCommand, exec)) return false;
    exec.sequence += does_.point_shift;
    amdxdna::SyncobjTimelineWait wait;
    wait.handles = address_of(&syncobj_);
    wait.points = address_of(&exec.sequence);
    wait.timeout_ns = driver_.now_ns() + 1'000'000'000;
    wait.count = 1;
    if (!call(amdxdna::kIoctlSyncobjTimelineWait, wait)) return false;
    return (*reinterpret_cast<uint32_t*>(command_.host) & amdxdna::kCommandStateMask) ==
           static_cast<uint32_t>(amdxdna::CommandState::kCompleted);
  }

  bool output_is_right() {
    const auto* out = reinterpret_cast<const uint32_t*>(out_.host);
    seen_before_flush_ = out[1];
    flush(out_);
    for (uint32_t i = 0; i < kAddOneCount; ++i)
      if (out[i] != 3 * i + 1) return false;
    return true;
  }

 public:
  uint32_t seen_before_flush_ = 0;

 private:
  Behaviour does_;
  FakeDriver driver_;
  Artifact artifact_ = make_text_artifact(add_one_identity(), kAddOneText);
  int fd_ = -1, error_ = 0;
  uint32_t context_ = 0, syncobj_ = 0;
  Bo heap_, instructions_, in_, out_, command_;
};

TEST(FakeDriver, ServesACorrectClient) {
  RawClient client({});
  EXPECT_TRUE(client.run()) << client.driver().complaint();
  EXPECT_EQ(client.driver().complaint(), "");
}

TEST(FakeDriver, OutputIsNotSeenBeforeItIsFlushed) {
  RawClient client({});
  EXPECT_TRUE(client.run());
  EXPECT_EQ(client.seen_before_flush_, 0u);
}

TEST(FakeDriver, ZeroedResultsAreZero) {
  FakeDriverOptions options;
  options.zero_results = true;
  RawClient client({}, options);
  EXPECT_FALSE(client.run());
  EXPECT_EQ(client.driver().totals().runs, 1u);
}

TEST(FakeDriver, UnknownRequestsAreRefused) {
  FakeDriver driver({});
  const int fd = driver.open("/dev/accel/accel0");
  uint64_t argument = 0;
  EXPECT_EQ(driver.ioctl(fd, 0x1234, &argument), -ENOTTY);
  EXPECT_EQ(driver.ioctl(fd, amdxdna::kIoctlGetInfo, nullptr), -EFAULT);
}

struct Mistake {
  const char* name;
  void (*make)(Behaviour&);
  const char* complaint;
};
class FakeDriverMistakeTest : public ::testing::TestWithParam<Mistake> {};

TEST_P(FakeDriverMistakeTest, IsRefused) {
  Behaviour behaviour;
  GetParam().make(behaviour);
  RawClient client(behaviour);
  EXPECT_FALSE(client.run());
  EXPECT_THAT(client.driver().complaint(), HasSubstr(GetParam().complaint));
}

constexpr Mistake kMistakes[] = {
    // Order
    {"NoHeap", [](Behaviour& b) { b.make_heap = false; }, "heap must be created and mapped"},
    {"HeapNotMapped", [](Behaviour& b) { b.map_heap = false; }, "heap must be created and mapped"},
    {"NotConfigured", [](Behaviour& b) { b.configure = false; }, "not configured"},
    {"ConfiguredTwice", [](Behaviour& b) { b.configure_twice = true; }, "configured already"},
    {"WaitsForAPointNotSubmitted", [](Behaviour& b) { b.point_shift = 1; }, "never submitted"},
    {"WrongFile", [](Behaviour& b) { b.fd_shift = 1; }, "no such file"},
    // Alignment
    {"HeapMisaligned", [](Behaviour& b) { b.heap_shift = 4096; }, "multiple of 64 MiB"},
    {"BufferMisaligned", [](Behaviour& b) { b.out_shift = 2; }, "aligned to 4 bytes"},
    // Sizes
    {"HeapSize", [](Behaviour& b) { b.heap_size = 32 << 20; }, "multiple of 64 MiB"},
    {"OutputTooSmall", [](Behaviour& b) { b.out_shift = 4096 - 128; }, "has 128 bytes"},
    {"OutputEmpty", [](Behaviour& b) { b.out_size = 0; }, "size is zero"},
    {"PayloadTooLong",
     [](Behaviour& b) {
       b.header = amdxdna::command_header(amdxdna::CommandState::kNew, amdxdna::kStartCu, 22);
     },
     "22 words"},
    {"OneBufferTooFew",
     [](Behaviour& b) {
       b.header = amdxdna::command_header(amdxdna::CommandState::kNew, amdxdna::kStartCu, 8);
     },
     "1 buffers, the design takes 2"},
    // Flushes
    {"PdiNotFlushed", [](Behaviour& b) { b.flush_pdi = false; }, "configuration was not flushed"},
    {"InstructionsNotFlushed", [](Behaviour& b) { b.flush_instructions = false; },
     "instructions were not flushed"},
    {"InputNotFlushed", [](Behaviour& b) { b.flush_in = false; },
     "of buffer 0 is still in the CPU"},
    {"OutputNotFlushed", [](Behaviour& b) { b.flush_out = false; },
     "of buffer 1 is still in the CPU"},
    // Arguments
    {"BoFlags", [](Behaviour& b) { b.bo_flags = 1; }, "flags must be zero"},
    {"ContextExt", [](Behaviour& b) { b.context_ext = 1; }, "ext and ext_flags"},
    {"NoQos", [](Behaviour& b) { b.qos_missing = 1; }, "quality-of-service"},
    {"NoTiles", [](Behaviour& b) { b.tiles = 0; }, "0 tiles"},
    {"TooManyTiles", [](Behaviour& b) { b.tiles = 24; }, "24 tiles"},
    {"CuCount", [](Behaviour& b) { b.cu_count = 2; }, "one compute unit"},
    {"CuPadding", [](Behaviour& b) { b.cu_pad = 7; }, "zero padding"},
    {"PdiInSharedMemory", [](Behaviour& b) { b.pdi_type = BoType::kShare; }, "no device buffer"},
    {"PdiDamaged", [](Behaviour& b) { b.damage_pdi = true; }, "does not match its hash"},
    {"InstructionsDamaged", [](Behaviour& b) { b.damage_instructions = true; }, "header says"},
    {"HeaderState",
     [](Behaviour& b) {
       b.header = amdxdna::command_header(amdxdna::CommandState::kCompleted, 0, 10);
     },
     "no new START_CU"},
    {"HeaderOpcode",
     [](Behaviour& b) { b.header = amdxdna::command_header(amdxdna::CommandState::kNew, 19, 10); },
     "no new START_CU"},
    {"CuMask", [](Behaviour& b) { b.mask = 2; }, "compute unit 0"},
    {"KernelOpcode", [](Behaviour& b) { b.opcode = 2; }, "opcode must be 3"},
    {"BufferNotAmongArguments", [](Behaviour& b) { b.argument_count = 2; }, "among"},
    {"NoArguments", [](Behaviour& b) { b.argument_count = 0; }, "not in a device buffer"},
    {"OutputNotMapped", [](Behaviour& b) { b.map_out = false; }, "not mapped memory"},
    {"DeviceBufferAsData", [](Behaviour& b) { b.swap_buffers_away = true; }, "not mapped memory"},
    {"CommandCount", [](Behaviour& b) { b.command_count = 2; }, "exactly one command"},
    {"ExecType", [](Behaviour& b) { b.exec_type = 1; }, "type must be zero"},
    {"ExecExt", [](Behaviour& b) { b.exec_ext = 1; }, "must be zero"},
};

INSTANTIATE_TEST_SUITE_P(Mistakes, FakeDriverMistakeTest, ::testing::ValuesIn(kMistakes),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace tandem::npu

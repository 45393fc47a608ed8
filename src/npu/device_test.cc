// The runtime over the fake driver: results, errors on every call, time-outs, and that everything
// is given back.
// SPDX-License-Identifier: Apache-2.0
#include "npu/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "npu/add_one_design.h"
#include "npu/fake_driver.h"
#include "tensor/shared_memory.h"

namespace tandem::npu {
namespace {

using amdxdna::CommandState;
using ::testing::HasSubstr;

constexpr const char* kNode = "/dev/accel/accel0";
constexpr std::chrono::seconds kTimeout{10};
constexpr size_t kBytes = kAddOneCount * sizeof(int32_t);

const Artifact& add_one() {
  static const Artifact artifact = make_text_artifact(add_one_identity(), kAddOneText);
  return artifact;
}

std::span<int32_t> numbers(const Buffer& buffer) {
  return {reinterpret_cast<int32_t*>(buffer.host().data()), kAddOneCount};
}

// One run of the design on first, first + 1, ...; checks the result when it ends well.
RunResult run_once(LoadedDesign& design, const Buffer& in, const Buffer& out, int32_t first) {
  std::iota(numbers(in).begin(), numbers(in).end(), first);
  in.sync(0, kBytes);
  const Buffer* const buffers[] = {&in, &out};
  const RunResult result = design.run(buffers, kTimeout);
  if (result.status != Status::kDone) return result;
  out.sync(0, kBytes);
  for (size_t i = 0; i < kAddOneCount; ++i)
    EXPECT_EQ(numbers(out)[i], first + static_cast<int32_t>(i) + 1) << i;
  return result;
}

// A whole life: open, load, allocate, two runs, close.
RunResult run_session(FakeDriver& driver) {
  Device device(driver, kNode);
  const auto design = device.load(add_one());
  const auto in = device.allocate(kBytes), out = device.allocate(kBytes);
  const RunResult first = run_once(*design, *in, *out, 100);
  if (first.status != Status::kDone) return first;
  return run_once(*design, *in, *out, -7);
}

TEST(NpuDevice, RunsADesignAndGivesEverythingBack) {
  FakeDriver driver({});
  EXPECT_EQ(run_session(driver).status, Status::kDone) << driver.complaint();
  EXPECT_EQ(driver.totals().runs, 2u);
  EXPECT_EQ(driver.complaint(), "");
  EXPECT_EQ(driver.open_at_close(), (FakeDriver::Open{1, 0, 0, 0, 0}));
  EXPECT_EQ(driver.open_resources(), FakeDriver::Open{});
}

TEST(NpuDevice, ReadsTheArraysFacts) {
  FakeDriver driver({});
  const Device device(driver, kNode);
  EXPECT_EQ(device.facts().columns, 5u);  // of which npu1 lets a design use four
  EXPECT_EQ(device.facts().core_rows, 4u);
  EXPECT_EQ(device.facts().firmware.build, 391u);
}

TEST(NpuDevice, LoadsTwoDesignsSideBySide) {
  FakeDriver driver({});
  Device device(driver, kNode);
  const auto first = device.load(add_one()), second = device.load(add_one());
  const auto in = device.allocate(kBytes), out = device.allocate(kBytes);
  for (int32_t round = 0; round < 3; ++round) {
    EXPECT_EQ(run_once(*first, *in, *out, round).status, Status::kDone);
    EXPECT_EQ(run_once(*second, *in, *out, 1000 + round).status, Status::kDone);
  }
}

TEST(NpuDevice, HeapSpaceIsReused) {
  FakeDriver driver({});
  Device device(driver, kNode);
  for (int i = 0; i < 2000; ++i) ASSERT_NO_THROW(device.load(add_one())) << i;
}

TEST(NpuDevice, TakesUserPages) {
  FakeDriver driver({});
  SharedMemory memory(kBytes, "test");
  Device device(driver, kNode);
  const auto design = device.load(add_one());
  const auto in = device.import(memory.host());
  const auto out = device.allocate(kBytes);
  EXPECT_EQ(in->host().data(), memory.data());
  EXPECT_EQ(run_once(*design, *in, *out, 5).status, Status::kDone);
}

TEST(NpuDevice, UserPagesMustStartOnAPage) {
  FakeDriver driver({});
  SharedMemory memory(2 * amdxdna::kPageSize, "test");
  Device device(driver, kNode);
  EXPECT_THROW(device.import(memory.host().subspan(64)), Error);
}

void expect_error(ErrorCode code, const char* text, const std::function<void()>& action) {
  try {
    action();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(text));
  }
}

TEST(NpuDevice, OldDriverTakesNoUserPages) {
  FakeDriverOptions options;
  options.user_pages = false;
  FakeDriver driver(options);
  SharedMemory memory(kBytes, "test");
  Device device(driver, kNode);
  expect_error(ErrorCode::kUnsupported, "user memory", [&] { device.import(memory.host()); });
}

TEST(NpuDevice, WrongNodesAreRefused) {
  FakeDriver driver({});
  expect_error(ErrorCode::kNotFound, "/dev/accel/accel7",
               [&] { Device(driver, "/dev/accel/accel7"); });
  FakeDriverOptions options;
  options.driver_name = "habanalabs";
  FakeDriver other(options);
  expect_error(ErrorCode::kUnsupported, "habanalabs", [&] { Device(other, kNode); });
  EXPECT_EQ(other.open_resources(), FakeDriver::Open{});
}

TEST(NpuDevice, DesignWithMoreColumnsThanTheArrayIsRefused) {
  FakeDriver driver({});
  Device device(driver, kNode);
  Artifact artifact = add_one();
  artifact.manifest.identity.columns = 8;
  expect_error(ErrorCode::kUnsupported, "8 columns", [&] { device.load(artifact); });
}

TEST(NpuDevice, MemlockLimitIsNamed) {
  FakeDriver driver({});
  Device device(driver, kNode);
  driver.fail_after(0, ENOMEM);
  expect_error(ErrorCode::kOutOfMemory, "memlock", [&] { device.allocate(kBytes); });
}

TEST(NpuDevice, HangingDesignTimesOutAndLosesItsContext) {
  FakeDriver driver({});
  Device device(driver, kNode);
  const auto design = device.load(add_one());
  const auto in = device.allocate(kBytes), out = device.allocate(kBytes);
  driver.hang_next_run();
  EXPECT_EQ(run_once(*design, *in, *out, 1).status, Status::kTimeout);
  EXPECT_EQ(driver.open_resources().contexts, 0u);
  EXPECT_EQ(driver.open_resources().syncobjs, 0u);
  EXPECT_EQ(run_once(*design, *in, *out, 1).status, Status::kDeviceLost);
  const auto again = device.load(add_one());
  EXPECT_EQ(run_once(*again, *in, *out, 1).status, Status::kDone);
}

struct EndState {
  CommandState state;
  Status status;
};
class NpuEndStateTest : public ::testing::TestWithParam<EndState> {};
TEST_P(NpuEndStateTest, IsNotTakenForSuccess) {
  FakeDriver driver({});
  Device device(driver, kNode);
  const auto design = device.load(add_one());
  const auto in = device.allocate(kBytes), out = device.allocate(kBytes);
  driver.end_next_run_as(GetParam().state);
  const RunResult result = run_once(*design, *in, *out, 1);
  EXPECT_EQ(result.status, GetParam().status);
  EXPECT_NE(result.reason, "");
  EXPECT_EQ(driver.open_resources().contexts, 0u);
}
INSTANTIATE_TEST_SUITE_P(States, NpuEndStateTest,
                         ::testing::Values(EndState{CommandState::kError, Status::kDeviceLost},
                                           EndState{CommandState::kAbort, Status::kDeviceLost},
                                           EndState{CommandState::kTimeout, Status::kTimeout},
                                           EndState{CommandState::kNoResponse, Status::kDeviceLost},
                                           EndState{CommandState::kNew, Status::kDeviceLost}));

bool gives_back(unsigned long request) {
  return request == amdxdna::kIoctlGemClose || request == amdxdna::kIoctlDestroyContext ||
         request == amdxdna::kIoctlSyncobjDestroy;
}

// Every call of a session fails once with each errno: the session reports it (an interrupted ioctl
// is repeated), ends, and leaves nothing open but what a failed give-back names.
class NpuErrnoTest : public ::testing::TestWithParam<int> {};
TEST_P(NpuErrnoTest, NothingLeaksWhicheverCallFails) {
  const int error = GetParam();
  uint64_t call = 0;
  for (bool reached = true; reached; ++call) {
    SCOPED_TRACE(call);
    FakeDriver driver({});
    driver.fail_after(call, error);
    bool reported = false;
    try {
      reported = run_session(driver).status != Status::kDone;
    } catch (const Error& failure) {
      reported = true;
      EXPECT_STRNE(failure.what(), "");
    }
    reached = driver.has_failed();
    const bool repeated = error == EINTR && driver.failed_request() != 0;
    EXPECT_EQ(reported, reached && !repeated && !gives_back(driver.failed_request()));
    EXPECT_EQ(driver.open_resources(), FakeDriver::Open{});
    if (gives_back(driver.failed_request()) && !repeated) continue;
    FakeDriver::Open left = driver.open_at_close();
    left.files = 0;
    EXPECT_EQ(left, FakeDriver::Open{}) << std::hex << driver.failed_request();
  }
  EXPECT_GT(call, 30u);  // the session is that many calls long
}
INSTANTIATE_TEST_SUITE_P(Errors, NpuErrnoTest,
                         ::testing::Values(EINTR, EAGAIN, EINVAL, ENOMEM, ENOSPC, ENODEV, EIO,
                                           EBUSY, EPERM, EACCES, ENOENT, EFAULT, ETIME, ENOTTY,
                                           EOPNOTSUPP));

}  // namespace
}  // namespace tandem::npu

// What the backend does when the device fails, and whether its chained form works here.
// SPDX-License-Identifier: Apache-2.0
#include "vulkan/vulkan_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "vulkan/api.h"
#include "vulkan/chain_check.h"
#include "vulkan/program.h"

namespace tandem::vulkan {
namespace {

using ::testing::HasSubstr;

constexpr std::chrono::seconds kPatience{60};

// A backend with a program that finds the largest of a few values.
class Argmax {
 public:
  explicit Argmax(const std::string& tuning = {})
      : backend_(make_vulkan_backend({.device = "0", .tuning = tuning})),
        memory_(size_t{1} << 16, "test") {
    Arena arena(memory_);
    batch_ = arena.allocate(DType::kI32, {1, 2, 4});
    ids_ = arena.allocate(DType::kI32, {1, 1, 1});
    values_ = arena.allocate(DType::kF32, {1, 1, kCount});
    config_.vocab = kCount;
    OpSpec spec;
    spec.op = Op::kArgmax;
    spec.config = &config_;
    kernel_ = backend_->prepare(spec, nullptr);
    const std::array<TensorView, 2> args = {ids_, values_};
    const Step step{kernel_.get(), args};
    program_ = backend_->record({&step, 1}, batch_);
  }

  Status run(uint32_t largest) {
    *batch_.row_as<BatchHeader>(0) = {1, 1, 0, 0};
    *batch_.row_as<BatchRow>(1) = {0, 0, 0, 0};
    for (uint32_t i = 0; i < kCount; ++i) values_.row_as<float>(0)[i] = i == largest ? 1.0F : 0.0F;
    Import& import = memory_.import_for(*backend_);
    import.acquire(Access::kRead, 0, memory_.size());
    ticket_ = backend_->submit(*program_, 1);
    const Status status = backend_->wait(ticket_, kPatience);
    if (status == Status::kDone) import.release(Access::kWrite, ids_.offset, ids_.size());
    return status;
  }
  uint32_t found() const { return *ids_.row_as<uint32_t>(0); }
  Status wait_again() { return backend_->wait(ticket_, kPatience); }
  std::string failure() const { return backend_->failure(); }
  VulkanProgram& program() { return static_cast<VulkanProgram&>(*program_); }

 private:
  static constexpr uint32_t kCount = 1000;
  std::unique_ptr<Backend> backend_;
  SharedMemory memory_;
  TensorView batch_, ids_, values_;
  LayerConfig config_;
  std::unique_ptr<Kernel> kernel_;
  std::unique_ptr<Program> program_;
  Ticket ticket_;
};

VkResult VKAPI_CALL lose_device(VkQueue, uint32_t, const VkSubmitInfo2*, VkFence) {
  return VK_ERROR_DEVICE_LOST;
}

TEST(VulkanBackend, OutlivesALostDevice) {
  {
    Argmax lost;
    ASSERT_EQ(lost.run(7), Status::kDone);
    EXPECT_EQ(lost.found(), 7u);
    const PFN_vkQueueSubmit2 submit = vkQueueSubmit2;
    vkQueueSubmit2 = lose_device;
    EXPECT_EQ(lost.run(8), Status::kDeviceLost);
    vkQueueSubmit2 = submit;
    EXPECT_THAT(lost.failure(), HasSubstr("was lost"));
    // It stays lost: what it holds is no longer known.
    EXPECT_EQ(lost.run(9), Status::kDeviceLost);
  }
  Argmax anew;
  EXPECT_EQ(anew.run(10), Status::kDone);
  EXPECT_EQ(anew.found(), 10u);
}

TEST(VulkanBackend, OrdersByBarriersOnceAWaitRanOut) {
  Argmax argmax("chained=1");
  ASSERT_FALSE(argmax.program().chained.empty());
  ASSERT_EQ(argmax.run(7), Status::kDone);
  *reinterpret_cast<uint32_t*>(argmax.program().counters.host()) = 1;
  EXPECT_EQ(argmax.wait_again(), Status::kDeviceLost);
  EXPECT_THAT(argmax.failure(), HasSubstr("barriers order them from now on"));
  EXPECT_EQ(argmax.run(8), Status::kDone);
  EXPECT_EQ(argmax.found(), 8u);
}

TEST(VulkanBackend, FindsTheChainedFormToWork) {
  Context context("0", true, {});
  EXPECT_TRUE(chain_holds(context));
  EXPECT_THAT(context.device.validation_messages(), ::testing::IsEmpty());
}

TEST(VulkanBackend, RefusesTuningItDoesNotKnow) {
  EXPECT_THROW(make_vulkan_backend({.device = "0", .tuning = "speed=11"}), Error);
  EXPECT_THROW(make_vulkan_backend({.device = "0", .tuning = "matvec_unroll=x"}), Error);
}

}  // namespace
}  // namespace tandem::vulkan

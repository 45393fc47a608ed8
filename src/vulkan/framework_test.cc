// Device, memory, pipelines and recorder on a real driver, under the validation layers.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "base/temporary_folder.h"
#include "tensor/shared_memory.h"
#include "vulkan/device.h"
#include "vulkan/memory.h"
#include "vulkan/pipeline.h"
#include "vulkan/recorder.h"
#include "vulkan/shaders/include/params.h"
#include "vulkan/weights.h"

namespace tandem::vulkan {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

VulkanDeviceInfo hardware(std::string name, bool discrete) {
  VulkanDeviceInfo info;
  info.name = std::move(name);
  info.discrete = discrete;
  return info;
}

TEST(ChooseDevice, PrefersDiscreteAndNeverPicksSoftwareByItself) {
  std::vector<VulkanDeviceInfo> devices = {hardware("Radeon 780M", false),
                                           hardware("llvmpipe", false), hardware("H200", true)};
  devices[1].software = true;
  for (uint32_t i = 0; i < devices.size(); ++i) devices[i].index = i;
  EXPECT_EQ(choose_device(devices, ""), 2u);
  devices[2].why_not = "it lacks shaderInt8";
  EXPECT_EQ(choose_device(devices, ""), 0u);
  EXPECT_EQ(choose_device(devices, "LLVM"), 1u);
  EXPECT_EQ(choose_device(devices, "1"), 1u);
  EXPECT_THROW(choose_device(devices, "2"), Error);
  EXPECT_THROW(choose_device(devices, "7"), Error);
  EXPECT_THROW(choose_device(devices, "Arc"), Error);
  devices[0].why_not = "it offers Vulkan 1.2 and 1.3 is needed";
  EXPECT_THROW(choose_device(devices, ""), Error);
}

VkResult VKAPI_CALL have_no_device(VkInstance, uint32_t*, VkPhysicalDevice*) {
  return VK_ERROR_INITIALIZATION_FAILED;
}

TEST(Instance, SaysThatNoDriverFoundADevice) {
  const Instance instance(false);
  vkEnumeratePhysicalDevices = have_no_device;
  try {
    instance.physical_devices();
    ADD_FAILURE() << "devices were found";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_THAT(error.what(), HasSubstr("or run with --device cpu"));
  }
  // Opening an instance loads the functions anew.
  EXPECT_THAT(Instance(false).physical_devices(), ::testing::Not(IsEmpty()));
}

class Framework : public ::testing::TestWithParam<bool> {
 protected:
  static constexpr size_t kCount = 5000;

  void TearDown() override { EXPECT_THAT(device_.validation_messages(), IsEmpty()); }

  void run(const std::vector<VkCommandBuffer>& commands) {
    VkSubmitInfo submit{};
    submit.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    submit.commandBufferCount = static_cast<uint32_t>(commands.size());
    submit.pCommandBuffers = commands.data();
    VK_TRY(vkQueueSubmit(device_.queue(), 1, &submit, VK_NULL_HANDLE));
    VK_TRY(vkQueueWaitIdle(device_.queue()));
  }

  Device device_{"0", true};
  Memory memory_{device_, {.zero_copy = GetParam()}};
};

TEST_P(Framework, FillsSharedPagesThroughAPipeline) {
  PipelineCache pipelines(device_, {});
  const Pipeline& fill = pipelines.get({.module = "fill",
                                        .constants = {{kSpecWorkgroup, 64}},
                                        .push_constant_size = sizeof(FillParams)});
  SharedMemory shared(kCount * 4, "test");
  PageImport import(memory_, shared);
  std::memset(shared.data(), 0x11, shared.size());
  import.acquire(Access::kRead, 0, shared.size());
  TensorView view;
  view.memory = &shared;
  view.dtype = DType::kI32;
  view.dims = {1, 1, kCount};
  CommandPool pool(device_);
  Recorder recorder(pool);
  recorder.dispatch(fill, FillParams{import.address(view) + 4 * 10, 100, 7}, {2, 1, 1}, {"fill"});
  recorder.barrier();
  recorder.cut();
  recorder.dispatch(fill, FillParams{import.address(view) + 4 * 20, 10, 9}, {1, 1, 1}, {"fill"});
  recorder.barrier_to_host();
  EXPECT_EQ(recorder.statistics().dispatches, 2u);
  run(recorder.finish());
  import.release(Access::kWrite, 0, shared.size());

  const int32_t* got = reinterpret_cast<const int32_t*>(shared.data());
  for (size_t i = 0; i < kCount; ++i)
    ASSERT_EQ(got[i], i < 10 || i >= 110 ? 0x11111111 : i < 20 || i >= 30 ? 7 : 9) << i;
  EXPECT_EQ(import.zero_copy(), GetParam());
  if (GetParam())
    EXPECT_EQ(memory_.staged_copies(), 0u);
  else
    EXPECT_GT(memory_.staged_copies(), 0u);
}

TEST_P(Framework, UploadsMoreThanTheRingHolds) {
  const size_t chunk_size = memory_.upload_chunk(), size = 4 * chunk_size + 12;
  Buffer buffer = memory_.allocate(size, Placement::kDevice, "test weights");
  memory_.upload(buffer, 0, size, [&](std::span<std::byte> chunk, size_t first) {
    std::memset(chunk.data(), static_cast<int>(first / chunk_size + 1), chunk.size());
  });
  memory_.finish_uploads();
  std::vector<std::byte> back(size);
  memory_.copy_out(buffer, 0, back);
  for (size_t i = 0; i < size; i += 4093) ASSERT_EQ(back[i], std::byte(i / chunk_size + 1)) << i;
  EXPECT_EQ(back[size - 1], std::byte(5));
}

TEST_P(Framework, RefusesWhatTheBudgetDoesNotHold) {
  Memory small(device_, {.zero_copy = GetParam(), .budget = size_t{1} << 20});
  Buffer half = small.allocate(size_t{1} << 19, Placement::kDevice, "weights");
  try {
    small.allocate((size_t{1} << 20) - 100, Placement::kDevice, "weights");
    FAIL() << "an allocation past the budget was made";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutOfMemory);
    EXPECT_THAT(error.what(), HasSubstr("MiB are missing"));
  }
}

TEST(MemoryTypes, AreTriedFromTheBestToWhatStillServes) {
  constexpr VkMemoryPropertyFlags kLocal = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
  constexpr VkMemoryPropertyFlags kHost =
      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  VkPhysicalDeviceMemoryProperties types{};
  types.memoryTypeCount = 4;
  types.memoryTypes[0] = {kLocal, 1};
  types.memoryTypes[1] = {kHost, 0};
  types.memoryTypes[2] = {kLocal | kHost, 1};
  types.memoryTypes[3] = {kHost | VK_MEMORY_PROPERTY_HOST_CACHED_BIT, 0};
  using ::testing::ElementsAre;
  // Weights on an APU move on to the other heap; a graphics card keeps its own memory.
  EXPECT_THAT(memory_types(types, 15, Placement::kDevice, true), ElementsAre(2, 1, 3));
  EXPECT_THAT(memory_types(types, 15, Placement::kDevice, false), ElementsAre(0, 2));
  EXPECT_THAT(memory_types(types, 15, Placement::kStaging, false), ElementsAre(3, 1, 2));
  EXPECT_THAT(memory_types(types, 3, Placement::kMapped, true), ElementsAre(1));
}

VkResult VKAPI_CALL have_no_memory(VkDevice, const VkMemoryAllocateInfo*,
                                   const VkAllocationCallbacks*, VkDeviceMemory*) {
  return VK_ERROR_OUT_OF_DEVICE_MEMORY;
}

TEST_P(Framework, SaysThatTheDeviceHasNoMemory) {
  const PFN_vkAllocateMemory allocate = vkAllocateMemory;
  vkAllocateMemory = have_no_memory;
  try {
    memory_.allocate(100, Placement::kDevice, "weights");
    ADD_FAILURE() << "memory was allocated";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutOfMemory);
    EXPECT_THAT(error.what(), HasSubstr("use a shorter context"));
  }
  vkAllocateMemory = allocate;
  EXPECT_EQ(memory_.used(), 0u);
}

TEST_P(Framework, CutsWeightsLargerThanOneAllocation) {
  constexpr uint32_t kRows = 100, kCols = 64;
  constexpr size_t kRow = kCols * sizeof(float);
  const std::vector<std::byte> bytes(kRows * kRow);
  const TensorView file[] = {view_of_bytes(bytes.data(), DType::kF32, {1, 1, kCols}),
                             view_of_bytes(bytes.data(), DType::kF32, {1, kRows, kCols})};
  Memory small(device_, {.zero_copy = GetParam(), .largest = 40 * kRow + 1});
  EXPECT_THROW(small.allocate(40 * kRow + 2, Placement::kDevice, "weights"), Error);
  WeightStore cutting(small);
  const auto cut = cutting.load(file, true);
  EXPECT_EQ(cut->parts(0).size(), 1u);
  std::vector<uint32_t> rows;
  for (const Matrix& part : cut->parts(1)) rows.push_back(part.rows);
  EXPECT_THAT(rows, ::testing::ElementsAre(40, 40, 20));
  EXPECT_EQ(cut->parts(0, 2).size(), 4u);
  EXPECT_EQ(cut->size(), (kRows + 1) * kRow);
  const auto again = cutting.load(file, true);
  for (size_t i = 0; i < 4; ++i)
    EXPECT_EQ(cut->parts(0, 2)[i].address, again->parts(0, 2)[i].address);
}

TEST_P(Framework, KeepsPipelinesOnDisk) {
  const TemporaryFolder temporary;
  const std::filesystem::path folder = temporary / "pipelines";
  const PipelineSpec spec{.module = "fill",
                          .constants = {{kSpecWorkgroup, 32}},
                          .push_constant_size = sizeof(FillParams)};
  {
    PipelineCache cache(device_, folder);
    cache.get(spec);
  }
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    ++files;
    EXPECT_EQ(entry.path().extension(), ".bin");
    EXPECT_GT(entry.file_size(), 0u);
  }
  EXPECT_EQ(files, 1u);
  PipelineCache again(device_, folder);
  EXPECT_NE(again.get(spec).handle, VkPipeline{});
}

TEST_P(Framework, RefusesASpecThatIsNotTheShaders) {
  PipelineCache pipelines(device_, {});
  EXPECT_THROW(pipelines.get({.module = "fill", .constants = {}, .push_constant_size = 12}), Error);
  EXPECT_THROW(pipelines.get({.module = "fill",
                              .constants = {{kSpecChained, 1}},
                              .push_constant_size = sizeof(FillParams)}),
               Error);
  EXPECT_THROW(pipelines.get({.module = "nothing", .constants = {}}), Error);
}

INSTANTIATE_TEST_SUITE_P(Memory, Framework, ::testing::Values(true, false),
                         [](const auto& test) { return test.param ? "ZeroCopy" : "Staged"; });

}  // namespace
}  // namespace tandem::vulkan

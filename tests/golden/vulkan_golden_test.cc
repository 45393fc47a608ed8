// Whole models on every Vulkan device there is, prompts in chunks and token by token, against an
// independent implementation. What needs assets is left out where there are none.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "engine/session.h"
#include "golden/whole_model.h"
#include "vulkan/vulkan_backend.h"

namespace tandem {
namespace {

constexpr const char* kBundled = "models/story-14m-q4_0.gguf";
constexpr const char* kBundledReference = "tests/golden/story-14m-q4_0.json";

// Calls each(options) for every device that can run models, and expects one.
template <typename Each>
void on_every_device(uint32_t context, Each each) {
  size_t usable = 0;
  const VulkanDeviceList list = list_vulkan_devices();
  for (const VulkanDeviceInfo& device : list.devices) {
    if (!device.why_not.empty()) continue;
    ++usable;
    SCOPED_TRACE(device.name);
    EngineOptions options = options_for(context, DType::kF16);
    options.device = fmt::format("vulkan:{}", device.index);
    each(options);
  }
  EXPECT_GT(usable, 0u) << list.why_none;
}

// The prompt in chunks, which is prefill, and token by token from an empty cache, which is decode.
template <typename Each>
void in_chunks_and_singly(const EngineOptions& options, Each each) {
  for (const uint32_t rows : {512u, 1u}) {
    SCOPED_TRACE(fmt::format("{} rows a step", rows));
    EngineOptions chosen = options;
    chosen.micro_batch = rows;
    each(chosen);
  }
}

TEST(VulkanGolden, BundledModelPredictsAsTheReferenceDoes) {
  const Reference reference = read_reference(kBundledReference);
  on_every_device(0, [&](const EngineOptions& device) {
    in_chunks_and_singly(device, [&](const EngineOptions& options) {
      EXPECT_EQ(compare(reference, kBundled, options, kQuantisedMarginShare).wrong_argmax, 0u);
    });
  });
}

TEST(VulkanGolden, BundledModelContinuesAsTheReferenceDoes) {
  const Reference reference = read_reference(kBundledReference);
  on_every_device(1024, [&](EngineOptions options) {
    options.max_rounds = 5;
    expect_greedy(reference, kBundled, options);
  });
}

// Sets an environment variable as long as it lives.
class ScopedEnv {
 public:
  ScopedEnv(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~ScopedEnv() { unsetenv(name_); }
  ScopedEnv(const ScopedEnv&) = delete;
  ScopedEnv& operator=(const ScopedEnv&) = delete;

 private:
  const char* name_;
};

TEST(VulkanGolden, SequencesContinueTogetherAsTheReferenceDoes) {
  const Reference reference = read_reference(kBundledReference);
  on_every_device(256, [&](const EngineOptions& options) {
    expect_greedy_together(reference, kBundled, options, 3);
  });
}

TEST(VulkanGolden, BundledModelContinuesWithItsTableInPieces) {
  Reference reference = read_reference(kBundledReference);
  reference.prompts.resize(1);
  const ScopedEnv largest("TANDEM_VULKAN_LARGEST", "1");
  on_every_device(256, [&](EngineOptions options) {
    options.micro_batch = options.max_outputs = 16;
    expect_greedy(reference, kBundled, options);
  });
}

uint64_t staged_bytes_of_a_prompt(const EngineOptions& options) {
  Engine engine(kBundled, options);
  Session session(engine);
  session.append(read_reference(kBundledReference).prompts.front().ids);
  return vulkan_counters(*engine.backends().front()).staged_bytes;
}

TEST(VulkanGolden, CopiesNothingWhereMemoryIsShared) {
  const VulkanDeviceList list = list_vulkan_devices();
  on_every_device(256, [&](const EngineOptions& options) {
    const uint32_t index = static_cast<uint32_t>(std::stoul(options.device.substr(7)));
    const VulkanDeviceInfo& device = list.devices[index];
    EXPECT_EQ(staged_bytes_of_a_prompt(options) == 0, device.uma && device.host_import);
    const ScopedEnv no_zero_copy("TANDEM_NO_ZERO_COPY", "1");
    EXPECT_GT(staged_bytes_of_a_prompt(options), std::filesystem::file_size(kBundled) / 2);
  });
}

class VulkanGoldenAsset : public ::testing::TestWithParam<const char*> {
 protected:
  std::filesystem::path model() const {
    return test_assets() / "models" / (std::string(GetParam()) + ".gguf");
  }
  std::filesystem::path json() const {
    return test_assets() / "reference" / (std::string(GetParam()) + ".json");
  }
};

std::string asset_name(const ::testing::TestParamInfo<const char*>& parameter) {
  std::string name = parameter.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

class VulkanGoldenExact : public VulkanGoldenAsset {};

TEST_P(VulkanGoldenExact, LogitsAgree) {
  TANDEM_REQUIRE_ASSET(json());
  const Reference reference = read_reference(json());
  on_every_device(0, [&](const EngineOptions& device) {
    in_chunks_and_singly(device, [&](const EngineOptions& options) {
      const Outcome outcome = compare(reference, model(), options, kF16CacheError);
      EXPECT_LT(outcome.worst_error, kF16CacheError);
      EXPECT_EQ(outcome.wrong_argmax, 0u);
    });
  });
}

INSTANTIATE_TEST_SUITE_P(Models, VulkanGoldenExact,
                         ::testing::Values("story-14m-bf16", "tiny-1b-bf16", "tiny-4b-bf16",
                                           "tiny-27b-bf16"),
                         asset_name);

class VulkanGoldenQuantised : public VulkanGoldenAsset {};

TEST_P(VulkanGoldenQuantised, LogitsAgree) {
  TANDEM_REQUIRE_ASSET(json());
  const Reference reference = read_reference(json());
  on_every_device(0, [&](const EngineOptions& device) {
    in_chunks_and_singly(device, [&](EngineOptions options) {
      const Outcome f16 = compare(reference, model(), options, kQuantisedMarginShare);
      EXPECT_LT(f16.mean_divergence, kQuantisedDivergence);
      EXPECT_EQ(f16.wrong_argmax, 0u);
      options.kv = DType::kI8;
      const Outcome q8 = compare(reference, model(), options, kQuantisedMarginShare);
      EXPECT_LT(q8.mean_divergence, f16.mean_divergence + kQ8CacheDivergence);
    });
  });
}

INSTANTIATE_TEST_SUITE_P(Models, VulkanGoldenQuantised,
                         ::testing::Values("story-14m-q4_0", "story-14m-q8_0", "story-14m-q4_k_m",
                                           "story-14m-q6_k"),
                         asset_name);

}  // namespace
}  // namespace tandem

// SPDX-License-Identifier: Apache-2.0
#include "vulkan/spirv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "vulkan/shader_modules.h"
#include "vulkan/shaders/include/params.h"

namespace tandem::vulkan {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

TEST(Spirv, ReadsPushConstantsAndConstantIdsOfAModule) {
  const ShaderInterface interface = read_interface(find_shader_module("fill").words);
  EXPECT_EQ(interface.push_constant_size, sizeof(FillParams));
  EXPECT_THAT(interface.constant_ids, ElementsAre(kSpecWorkgroup));
  EXPECT_EQ(interface.shared_size, 0u);
}

TEST(Spirv, ReadsEveryEmbeddedModuleWithinTheGuaranteedPushConstants) {
  for (const ShaderModule& module : shader_modules()) {
    SCOPED_TRACE(module.name);
    const ShaderInterface interface = read_interface(module.words);
    EXPECT_GT(interface.push_constant_size, 0u);
    EXPECT_LE(interface.push_constant_size, 128u);
    EXPECT_FALSE(interface.constant_ids.empty());
  }
}

TEST(Spirv, RejectsWhatIsNoModule) {
  const uint32_t words[] = {1, 2, 3, 4, 5, 6};
  EXPECT_THROW(read_interface(words), Error);
  EXPECT_THROW(read_interface({}), Error);
}

TEST(Spirv, RejectsEveryTruncationOfAModule) {
  const auto words = find_shader_module("fill").words;
  for (size_t count = 0; count + 1 < words.size(); ++count) {
    // A cut at the end of an instruction after the entry point leaves a shorter, readable module.
    try {
      read_interface(words.first(count));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidFile);
    }
  }
}

}  // namespace
}  // namespace tandem::vulkan

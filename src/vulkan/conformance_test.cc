// Every op the backend supports against the reference, on the first device, under the validation
// layers (core and synchronisation): any message fails.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/conformance.h"
#include "vulkan/vulkan_backend.h"

namespace tandem {
namespace {

// One backend for all cases: making a device under validation takes longer than most of them.
Backend& backend() {
  static const std::unique_ptr<Backend> opened =
      make_vulkan_backend({.device = "0", .validate = true});
  return *opened;
}

// As if the device had so many compute units that products in tiles cut the inner dimension too.
Backend& backend_to_fill() {
  static const std::unique_ptr<Backend> opened =
      make_vulkan_backend({.device = "0", .validate = true, .tuning = "units=1000"});
  return *opened;
}

// As where dispatches wait for each other instead of barriers.
Backend& chained_backend() {
  static const std::unique_ptr<Backend> opened =
      make_vulkan_backend({.device = "0", .validate = true, .tuning = "chained=1"});
  return *opened;
}

// Programs for eight rows and more multiply as f16 (vulkan/matmul_tuning.h), and run_case() records
// room for one row more than a case of so many has.
constexpr uint32_t kTiledRows = 8 - 1;

Rounding rounding_of(const Case& c) {
  return c.rows >= kTiledRows ? Rounding::kF16 : Rounding::kInt8;
}

class VulkanConformance : public ::testing::Test {
 public:
  using Opened = Backend& (*)();
  VulkanConformance(Case c, Opened opened) : case_(std::move(c)), opened_(opened) {}

  void TestBody() override {
    Backend& backend = opened_();
    const size_t messages = vulkan_validation_messages(backend).size();
    const CaseResult result = run_case(backend, case_, rounding_of(case_));
    // An op declined with a reason is an answer, not a test left out.
    if (!result.supported) {
      EXPECT_FALSE(result.message.empty());
      return;
    }
    EXPECT_TRUE(result.ok) << result.message;
    const auto now = vulkan_validation_messages(backend);
    EXPECT_EQ(now.size(), messages) << now.back();
  }

 private:
  Case case_;
  Opened opened_;
};

void register_case(const char* suite, const Case& c, VulkanConformance::Opened opened) {
  ::testing::RegisterTest(
      suite, c.name().c_str(), nullptr, nullptr, __FILE__, __LINE__,
      [c, opened]() -> ::testing::Test* { return new VulkanConformance(c, opened); });
}

void register_cases() {
  for (const Case& c : all_cases()) {
    register_case("VulkanConformance", c, backend);
    if (c.op == Op::kMatmul && c.rows < kTiledRows && c.width == 256)
      register_case("VulkanConformanceChained", c, chained_backend);
    if (c.op == Op::kMatmul && c.rows >= kTiledRows && c.width >= 1024)
      register_case("VulkanConformanceInParts", c, backend_to_fill);
  }
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  tandem::register_cases();
  return RUN_ALL_TESTS();
}

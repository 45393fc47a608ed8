// Plans on the command line.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/temporary_folder.h"
#include "cli/process.h"

namespace tandem {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

const std::vector<std::string> kStory = {"run",
                                         "-m",
                                         "models/story-14m-q4_0.gguf",
                                         "--chat",
                                         "--temp",
                                         "0",
                                         "-n",
                                         "12",
                                         "-v",
                                         "-p",
                                         "Tell me a story about a fox and a boat."};

TEST(Plan, HybridTellsAStoryOnThreeDevices) {
  const std::string devices = run_tandem({"devices"}).out;
  for (const char* device : {"vulkan:", "npu-emu"})
    if (devices.find(device) == std::string::npos) GTEST_SKIP() << "no device " << device;
  std::vector<std::string> arguments = kStory;
  arguments.insert(arguments.end(), {"--plan", "hybrid"});
  const Outcome outcome = run_tandem(arguments);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_GT(outcome.out.size(), 20u);
  // The model has 12 layers: two projections and an FFN in each, and 14 nodes for the CPU.
  EXPECT_THAT(outcome.err, ContainsRegex("tandem: npu.*prefill 24 nodes, .*decode 24 nodes"));
  EXPECT_THAT(outcome.err, ContainsRegex("tandem: vulkan:.*prefill 12 nodes, .*decode 12 nodes"));
  EXPECT_THAT(outcome.err, ContainsRegex("tandem: cpu .*prefill 14 nodes, .*decode 14 nodes"));
  EXPECT_THAT(outcome.err, HasSubstr(", 0 bytes copied"));
}

Outcome run_without_gpu(const std::vector<std::string>& more) {
  std::vector<std::string> arguments = kStory;
  arguments.insert(arguments.end(), more.begin(), more.end());
  ProcessOptions options;
  options.environment = {{"VK_DRIVER_FILES", "/nonexistent"}, {"VK_ICD_FILENAMES", "/nonexistent"}};
  return run_tandem(arguments, options);
}

// The CPU is not software in place of a GPU, and runs without any.
TEST(Plan, AutomaticNeedsNoGpu) {
  const Outcome outcome = run_without_gpu({"--plan", "auto"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, ContainsRegex("tandem: cpu .*prefill 50 nodes"));
}

TEST(Plan, TakesTheTypeOfValuesAloneForTheCache) {
  const Outcome outcome = run_without_gpu({"--plan", "auto", "-ctv", "q8_0"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr(" tokens, q8_0)"));
}

TEST(Plan, HasTheCacheThatItsCostsAreOf) {
  const TemporaryFolder folder;
  const std::vector<std::string> size = {"-m", "models/story-14m-q4_0.gguf", "-p", "32", "-n", "8"};
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), size.begin(), size.end());
    return run_tandem(arguments);
  };
  const std::string costs = folder / "costs.json", plan = folder / "plan.json";
  EXPECT_EQ(run({"bench", "--blocks", "--device", "cpu", "-ctk", "q8_0", "-o", costs}).code, 0);
  EXPECT_EQ(run({"plan", "--costs", costs, "-o", plan}).code, 0);
  EXPECT_THAT(read_file(plan), HasSubstr("\"kv\": \"q8_0\""));
  const Outcome other = run({"plan", "--costs", costs, "-ctk", "f16"});
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.err,
              HasSubstr("costs.json: the costs are those of a cache of q8_0, not of f16"));
}

}  // namespace
}  // namespace tandem

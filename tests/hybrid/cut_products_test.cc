// Prompts on a GPU with so many compute units that the inner dimension of products is cut.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "hybrid/rig.h"
#include "vulkan/vulkan_backend.h"

namespace tandem {
namespace {

constexpr uint32_t kPrompt = 40, kGenerated = 1;

Gemma3Shape wide_shape() {
  Gemma3Shape shape = tiny_shape();
  shape.layers = 2;
  shape.hidden = 1024;
  shape.ffn = 2048;
  return shape;
}

std::vector<std::vector<float>> logits_with(const LoadedModel& model, const std::string& tuning) {
  const auto device = make_vulkan_backend({.device = "0", .tuning = tuning});
  Backend* const backend = device.get();
  CoordinatorShape shape;
  shape.max_rows = kPrompt;
  shape.context = 64;
  Coordinator coordinator(model.config, model.weights, {&backend, 1}, plan_of(model, 1), shape);
  return logits_of(coordinator, kPrompt, kPrompt, kGenerated);
}

// Only the order of sums differs; a last bit of them can move an int8 of x by one.
TEST(CutProducts, GiveTheSameLogits) {
  const LoadedModel model(wide_shape());
  const auto whole = logits_with(model, "units=1"), cut = logits_with(model, "units=1000");
  ASSERT_EQ(whole.size(), cut.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    float largest = 0;
    for (float value : whole[i]) largest = std::max(largest, std::fabs(value));
    for (size_t j = 0; j < whole[i].size(); ++j)
      ASSERT_NEAR(whole[i][j], cut[i][j], 5e-3f * largest) << "token " << i << ", logit " << j;
  }
}

}  // namespace
}  // namespace tandem

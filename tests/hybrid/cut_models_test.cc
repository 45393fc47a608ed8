// A model cut between layers over two GPUs of one kind gives the bits that one GPU gives.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstring>

#include "hybrid/rig.h"
#include "vulkan/vulkan_backend.h"

namespace tandem {
namespace {

constexpr uint32_t kGenerated = 2;

Gemma3Shape shape_of_three_layers() {
  Gemma3Shape shape = tiny_shape();
  shape.layers = 3;
  shape.hidden = 1024;
  shape.ffn = 2048;
  return shape;
}

// The layers from `first_on_second` on run on the second device, with the head.
std::vector<std::vector<float>> logits_with(const LoadedModel& model, const std::string& tuning,
                                            uint32_t prompt, uint32_t first_on_second) {
  const auto first = make_vulkan_backend({.device = "0", .tuning = tuning}),
             second = make_vulkan_backend({.device = "0", .tuning = tuning});
  Backend* const backends[] = {first.get(), second.get()};
  Plan plan = plan_of(model, 2);
  const std::vector<Node> nodes = forward_pass(static_cast<uint32_t>(model.config.layers.size()));
  for (size_t i = 0; i < nodes.size(); ++i) {
    const bool on_second = nodes[i].op == Op::kHead ||
                           (nodes[i].op != Op::kEmbed && nodes[i].layer >= first_on_second);
    plan.prefill[i] = plan.decode[i] = on_second ? 1 : 0;
  }
  CoordinatorShape shape;
  shape.max_rows = prompt;
  shape.context = 64;
  Coordinator coordinator(model.config, model.weights, backends, plan, shape);
  return logits_of(coordinator, prompt, prompt, kGenerated);
}

TEST(CutModels, GiveTheSameBitsOnTwoDevicesAsOnOne) {
  const LoadedModel model(shape_of_three_layers());
  const std::pair<const char*, uint32_t> cases[] = {
      {"units=1000", 5}, {"units=1000", 40}, {"units=1", 1}, {"units=1", 40}};
  for (const auto& [tuning, prompt] : cases) {
    const auto whole = logits_with(model, tuning, prompt, 3);
    const auto cut = logits_with(model, tuning, prompt, 1);
    ASSERT_EQ(whole.size(), cut.size());
    for (size_t i = 0; i < whole.size(); ++i)
      EXPECT_EQ(std::memcmp(whole[i].data(), cut[i].data(), whole[i].size() * sizeof(float)), 0)
          << tuning << ", prompt of " << prompt << ", token " << i;
  }
}

}  // namespace
}  // namespace tandem

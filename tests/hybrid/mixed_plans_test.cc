// Random plans over the CPU, every Vulkan device there is and the emulated NPU, against the CPU.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "backend/backends.h"
#include "golden/reference.h"
#include "hybrid/node_support.h"
#include "hybrid/rig.h"

namespace tandem {
namespace {

// docs/numerics.md: what int8 activations may cost in nats, on top of which the NPU's integer
// scales may cost as much again. Both sides round, each in its own way.
constexpr double kDivergence = 6e-3;
constexpr uint32_t kPrompt = 14, kGenerated = 3;

CoordinatorShape shape_with(uint32_t chunk, uint32_t slots) {
  CoordinatorShape shape;
  shape.max_rows = chunk;
  shape.context = 64;
  shape.slots = slots;
  return shape;
}

class MixedPlans : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const DeviceListing& listing : list_devices())
      if (listing.usable && listing.name != "npu")
        devices_.push_back(open_backend(listing.name, {1, ""}));
    for (const auto& device : devices_) all_.push_back(device.get());
    Backend* const cpu = all_.front();
    Coordinator reference(model_.config, model_.weights, {&cpu, 1}, plan_of(model_, 1),
                          shape_with(kPrompt, 1));
    expected_ = logits_of(reference, kPrompt, kPrompt, kGenerated);
  }

  bool runs(uint32_t device, size_t node, Phase phase, const CoordinatorShape& shape) const {
    const Node n = forward_pass(8)[node];
    return !node_support(*all_[device], model_.config, shape, n, {&phase, 1},
                         model_.weights.node(n.op, n.layer).types())
                .ops.empty();
  }

  // Every node on one of the devices that run it; few on the emulator, which is slow.
  Plan random_plan(const CoordinatorShape& shape) {
    Plan plan = plan_of(model_, static_cast<uint32_t>(all_.size()));
    for (Phase phase : {Phase::kPrefill, Phase::kDecode}) {
      auto& placed = phase == Phase::kPrefill ? plan.prefill : plan.decode;
      for (size_t node = 0; node < placed.size(); ++node) {
        const auto device = static_cast<uint32_t>(random_() % all_.size());
        const bool rare = all_[device]->info().emulated && random_() % 4 != 0;
        placed[node] = !rare && runs(device, node, phase, shape) ? device : 0;
      }
    }
    return plan;
  }

  LoadedModel model_;
  std::vector<std::unique_ptr<Backend>> devices_;
  std::vector<Backend*> all_;
  std::vector<std::vector<float>> expected_;
  std::mt19937 random_{11};
};

TEST_F(MixedPlans, GiveTheCpusLogitsPipelinedOrNot) {
  ASSERT_GE(all_.size(), 2u) << "only the CPU can be used here";
  uint64_t busy_devices = 0;
  for (uint32_t slots : {1u, 2u, 3u}) {
    const auto chunk = static_cast<uint32_t>(4 + random_() % 8);
    SCOPED_TRACE(fmt::format("{} slots, chunks of {}", slots, chunk));
    const CoordinatorShape shape = shape_with(chunk, slots);
    Coordinator coordinator(model_.config, model_.weights, all_, random_plan(shape), shape);
    const auto logits = logits_of(coordinator, kPrompt, chunk, kGenerated);
    for (size_t i = 0; i < logits.size(); ++i)
      EXPECT_LT(divergence(expected_[i], logits[i]), kDivergence) << "token " << i;
    for (size_t device = 0; device < all_.size(); ++device) {
      SCOPED_TRACE(all_[device]->info().name);
      SharedMemory probe(4096, "a test");
      const bool zero_copy = probe.import_for(*all_[device]).zero_copy();
      const DeviceUse& prefill_use = coordinator.use(Phase::kPrefill).devices[device];
      const DeviceUse& decode_use = coordinator.use(Phase::kDecode).devices[device];
      busy_devices += prefill_use.nodes > 0;
      if (zero_copy) {
        EXPECT_EQ(prefill_use.staged_copies + decode_use.staged_copies, 0u);
      }
    }
  }
  EXPECT_GE(busy_devices, 3u * 2) << "plans left devices out";
}

}  // namespace
}  // namespace tandem

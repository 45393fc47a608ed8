// Plans against devices: which nodes a device refuses, and what fits its memory.
// SPDX-License-Identifier: Apache-2.0
#include "hybrid/plan_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "cpu/cpu_backend.h"
#include "hybrid/plan_memory.h"
#include "hybrid/planner.h"
#include "hybrid/rig.h"
#include "support/staged_backend.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;

// A device with so much memory, that runs no FFN when told so.
class LimitedBackend : public StagedBackend {
 public:
  LimitedBackend(Backend& inner, uint64_t available)
      : StagedBackend(inner, "limited"), available_(available) {}
  uint64_t available_memory() const override { return available_; }
  Support supports(const OpSpec& spec) const override {
    if (refuses_ffn && (spec.op == Op::kFfn || spec.op == Op::kGeglu))
      return {false, "it has no FFN"};
    return StagedBackend::supports(spec);
  }
  bool refuses_ffn = false;

 private:
  uint64_t available_;
};

// A device that keeps the embedding's table itself, as one does that shares it with a tied head.
class TableBackend : public StagedBackend {
 public:
  explicit TableBackend(Backend& inner)
      : StagedBackend(inner, "table"), info_(StagedBackend::info()) {
    info_.maps_embedding = false;
  }
  const BackendInfo& info() const override { return info_; }
  std::unique_ptr<Weights> load(const OpSpec& spec, std::span<const TensorView> file) override {
    auto weights = std::make_unique<Sized>();
    weights->inner = StagedBackend::load(spec, file);
    for (const TensorView& tensor : file) weights->bytes += tensor.size();
    return weights;
  }
  std::unique_ptr<Kernel> prepare(const OpSpec& spec, const Weights* weights) override {
    const auto* sized = static_cast<const Sized*>(weights);
    return StagedBackend::prepare(spec, sized == nullptr ? nullptr : sized->inner.get());
  }

 private:
  struct Sized : Weights {
    size_t size() const override { return bytes; }
    std::unique_ptr<Weights> inner;
    size_t bytes = 0;
  };
  BackendInfo info_;
};

// A device whose memory is not the host's.
class CardBackend : public LimitedBackend {
 public:
  CardBackend(Backend& inner, uint64_t available)
      : LimitedBackend(inner, available), info_(LimitedBackend::info()) {
    info_.host_memory = info_.maps_embedding = false;
  }
  const BackendInfo& info() const override { return info_; }

 private:
  BackendInfo info_;
};

// The tiny model on a machine with a CPU and a card that is faster at everything.
CostTable costs_with_card(uint64_t card_memory) {
  CostTable table;
  table.machine = "a machine with a card";
  table.model = shape_of(tiny_model().config, tiny_model().weights, DType::kF16);
  table.pools = {{"host", uint64_t{1} << 40}, {"limited", card_memory}};
  for (const char* name : {"cpu", "limited"}) {
    DeviceCost device;
    device.name = name;
    const bool card = device.name == "limited";
    device.pool = card ? 1 : 0;
    for (uint32_t k = 0; k < kNodeKindCount; ++k) {
      const auto kind = static_cast<NodeKind>(k);
      if (card || kind != NodeKind::kEmbed)
        device.node(kind).weight_bytes = table.model.weight_bytes[k];
      for (PhaseCost& phase : device.node(kind).phases)
        phase.points = {{1, 0, card ? 1.0 : 10.0, 0}};
    }
    table.devices.push_back(device);
  }
  table.edges.assign(2, std::vector<EdgeCost>(2));
  return table;
}

// Everything on the first device but the layers from `first` on, which are on the second.
Plan split_plan(uint16_t first) {
  Plan plan = plan_of(tiny_model(), 2);
  const auto nodes = forward_pass(static_cast<uint32_t>(tiny_model().config.layers.size()));
  for (size_t i = 0; i < nodes.size(); ++i)
    plan.prefill[i] = plan.decode[i] = in_layer(nodes[i].op) && nodes[i].layer >= first ? 1 : 0;
  return plan;
}

TEST(PlanCheck, OneDeviceNeedsTheWeightsOnce) {
  const auto cpu = cpu::make_cpu_backend({1, ""});
  Backend* const devices[] = {cpu.get()};
  const auto needs =
      memory_needs(plan_of(tiny_model(), 1), {tiny_model().config, tiny_model().weights, devices},
                   short_steps());
  EXPECT_EQ(needs[0].weights, tiny_model().weights.size());
}

TEST(PlanCheck, NeedsAreWhatACoordinatorTakes) {
  const auto cpu = cpu::make_cpu_backend({1, ""}), other = cpu::make_cpu_backend({1, ""});
  Backend* const devices[] = {cpu.get(), other.get()};
  const Plan plan = split_plan(5);
  const auto needs =
      memory_needs(plan, {tiny_model().config, tiny_model().weights, devices}, short_steps());
  const Coordinator coordinator(tiny_model().config, tiny_model().weights, devices, plan,
                                short_steps());
  for (uint32_t device : {0u, 1u}) {
    const DeviceMemory taken = coordinator.device_memory(device);
    EXPECT_EQ(needs[device].activations, taken.activations);
    // But for the alignment of views.
    EXPECT_NEAR(static_cast<double>(needs[device].cache), static_cast<double>(taken.cache), 4096);
    EXPECT_NEAR(static_cast<double>(needs[device].weights), static_cast<double>(taken.weights),
                0.05 * static_cast<double>(taken.weights));
  }
}

TEST(PlanCheck, CountsATiedEmbeddingOnceWhereTheHeadIs) {
  ASSERT_TRUE(tiny_model().weights.tied());
  const auto cpu = cpu::make_cpu_backend({1, ""});
  TableBackend table(*cpu);
  Backend* const devices[] = {&table, cpu.get()};
  const PlanTarget target{tiny_model().config, tiny_model().weights, devices};
  Plan plan = plan_of(tiny_model(), 2);
  const uint64_t all = tiny_model().weights.size();
  EXPECT_EQ(memory_needs(plan, target, short_steps())[0].weights, all);
  const Coordinator together(tiny_model().config, tiny_model().weights, devices, plan,
                             short_steps());
  EXPECT_EQ(together.device_memory(0).weights, all);
  plan.prefill.back() = plan.decode.back() = 1;  // the head elsewhere
  const uint64_t final_norm = tiny_model().config.hidden() * sizeof(float);
  EXPECT_EQ(memory_needs(plan, target, short_steps())[0].weights, all - final_norm);
  const Coordinator apart(tiny_model().config, tiny_model().weights, devices, plan, short_steps());
  EXPECT_EQ(apart.device_memory(0).weights, all - final_norm);
}

// The host has room for the weights once more, or it has not.
TEST(PlanCheck, CountsTheShadowsWeightsToo) {
  const auto cpu = cpu::make_cpu_backend({1, ""});
  LimitedBackend limited(*cpu, uint64_t{1} << 60);
  Backend* const devices[] = {&limited};
  const Plan plan = plan_of(tiny_model(), 1);
  CoordinatorShape shape = short_steps();
  const auto shortfall = [&](bool shadowed) {
    return find_shortfall(plan, {tiny_model().config, tiny_model().weights, devices, shadowed},
                          shape);
  };
  EXPECT_FALSE(shortfall(true).has_value());
  shape.sequences = 1u << 20;  // a cache that no host holds, but the device's word is taken
  shape.context = 1u << 16;
  EXPECT_FALSE(shortfall(false).has_value());
  ASSERT_TRUE(shortfall(true).has_value());
  EXPECT_EQ(shortfall(true)->device, "the host");
  EXPECT_GT(shortfall(true)->needed, 2 * tiny_model().weights.size());
}

TEST(PlanCheck, NamesTheDeviceThatIsTooSmall) {
  const auto cpu = cpu::make_cpu_backend({1, ""});
  const auto shortfall_with = [&](uint64_t available) {
    LimitedBackend limited(*cpu, available);
    Backend* const devices[] = {cpu.get(), &limited};
    return find_shortfall(split_plan(5), {tiny_model().config, tiny_model().weights, devices},
                          short_steps());
  };
  const auto lacking = shortfall_with(1000);
  ASSERT_TRUE(lacking.has_value());
  EXPECT_EQ(lacking->device, "limited");
  EXPECT_EQ(lacking->available, 1000u);
  EXPECT_EQ(shortfall_with(lacking->needed - 1)->needed, lacking->needed);
  EXPECT_FALSE(shortfall_with(lacking->needed).has_value());
}

// Asked of a device with so much memory, a plan's devices being cpu and card in either order.
std::optional<Shortfall> shortfall_on(Backend& cpu, uint64_t card_memory, const Plan& plan,
                                      const CoordinatorShape& shape) {
  CardBackend card(cpu, card_memory);
  std::vector<Backend*> devices;
  for (const std::string& name : plan.devices) devices.push_back(name == "cpu" ? &cpu : &card);
  return find_shortfall(plan, {tiny_model().config, tiny_model().weights, devices}, shape);
}

TEST(PlanCheck, TakesWhatThePlannerMakesForAMemoryThatIsJustLargeEnough) {
  const auto cpu = cpu::make_cpu_backend({1, ""});
  Plan alone = single_device_plan("limited", costs_with_card(1).model.layer_count());
  alone.chunk = 16;
  for (const uint32_t depth : {1u, 3u}) {
    PlanRequest request;
    request.prompt = 32;
    request.generate = 8;
    request.context = 4096;
    request.chunk = alone.chunk;
    request.depth = request.sequences = depth;
    const uint64_t needed =
        shortfall_on(*cpu, 0, alone, request.shape(costs_with_card(1), alone))->needed;
    for (const uint64_t less : {0u, 1u, 300'000u, 100'000'000u}) {
      const CostTable table = costs_with_card(needed - less);
      const Plan plan = make_plan(table, request);
      const auto lacking = shortfall_on(*cpu, needed - less, plan, request.shape(table, plan));
      EXPECT_FALSE(lacking.has_value()) << depth << " deep, " << less << " bytes less";
      if (less > 0) {
        EXPECT_NE(plan.devices, alone.devices);
      } else if (depth == 1) {
        EXPECT_EQ(plan.devices, alone.devices);
      }
    }
    CostTable card_only = costs_with_card(needed);
    card_only.devices.erase(card_only.devices.begin());
    card_only.edges = {{EdgeCost{}}};
    EXPECT_EQ(make_plan(card_only, request).devices, alone.devices);
    --card_only.pools[1].size;
    EXPECT_THROW(make_plan(card_only, request), Error);
  }
}

TEST(PlanCheck, NamesTheNodeThatADeviceRefuses) {
  const auto cpu = cpu::make_cpu_backend({1, ""});
  LimitedBackend limited(*cpu, uint64_t{1} << 40);
  Backend* const devices[] = {cpu.get(), &limited};
  const PlanTarget target{tiny_model().config, tiny_model().weights, devices};
  EXPECT_NO_THROW(check_support(split_plan(5), target, short_steps(), "plan.json"));
  limited.refuses_ffn = true;
  Plan plan = split_plan(5);
  plan.prefill.assign(plan.prefill.size(), 0);  // its decode is at fault then
  try {
    check_support(plan, target, short_steps(), "plan.json");
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.what(), HasSubstr("plan.json: /decode: limited cannot run ffn of layer 5"));
    EXPECT_THAT(error.what(), HasSubstr("it has no FFN"));
  }
}

TEST(PlanCheck, LargestModelNeedsLittleBesideItsWeights) {
  const PublishedSize& size = *find_published_size("27b");
  ModelConfig config;
  config.layers.assign(size.shape.layers, layer_of(size));
  for (uint32_t i = 5; i < size.shape.layers; i += 6) config.layers[i].window = 0;
  CoordinatorShape shape;
  shape.context = 8192;
  for (uint32_t slots : {1u, 2u}) {
    shape.slots = slots;
    EXPECT_LE(KvCache::size_of(config, Coordinator::cache_shape(shape)) +
                  Coordinator::activation_size(config, shape),
              1'800'000'000u);
  }
}

}  // namespace
}  // namespace tandem

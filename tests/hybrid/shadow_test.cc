// The shadow check: healthy devices pass it unchanged, and a faulty one is caught at its node.
// SPDX-License-Identifier: Apache-2.0
#include "hybrid/shadow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "cpu/cpu_backend.h"
#include "hybrid/rig.h"
#include "support/faulty_backend.h"
#include "support/staged_backend.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kPrompt = 40, kChunk = 16;  // longer than the window of 32

Gemma3Shape small_shape() {
  Gemma3Shape shape = tiny_shape();
  shape.layers = 6;  // the last one is global
  shape.hidden = 128;
  shape.ffn = 256;
  shape.heads = 2;
  shape.kv_heads = 1;
  return shape;
}

const LoadedModel& tiny() {
  static const LoadedModel model(small_shape());
  return model;
}

CoordinatorShape shape_of(DType kv, uint32_t slots) {
  CoordinatorShape shape;
  shape.max_rows = kChunk;
  shape.context = 64;
  shape.kv = kv;
  shape.slots = slots;
  return shape;
}

std::unique_ptr<Backend> shadowed(std::unique_ptr<Backend> device) {
  return make_shadow_backend(std::move(device), cpu::make_cpu_backend({1, "scalar"}));
}

// The last logits of a prompt, and the token that follows after one more.
std::pair<std::vector<float>, int32_t> run(const Plan& plan, std::vector<Backend*> devices,
                                           const CoordinatorShape& shape) {
  Coordinator coordinator(tiny().config, tiny().weights, devices, plan, shape);
  prefill(coordinator, some_tokens(kPrompt), kChunk);
  std::vector<float> logits = copy_of(coordinator.logits(0));
  const StepRow row{7, 0, kPrompt, true};
  coordinator.run({&row, 1}, Tail::kArgmax);
  return {std::move(logits), coordinator.ids()[0]};
}

// Attention on one device, the rest on another, and the other way round when decoding.
Plan crossing_plan() {
  Plan plan = plan_of(tiny(), 2);
  const std::vector<Node> nodes = forward_pass(static_cast<uint32_t>(tiny().config.layers.size()));
  for (size_t i = 0; i < nodes.size(); ++i) {
    plan.prefill[i] = nodes[i].op == Op::kAttnCore ? 1 : 0;
    plan.decode[i] = 1 - plan.prefill[i];
  }
  return plan;
}

TEST(Shadow, HealthyDevicesGiveWhatTheyGiveWithoutIt) {
  for (const auto& [kv, slots] :
       {std::pair(DType::kF32, 1u), std::pair(DType::kF16, 2u), std::pair(DType::kI8, 1u)}) {
    const auto make = [] { return cpu::make_cpu_backend({1, ""}); };
    const auto cpu = make(), second = make();
    StagedBackend staged(*second, "staged");
    const auto plain = run(crossing_plan(), {cpu.get(), &staged}, shape_of(kv, slots));

    const auto inner = make();
    const auto checked = shadowed(make());
    const auto checked_staged = shadowed(std::make_unique<StagedBackend>(*inner, "staged"));
    EXPECT_EQ(run(crossing_plan(), {checked.get(), checked_staged.get()}, shape_of(kv, slots)),
              plain);
  }
}

struct Place {
  Op op;
  uint16_t layer;
  const char *name, *element;  // what the message says; FaultyBackend spoils a third into a row
};

class ShadowFinds : public ::testing::TestWithParam<Fault> {};

TEST_P(ShadowFinds, TheNodeThatIsWrong) {
  for (const Place& place :
       {Place{Op::kEmbed, 0, "embed differs", "x of row 15, element 42,"},
        Place{Op::kQkv, 1, "qkv of layer 1 differs", "qkv of row 15, element 85,"},
        Place{Op::kAttnCore, 2, "core of layer 2 differs", "attended of row 15, element 42,"},
        Place{Op::kAttnOut, 0, "out of layer 0 differs", "x of row 15, element 42,"},
        Place{Op::kFfn, 3, "ffn of layer 3 differs", "x of row 15, element 42,"},
        Place{Op::kHead, 0, "head differs", "logits of row 0, element 170,"}}) {
    Plan plan = plan_of(tiny(), 2);
    const std::vector<Node> nodes =
        forward_pass(static_cast<uint32_t>(tiny().config.layers.size()));
    for (size_t i = 0; i < nodes.size(); ++i)
      plan.prefill[i] = nodes[i].op == place.op && nodes[i].layer == place.layer ? 1 : 0;
    const auto inner = cpu::make_cpu_backend({1, ""});
    const auto good = shadowed(cpu::make_cpu_backend({1, ""}));
    const auto bad = shadowed(std::make_unique<FaultyBackend>(*inner, GetParam()));
    try {
      run(plan, {good.get(), bad.get()}, shape_of(DType::kF16, 1));
      ADD_FAILURE() << "nothing found: " << place.name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInternal) << error.what();
      EXPECT_THAT(error.what(), HasSubstr(place.name));
      if (GetParam() != Fault::kSkipsRelease) {
        EXPECT_THAT(error.what(), HasSubstr(place.element));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Faults, ShadowFinds,
                         ::testing::Values(Fault::kSpoilsElement, Fault::kWritesNan,
                                           Fault::kSkipsRelease));

}  // namespace
}  // namespace tandem

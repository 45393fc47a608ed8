// The reference plans as this machine can run them: the emulated NPU, a Vulkan device, the CPU. The
// models have the depth of 4B and 27B and are tiny otherwise.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <stdlib.h>

#include "base/error.h"
#include "engine/engine.h"
#include "engine/session.h"
#include "support/tiny_model.h"

namespace tandem {
namespace {

struct Reference {
  const char* plan;
  uint32_t layers, on_npu, on_vulkan, on_cpu;  // nodes
};

class ReferencePlan : public ::testing::TestWithParam<Reference> {};

// Every node of every step is judged by the shadow check, which throws.
TEST_P(ReferencePlan, RunsWithStandInsAndEveryNodeIsRight) {
  const Reference& reference = GetParam();
  Gemma3Shape shape = tiny_shape();
  shape.layers = reference.layers;
  const TinyModel model(DType::kQ4_0, shape);
  EngineOptions options;
  options.threads = 1;
  options.context = 64;
  options.plan = reference.plan;
  options.stand_ins = true;
  setenv("TANDEM_CHECK", "1", 1);
  Engine engine(model.path(), options);
  unsetenv("TANDEM_CHECK");
  for (Phase phase : {Phase::kPrefill, Phase::kDecode})
    EXPECT_EQ(engine.coordinator().node_counts(phase),
              (std::vector<uint32_t>{reference.on_npu, reference.on_vulkan, reference.on_cpu}));
  Session session(engine);
  const std::vector<int32_t> ids = {5, 42, 79, 116, 153, 190, 227};
  session.append(ids);
  for (int i = 0, token = 7; i < 3; ++i) token = session.append_greedy(token);
  for (const DeviceUse& use : engine.coordinator().use(Phase::kDecode).devices)
    EXPECT_GT(use.nodes, 0u);
  EXPECT_EQ(engine.coordinator().total_use().staged_bytes, 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Plans, ReferencePlan,
    ::testing::Values(Reference{"plans/execution_plan_4b.json", 34, 32, 34, 72},
                      Reference{"plans/execution_plan_27b.json", 62, 40, 62, 148}));

}  // namespace
}  // namespace tandem

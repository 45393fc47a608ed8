// The conformance suite must reject each fault in each op, and accept a device that has none.
// SPDX-License-Identifier: Apache-2.0
#include "support/faulty_backend.h"

#include <gtest/gtest.h>

#include "cpu/cpu_backend.h"
#include "support/conformance.h"

namespace tandem {
namespace {

class FaultyBackendTest : public ::testing::TestWithParam<Fault> {};

TEST_P(FaultyBackendTest, EveryOpIsJudgedRightly) {
  const auto cpu = cpu::make_cpu_backend({2, "scalar"});
  FaultyBackend faulty(*cpu, GetParam());
  for (const Case& c : few_cases()) {
    const CaseResult result = run_case(faulty, c, Rounding::kInt8);
    ASSERT_TRUE(result.supported) << c.name();
    EXPECT_EQ(result.ok, GetParam() == Fault::kNone) << c.name() << ": " << result.message;
  }
}

INSTANTIATE_TEST_SUITE_P(Faults, FaultyBackendTest,
                         ::testing::Values(Fault::kNone, Fault::kSpoilsElement, Fault::kDropsTail,
                                           Fault::kWritesNan, Fault::kWritesPast,
                                           Fault::kSkipsRelease));

}  // namespace
}  // namespace tandem

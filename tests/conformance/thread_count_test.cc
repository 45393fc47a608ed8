// The CPU backend gives the same bits for any number of threads.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/error.h"
#include "cpu/cpu_backend.h"
#include "support/conformance.h"

namespace tandem {
namespace {

class ThreadCount : public ::testing::TestWithParam<const char*> {};

TEST_P(ThreadCount, DoesNotChangeABit) {
  std::unique_ptr<Backend> one;
  try {
    one = cpu::make_cpu_backend({1, GetParam()});
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  for (const uint32_t threads : {2u, 5u}) {
    const auto several = cpu::make_cpu_backend({threads, GetParam()});
    for (const Case& c : few_cases()) {
      const CaseResult want = run_case(*one, c, Rounding::kInt8);
      const CaseResult got = run_case(*several, c, Rounding::kInt8);
      EXPECT_TRUE(want.memory == got.memory) << c.name() << " with " << threads << " threads";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, ThreadCount, ::testing::Values("scalar", "avx2", "avx512"));

}  // namespace
}  // namespace tandem

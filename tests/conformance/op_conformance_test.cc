// Every backend x every case of cases.h that it supports, against the reference.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "cpu/cpu_backend.h"
#include "support/conformance.h"

namespace tandem {
namespace {

// A backend to try. `open` returns null, with the reason, where the machine has no such device.
struct Target {
  std::string name;
  Rounding rounding;
  bool supports_all;  // declining a case is a failure
  std::unique_ptr<Backend> (*open)(std::string& reason);
};

template <const char* kIsa>
std::unique_ptr<Backend> open_cpu(std::string& reason) {
  try {
    return cpu::make_cpu_backend({2, kIsa});
  } catch (const Error& error) {
    reason = error.what();
    return nullptr;
  }
}
constexpr char kScalar[] = "scalar", kAvx2[] = "avx2", kAvx512[] = "avx512";

const std::vector<Target>& targets() {
  static const std::vector<Target> table = {
      {"cpu_scalar", Rounding::kInt8, true, open_cpu<kScalar>},
      {"cpu_avx2", Rounding::kInt8, true, open_cpu<kAvx2>},
      {"cpu_avx512", Rounding::kInt8, true, open_cpu<kAvx512>},
  };
  return table;
}

// Opened once for all cases.
Backend* backend_of(const Target& target, std::string& reason) {
  static std::map<std::string, std::pair<std::unique_ptr<Backend>, std::string>> opened;
  auto [entry, is_new] = opened.try_emplace(target.name);
  if (is_new) entry->second.first = target.open(entry->second.second);
  reason = entry->second.second;
  return entry->second.first.get();
}

class OpConformance : public ::testing::Test {
 public:
  OpConformance(const Target& target, const Case& c) : target_(target), case_(c) {}

  void TestBody() override {
    std::string reason;
    Backend* backend = backend_of(target_, reason);
    if (backend == nullptr) GTEST_SKIP() << reason;
    const CaseResult result = run_case(*backend, case_, target_.rounding);
    if (!result.supported && !target_.supports_all) GTEST_SKIP() << result.message;
    EXPECT_TRUE(result.ok) << case_.name() << ": " << result.message;
    RecordProperty("share_of_bound", std::to_string(result.worst_share));
  }

 private:
  const Target& target_;
  Case case_;
};

void register_cases() {
  for (const Target& target : targets())
    for (const Case& c : all_cases())
      ::testing::RegisterTest(
          target.name.c_str(), c.name().c_str(), nullptr, nullptr, __FILE__, __LINE__,
          [&target, c]() -> ::testing::Test* { return new OpConformance(target, c); });
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  tandem::register_cases();
  return RUN_ALL_TESTS();
}

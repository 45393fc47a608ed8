// SPDX-License-Identifier: Apache-2.0
#include "base/env.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/check.h"
#include "base/error.h"

namespace tandem {
namespace {

constexpr std::string_view kPrefix = "TANDEM_";

constexpr std::array kVariables = {
    EnvVariable{"TANDEM_CPU_ISA", "best the CPU has", "CPU kernels: scalar, avx2 or avx512"},
    EnvVariable{"TANDEM_CHECK", "0", "1: re-run every node on the scalar kernels and compare"},
    EnvVariable{"TANDEM_LOG", "warn", "log level: debug, info, warn, error"},
    EnvVariable{"TANDEM_NO_ZERO_COPY", "0",
                "1: copy through staging memory even where pages could be shared"},
    EnvVariable{"TANDEM_PIPELINE_CACHE", "the user's cache folder",
                "folder of compiled GPU pipelines; empty string of 'off' disables"},
    EnvVariable{"TANDEM_SEED", "1", "seed of randomised tests"},
    EnvVariable{"TANDEM_TEST_ASSETS", "../shared",
                "folder with models/ and reference/ for the tests"},
    EnvVariable{"TANDEM_VULKAN_BUDGET", "what the driver reports",
                "device memory to use at most, in MiB"},
    EnvVariable{"TANDEM_VULKAN_LARGEST", "what the driver reports",
                "largest piece of device memory to ask for, in MiB; weights beyond it are cut"},
    EnvVariable{"TANDEM_NPU_ROOT", "/", "root folder under which sysfs and /dev are looked up"},
    EnvVariable{"TANDEM_NPU_CACHE", "the user's cache folder", "folder of compiled NPU designs"},
};

const EnvVariable* find(std::string_view name) {
  const auto* row = std::find_if(kVariables.begin(), kVariables.end(),
                                 [&](const EnvVariable& v) { return v.name == name; });
  return row == kVariables.end() ? nullptr : row;
}

std::optional<std::string> read(std::string_view name) {
  const char* value = std::getenv(std::string(name).c_str());
  if (value == nullptr || *value == '\0') return std::nullopt;
  return std::string(value);
}

}  // namespace

std::span<const EnvVariable> env_variables() { return kVariables; }

std::optional<std::string> env(std::string_view name) {
  TANDEM_CHECK(find(name) != nullptr, "%.*s is not in the table", static_cast<int>(name.size()),
               name.data());
  return read(name);
}

bool env_flag(std::string_view name) {
  const std::optional<std::string> value = env(name);
  if (!value || *value == "0") return false;
  if (*value == "1") return true;
  throw Error(ErrorCode::kUsage, fmt::format("{}={} is neither 0 nor 1", name, *value));
}

void check_env_names() {
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('='));
    if (name.substr(0, kPrefix.size()) == kPrefix && find(name) == nullptr)
      throw Error(
          ErrorCode::kUsage,
          fmt::format("unknown environment variable {}; `tandem env` lists those that exist",
                      name));
  }
}

std::optional<std::string> foreign_env(std::string_view name) { return read(name); }

}  // namespace tandem

// SPDX-License-Identifier: Apache-2.0
#include "backend/backends.h"

#include <fmt/format.h>

#include "base/error.h"
#include "cpu/cpu_backend.h"

namespace tandem {

std::unique_ptr<Backend> open_backend(const std::string& name, const BackendOptions& options) {
  if (name == "cpu") {
    cpu::CpuOptions cpu_options;
    cpu_options.threads = options.threads;
    return cpu::make_cpu_backend(cpu_options);
  }
  throw Error(
      ErrorCode::kUsage,
      fmt::format("there is no device '{}'; `tandem devices` lists those that exist", name));
}

std::vector<DeviceListing> list_devices() {
  const std::unique_ptr<Backend> cpu = cpu::make_cpu_backend({});
  return {{cpu->info().name, cpu->info().device, true, false, false, {}}};
}

}  // namespace tandem

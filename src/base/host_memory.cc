// SPDX-License-Identifier: Apache-2.0
#include "base/host_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>

#include "base/error.h"

namespace tandem {
namespace {

// The value of a "Name:   123 kB" line, in bytes.
uint64_t read_kib_line(const char* path, const std::string& name) {
  std::ifstream file(path);
  std::string word;
  while (file >> word) {
    uint64_t kib = 0;
    if (word == name + ":" && file >> kib) return kib * 1024;
  }
  throw Error(ErrorCode::kInternal,
              fmt::format("{} has no line {}; is /proc mounted?", path, name));
}

std::optional<uint64_t> read_number(const char* path) {
  std::ifstream file(path);
  uint64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;  // absent, or "max"
}

}  // namespace

uint64_t available_host_memory() {
  uint64_t available = read_kib_line("/proc/meminfo", "MemAvailable");
  // Control groups version 2, seen from inside a container.
  const auto limit = read_number("/sys/fs/cgroup/memory.max");
  const auto used = read_number("/sys/fs/cgroup/memory.current");
  if (limit && used) available = std::min(available, *limit > *used ? *limit - *used : 0);
  return available;
}

uint64_t resident_size() { return read_kib_line("/proc/self/status", "VmRSS"); }

uint64_t peak_resident_size() { return read_kib_line("/proc/self/status", "VmHWM"); }

}  // namespace tandem

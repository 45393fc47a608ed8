// SPDX-License-Identifier: Apache-2.0
#include "cli/output.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <span>

#include "base/error.h"
#include "base/json_value.h"
#include "gguf/atomic_file.h"

namespace tandem {
namespace {

[[noreturn]] void stdout_failed() {
  throw Error(ErrorCode::kInternal,
              fmt::format("writing to standard output failed: {}; free some space or write to "
                          "another place",
                          std::strerror(errno)));
}

}  // namespace

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) stdout_failed();
}

void flush_stdout() {
  if (std::fflush(stdout) != 0) stdout_failed();
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path, text.size());
  file.write(0, std::as_bytes(std::span(text)));
  file.commit();
}

void print_json(const Json& value) { print(to_text(value, true) + "\n"); }

}  // namespace tandem

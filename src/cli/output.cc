// SPDX-License-Identifier: Apache-2.0
#include "cli/output.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "base/json_value.h"

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

void print_json(const Json& value) { print(to_text(value, true) + "\n"); }

}  // namespace tandem

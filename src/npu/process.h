// Running another program, without a shell and never without a time limit.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace tandem::npu {

// The program `name` of PATH, or `name` itself when it holds a slash and can be executed.
std::optional<std::filesystem::path> find_program(const std::string& name);

// Runs arguments[0] in `folder` with both outputs appended to `log` and waits for it. Returns its
// exit code, 128 + the signal that ended it, or throws kInternal (cannot start) or kTimeout (killed
// after `limit`).
int run_process(const std::vector<std::string>& arguments, const std::filesystem::path& folder,
                const std::filesystem::path& log, std::chrono::milliseconds limit);

}  // namespace tandem::npu

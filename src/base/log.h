// Messages for people on stderr, by level (TANDEM_LOG). Not for results, not for hot paths.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace tandem {

enum class LogLevel { kDebug, kInfo, kWarn, kError };

// Writes "tandem: message" when `level` is at least the chosen one. Thread-safe.
void log(LogLevel level, std::string_view message);

// Overrides TANDEM_LOG, for `-v`.
void set_log_level(LogLevel level);

}  // namespace tandem

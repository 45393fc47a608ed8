// Every environment variable the project reads: this is the only place that calls getenv.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace tandem {

// One row of the table that `tandem env` prints.
struct EnvVariable {
  std::string_view name;           // "TANDEM_..."
  std::string_view default_value;  // as text, for people
  std::string_view help;           // one line
};

std::span<const EnvVariable> env_variables();

// The value of a variable in the table; nullopt when unset or empty. `name` must be in the table.
std::optional<std::string> env(std::string_view name);

// True when set to 1, false when unset or 0; anything else throws kUsage.
bool env_flag(std::string_view name);

// Throws kUsage when the environment holds a TANDEM_ variable that is not in the table.
void check_env_names();

// The variables of other programs that we honour, unset or empty reading as nullopt:
// NO_COLOR, HOME, XDG_CACHE_HOME, XDG_STATE_HOME.
std::optional<std::string> foreign_env(std::string_view name);

}  // namespace tandem

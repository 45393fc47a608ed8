// `tandem env`: the table of environment variables.
// SPDX-License-Identifier: Apache-2.0
#include "base/env.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/output.h"

namespace tandem {

void add_env_command(CLI::App& app) {
  app.add_subcommand("env", "List the environment variables that tandem reads")->callback([] {
    for (const EnvVariable& variable : env_variables())
      print(fmt::format("{:<24}{} (default: {}){}\n", variable.name, variable.help,
                        variable.default_value,
                        env(variable.name) ? fmt::format(", now {}", *env(variable.name)) : ""));
  });
}

}  // namespace tandem

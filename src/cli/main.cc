// The entry point: parses the command line, runs the subcommand, turns errors into exit codes.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "base/env.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/output.h"

namespace tandem {
namespace {

int report(ErrorCode code, std::string_view message) {
  fmt::print(stderr, "tandem: {}\n", message);
  return exit_code(code);
}

void declare_commands(CLI::App& app) {
  app.set_version_flag("--version", TANDEM_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  add_run_command(app);
  add_chat_command(app);
  add_bench_command(app);
  add_inspect_command(app);
  add_tokenize_command(app);
  add_logits_command(app);
  add_perplexity_command(app);
  add_quantize_command(app);
  add_synth_command(app);
  add_devices_command(app);
  add_env_command(app);
}

// Parse errors become one sentence; help and version go to stdout.
int parse_and_run(CLI::App& app, int argc, char** argv) {
  std::vector<std::string> arguments = expand_aliases(argc, argv);
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help, --version
      const int code = app.exit(error);
      flush_stdout();
      return code;
    }
    return report(ErrorCode::kUsage,
                  fmt::format("{}; see `tandem {}--help`", one_sentence(error.what()),
                              selected_command(app)));
  }
  flush_stdout();
  return 0;
}

int run_main(int argc, char** argv) {
  signal(SIGPIPE, SIG_DFL);  // a closed pipe ends the program quietly, as in other filters
  install_interrupt_handler();
  CLI::App app("Runs Gemma 3 models from GGUF files.", "tandem");
  try {
    check_env_names();
    declare_commands(app);
    return parse_and_run(app, argc, argv);
  } catch (const Interrupted&) {
    exit_interrupted();
  } catch (const Error& error) {
    return report(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return report(ErrorCode::kOutOfMemory,
                  "out of memory; use a shorter context (-c) or a smaller model");
  } catch (const std::exception& error) {
    return report(ErrorCode::kInternal, fmt::format("internal error: {}", error.what()));
  }
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) { return tandem::run_main(argc, argv); }

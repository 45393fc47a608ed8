// The entry point: parses the command line, runs the subcommand, turns errors into exit codes.
// SPDX-License-Identifier: Apache-2.0
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

// Without exceptions: where stderr takes nothing, the exit code still tells.
int report(ErrorCode code, const char* kind, const char* message) {
  std::fprintf(stderr, "tandem: %s%s\n", kind, message);
  return exit_code(code);
}

void declare_commands(CLI::App& app) {
  app.set_version_flag("--version", TANDEM_VERSION, "Print the version and exit");
  app.require_subcommand(1);
  app.footer(
      "`tandem COMMAND --help` describes a command. For example:\n"
      "  tandem run -m gemma-3-1b-it-q4_0.gguf --chat -p \"Why is the sky blue?\"");
  // `tandem env` itself answers the question which variables there are.
  app.parse_complete_callback([&app] {
    if (!app.got_subcommand("env")) check_env_names();
  });
  add_run_command(app);
  add_chat_command(app);
  add_bench_command(app);
  add_inspect_command(app);
  add_tokenize_command(app);
  add_logits_command(app);
  add_perplexity_command(app);
  add_quantize_command(app);
  add_synth_command(app);
  add_plan_command(app);
  add_devices_command(app);
#ifdef TANDEM_NPU
  add_doctor_command(app);
  add_npu_command(app);
#endif
  add_env_command(app);
  set_help_format(app);
}

int run_main(int argc, char** argv) {
  signal(SIGPIPE, SIG_DFL);  // a closed pipe ends the program quietly, as in other filters
  signal(SIGXFSZ, SIG_IGN);  // a file that grows past the limit is a write that fails
  install_interrupt_handler();
  try {
    CLI::App app("Runs Gemma 3 models from GGUF files.", "tandem");
    declare_commands(app);
    if (parse(app, expand_arguments(argc, argv))) flush_stdout();
    return 0;
  } catch (const Interrupted&) {
    exit_interrupted();
  } catch (const Error& error) {
    return report(error.code(), "", error.what());
  } catch (const std::bad_alloc&) {
    return report(ErrorCode::kOutOfMemory, "",
                  "out of memory; use a shorter context (-c) or a smaller model");
  } catch (const std::exception& error) {
    return report(ErrorCode::kInternal, "internal error: ", error.what());
  }
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) { return tandem::run_main(argc, argv); }

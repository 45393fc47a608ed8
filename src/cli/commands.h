// The subcommands of `tandem`: each file adds one to the command line.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace CLI {
class App;
}

namespace tandem {

// Each declares its options on a new subcommand of `app`, whose callback runs it. A callback
// throws Error; main prints it and turns it into the exit code.
void add_bench_command(CLI::App& app);
void add_chat_command(CLI::App& app);
void add_devices_command(CLI::App& app);
#ifdef TANDEM_NPU
void add_doctor_command(CLI::App& app);
void add_npu_command(CLI::App& app);
#endif
void add_env_command(CLI::App& app);
void add_inspect_command(CLI::App& app);
void add_logits_command(CLI::App& app);
void add_perplexity_command(CLI::App& app);
void add_plan_command(CLI::App& app);
void add_quantize_command(CLI::App& app);
void add_run_command(CLI::App& app);
void add_synth_command(CLI::App& app);
void add_tokenize_command(CLI::App& app);

}  // namespace tandem

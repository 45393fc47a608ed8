// `tandem run`: a prompt in, the continuation out.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/interrupt.h"
#include "base/json_value.h"
#include "cli/commands.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/sampling_options.h"
#include "cli/text_input.h"
#include "cli/trace_options.h"
#include "engine/generate.h"
#include "model/chat_template.h"
#include "model/tokenizer.h"

namespace tandem {
namespace {

struct RunOptions {
  ModelOptions model;
  PromptOptions prompt;
  SamplingOptions sampling;
  std::string system;
  bool chat = false, json = false;
  TraceOptions trace;
};

std::vector<int32_t> encode(const Prompt& prompt, const RunOptions& options,
                            const Tokenizer& tokenizer) {
  if (!options.chat) return encode_prompt(prompt, options.prompt, tokenizer);
  std::vector<Message> messages;
  if (!options.system.empty()) messages.push_back({Role::kSystem, options.system});
  messages.push_back({Role::kUser, std::get<std::string>(prompt)});
  return ChatTemplate(tokenizer).encode_turns(messages, true, true);
}

Json to_json(const GenerateResult& result, uint64_t seed) {
  return {{"text", result.text},
          {"ids", result.ids},
          {"finish_reason", finish_reason_name(result.finish)},
          {"seed", seed},
          {"timings",
           {{"prompt_n", result.prompt_tokens},
            {"prompt_ms", 1e3 * result.prompt_seconds},
            {"predicted_n", result.ids.size()},
            {"predicted_ms", 1e3 * result.generate_seconds},
            {"second_token_ms", 1e3 * result.second_token_seconds},
            {"predicted_per_second", result.tokens_per_second()}}}};
}

void report(const GenerateResult& result) {
  fmt::print(stderr,
             "tandem: {} prompt tokens in {:.0f} ms, {} tokens at {:.2f} tokens/s, ended by {}\n",
             result.prompt_tokens, 1e3 * result.prompt_seconds, result.ids.size(),
             result.tokens_per_second(), finish_reason_name(result.finish));
}

void run(RunOptions& options) {
  const GenerateOptions generation = resolve(options.sampling);
  const Prompt prompt = read_prompt(options.prompt);
  require_utf8(options.system, "the system prompt");
  const std::unique_ptr<Engine> engine = open_engine(options.model);
  const Tokenizer tokenizer(read_vocabulary(engine->file()));
  const std::vector<int32_t> ids = encode(prompt, options, tokenizer);
  start_trace(*engine, options.trace);
  Session session(*engine);
  const GenerateResult result =
      Generator(session, tokenizer, generation).generate(ids, [&](std::string_view text) {
        if (options.json) return;
        print(text);
        flush_stdout();
      });
  if (options.json)
    print_json(to_json(result, generation.sampling.seed));
  else
    print("\n");
  flush_stdout();
  if (options.trace.wanted()) write_trace(*engine, options.trace, measure_bandwidths(*engine));
  if (options.model.verbose) {
    report(result);
    report_devices(*engine);
  }
  if (result.finish == FinishReason::kInterrupted) exit_interrupted();
}

}  // namespace

void add_run_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("run", "Continue a prompt, or answer it with --chat");
  auto options = std::make_shared<RunOptions>();
  add_model_options(*command, options->model);
  add_prompt_options(*command, options->prompt);
  CLI::Option* chat = command->add_flag("--chat", options->chat,
                                        "take the prompt as a user's turn of a conversation");
  chat->excludes(command->get_option("--ids"))->excludes(command->get_option("--parse-special"));
  command
      ->add_option("--system-prompt", options->system, "with --chat: instructions before the turn")
      ->type_name("TEXT")
      ->needs(chat);
  add_sampling_options(*command, options->sampling);
  add_trace_options(*command, options->trace);
  command->add_flag("--json", options->json, "print text, ids and timings as JSON");
  command->callback([options] { run(*options); });
}

}  // namespace tandem

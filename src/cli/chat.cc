// `tandem chat`: a conversation in the terminal.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/env.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "cli/commands.h"
#include "cli/line_editor.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/sampling_options.h"
#include "cli/text_input.h"
#include "engine/generate.h"
#include "model/chat_template.h"
#include "model/tokenizer.h"

namespace tandem {
namespace {

constexpr std::string_view kHelp =
    "/clear  forget the conversation\n/bye    leave (also Ctrl-D)\n/help   this list\n"
    "A line that starts with three double quotes begins a text of several lines, ended the same "
    "way.\n"
    "Ctrl-C stops the answer.\n";
constexpr std::string_view kBlock = "\"\"\"";

struct ChatOptions {
  ModelOptions model;
  SamplingOptions sampling;
  std::string system;
};

std::filesystem::path history_path() {
  if (const auto state = foreign_env("XDG_STATE_HOME"))
    return std::filesystem::path(*state) / "tandem" / "chat_history";
  if (const auto home = foreign_env("HOME"))
    return std::filesystem::path(*home) / ".local/state/tandem/chat_history";
  return {};
}

// The conversation so far lives in the session's cache; each turn encodes only what is new.
class Conversation {
 public:
  Conversation(Engine& engine, const Tokenizer& tokenizer, const ChatOptions& options)
      : tokenizer_(tokenizer), chat_template_(tokenizer), options_(options), session_(engine) {}

  void clear() {
    session_.rewind(0);
    pending_.clear();
  }

  GenerateResult answer(const std::string& text) {
    std::vector<Message> messages;
    const bool first = session_.position() == 0;
    if (first && !options_.system.empty()) messages.push_back({Role::kSystem, options_.system});
    messages.push_back({Role::kUser, text});
    std::vector<int32_t> prompt = pending_;
    const auto turns = chat_template_.encode_turns(messages, first, true);
    prompt.insert(prompt.end(), turns.begin(), turns.end());
    const GenerateResult result = generate(session_, tokenizer_, prompt, resolve(options_.sampling),
                                           [](std::string_view part) {
                                             print(part);
                                             flush_stdout();
                                           });
    // What the cache still lacks of this turn: the last token and the turn's end.
    pending_.clear();
    if (!result.ids.empty() && session_.tokens().back() != result.ids.back())
      pending_.push_back(result.ids.back());
    const auto end = chat_template_.turn_end();
    pending_.insert(pending_.end(), end.begin(), end.end());
    return result;
  }

 private:
  const Tokenizer& tokenizer_;
  ChatTemplate chat_template_;
  const ChatOptions& options_;
  Session session_;
  std::vector<int32_t> pending_;
};

// Reads on until the closing quotes. False when the input ends first.
bool read_block(LineEditor& editor, std::string& text) {
  text.erase(0, kBlock.size());
  std::string line;
  while (text.size() < kBlock.size() ||
         text.compare(text.size() - kBlock.size(), kBlock.size(), kBlock) != 0) {
    if (editor.read(line) != LineStatus::kLine) return false;
    text += "\n" + line;
  }
  text.resize(text.size() - kBlock.size());
  return true;
}

void take_turn(Conversation& conversation, const std::string& text, bool verbose) {
  try {
    require_utf8(text, "the line");
    const GenerateResult result = conversation.answer(text);
    print("\n");
    if (result.finish == FinishReason::kContextFull)
      fmt::print(stderr, "tandem: the context is full; /clear starts a new conversation\n");
    if (verbose)
      fmt::print(stderr, "tandem: {} tokens at {:.2f} tokens/s\n", result.ids.size(),
                 result.tokens_per_second());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUsage) throw;
    fmt::print(stderr, "tandem: {}\n", error.what());
  }
  clear_interrupt();
  flush_stdout();
}

void run_chat(ChatOptions& options) {
  resolve(options.sampling);  // errors before the model loads
  require_utf8(options.system, "the system prompt");
  const std::unique_ptr<Engine> engine = open_engine(options.model);
  const Tokenizer tokenizer(read_vocabulary(engine->file()));
  Conversation conversation(*engine, tokenizer, options);
  LineEditor editor("> ", history_path());
  if (editor.is_terminal())
    fmt::print(stderr, "{}: /help for help, /bye to leave\n", engine->config().name);
  std::string line;
  for (;;) {
    const LineStatus status = editor.read(line);
    if (status == LineStatus::kEnd) break;
    if (status == LineStatus::kInterrupted) {
      if (!editor.is_terminal()) exit_interrupted();
      clear_interrupt();
      fmt::print(stderr, "\n(Ctrl-D or /bye leaves)\n");
      continue;
    }
    if (line == "/bye" || line == "/exit" || line == "/quit") break;
    if (line == "/help" || line == "/?") {
      print(kHelp);
    } else if (line == "/clear") {
      conversation.clear();
    } else if (!line.empty() && line.front() == '/' && line.find(' ') == std::string::npos) {
      fmt::print(stderr, "tandem: there is no command {}; /help lists those there are\n", line);
    } else if (line.compare(0, kBlock.size(), kBlock) == 0 && !read_block(editor, line)) {
      break;
    } else if (line.find_first_not_of(" \t") != std::string::npos) {
      take_turn(conversation, line, options.model.verbose);
    }
  }
  if (editor.is_terminal()) print("\n");
  if (options.model.verbose) report_devices(*engine);
}

}  // namespace

void add_chat_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("chat", "Talk with a model");
  auto options = std::make_shared<ChatOptions>();
  add_model_options(*command, options->model);
  command
      ->add_option("--system-prompt", options->system,
                   "instructions before the first turn (also -sys)")
      ->type_name("TEXT");
  add_sampling_options(*command, options->sampling);
  command->callback([options] { run_chat(*options); });
}

}  // namespace tandem

// `tandem chat`: a conversation in the terminal.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/env.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "cli/commands.h"
#include "cli/line_editor.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/sampling_options.h"
#include "cli/text_input.h"
#include "engine/conversation.h"
#include "model/tokenizer.h"

namespace tandem {
namespace {

constexpr std::string_view kPrompt = "> ", kBlockPrompt = ". ";
constexpr std::string_view kBlockMark = "\"\"\"";
constexpr std::string_view kHelpText =
    "/clear    forget the conversation and start a new one\n"
    "/bye      leave (also Ctrl-D)\n"
    "/help     this list\n"
    "\"\"\"       begins a text of several lines, and ends it\n"
    "Ctrl-C    stops the answer, or drops the line being typed\n";

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

// What a line typed by the user asks for.
enum class Command { kText, kNothing, kBlock, kHelp, kClear, kLeave, kUnknown };

Command command_of(std::string_view line) {
  constexpr std::array<std::pair<std::string_view, Command>, 6> kCommands = {
      {{"/help", Command::kHelp},
       {"/?", Command::kHelp},
       {"/clear", Command::kClear},
       {"/bye", Command::kLeave},
       {"/exit", Command::kLeave},
       {"/quit", Command::kLeave}}};
  if (line.substr(0, kBlockMark.size()) == kBlockMark) return Command::kBlock;
  const size_t end = line.find_last_not_of(" \t");
  if (end == std::string_view::npos) return Command::kNothing;
  const std::string_view word = line.substr(0, end + 1);
  for (const auto& [name, command] : kCommands)
    if (word == name) return command;
  // One word of letters after a slash is a mistyped command; a path is text.
  const bool letters = std::all_of(word.begin() + 1, word.end(),
                                   [](unsigned char c) { return std::isalpha(c) != 0; });
  return word.front() == '/' && letters ? Command::kUnknown : Command::kText;
}

class Chat {
 public:
  Chat(Engine& engine, const ChatOptions& options)
      : engine_(engine),
        options_(options),
        tokenizer_(read_vocabulary(engine.file())),
        editor_(history_path()) {
    start();
  }

  // Until the user leaves.
  void run() {
    if (editor_.is_terminal())
      say("{}, context of {} tokens; /help lists the commands, Ctrl-D leaves",
          engine_.config().name, engine_.options().context);
    std::string line;
    for (;;) {
      const LineStatus status = editor_.read(kPrompt, line);
      if (status == LineStatus::kEnd) break;
      if (status == LineStatus::kInterrupted)
        on_interrupt();
      else if (!take(line))
        break;
    }
    if (editor_.is_terminal()) print("\n");
  }

 private:
  void start() {
    conversation_ = std::make_unique<Conversation>(engine_, tokenizer_, resolve(options_.sampling),
                                                   options_.system);
  }

  // False when the user leaves.
  bool take(std::string& line) {
    switch (command_of(line)) {
      case Command::kLeave: return false;
      case Command::kNothing: return true;
      case Command::kHelp: print(kHelpText); break;
      case Command::kClear:
        start();
        say("a new conversation");
        break;
      case Command::kUnknown:
        say("there is no command {}; /help lists those there are", line);
        break;
      case Command::kText: answer(line); break;
      case Command::kBlock: {
        const LineStatus status = read_block(line);
        if (status == LineStatus::kEnd) return false;
        if (status == LineStatus::kInterrupted)
          on_interrupt();
        else
          answer(line);
      }
    }
    flush_stdout();
    return true;
  }

  // `text` holds the first line, and the whole block without its marks on kLine.
  LineStatus read_block(std::string& text) {
    const auto closed = [&] {
      return text.size() >= kBlockMark.size() &&
             text.compare(text.size() - kBlockMark.size(), kBlockMark.size(), kBlockMark) == 0;
    };
    text.erase(0, kBlockMark.size());
    std::string line;
    while (!closed()) {
      const LineStatus status = editor_.read(kBlockPrompt, line);
      if (status != LineStatus::kLine) return status;
      text.append("\n").append(line);
    }
    text.resize(text.size() - kBlockMark.size());
    return LineStatus::kLine;
  }

  void answer(const std::string& text) {
    if (text.find_first_not_of(" \t\n") == std::string::npos) return;
    try {
      require_utf8(text, "the text");
      const GenerateResult result = conversation_->reply(text, [](std::string_view part) {
        print(part);
        flush_stdout();
      });
      print("\n");
      flush_stdout();
      if (result.finish == FinishReason::kInterrupted && !editor_.is_terminal()) exit_interrupted();
      if (result.finish == FinishReason::kContextFull)
        say("the context is full; /clear starts a new conversation");
      if (options_.model.verbose)
        say("{} tokens at {:.2f} tokens/s", result.ids.size(), result.tokens_per_second());
    } catch (const Error& error) {
      // What the user typed is at fault, not the conversation: it goes on.
      if (error.code() != ErrorCode::kUsage) throw;
      say("{}", error.what());
    }
    clear_interrupt();
  }

  void on_interrupt() {
    if (!editor_.is_terminal()) exit_interrupted();
    clear_interrupt();
    fmt::print(stderr, "^C\n");  // ends the line that was being typed
    say("Ctrl-D or /bye leaves");
  }

  template <typename... Arguments>
  static void say(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    fmt::print(stderr, "tandem: {}\n", fmt::format(format, std::forward<Arguments>(arguments)...));
  }

  Engine& engine_;
  const ChatOptions& options_;
  Tokenizer tokenizer_;
  LineEditor editor_;
  std::unique_ptr<Conversation> conversation_;
};

void run_chat(ChatOptions& options) {
  resolve(options.sampling);  // errors before the model loads
  require_utf8(options.system, "the system prompt");
  const std::unique_ptr<Engine> engine = open_engine(options.model);
  Chat(*engine, options).run();
  if (options.model.verbose) report_devices(*engine);
}

}  // namespace

void add_chat_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("chat", "Talk with a model");
  auto options = std::make_shared<ChatOptions>();
  add_model_options(*command, options->model);
  command->add_option("--system-prompt", options->system, "instructions before the first turn")
      ->type_name("TEXT");
  add_sampling_options(*command, options->sampling);
  command->callback([options] { run_chat(*options); });
}

}  // namespace tandem

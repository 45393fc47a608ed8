// SPDX-License-Identifier: Apache-2.0
#include "cli/arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <memory>
#include <utility>

#include "base/error.h"
#include "cli/output.h"

namespace tandem {
namespace {

struct Alias {
  std::string_view alias, name;
};
constexpr std::array kAliases = {
    Alias{"-ub", "--ubatch-size"},   Alias{"-ctk", "--cache-type-k"},
    Alias{"-ctv", "--cache-type-v"}, Alias{"-sys", "--system-prompt"},
    Alias{"-pg", "--n-prompt-gen"},
};

constexpr size_t kHelpColumn = 30;  // where descriptions begin

class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() {
    column_width(kHelpColumn);
    label("Positionals", "Arguments");
  }

  std::string make_option_name(const CLI::Option* option, bool positional) const override {
    if (positional) return option->get_name(true, false);
    std::string names;
    const auto add = [&](std::string_view name) {
      names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
    };
    for (const std::string& name : option->get_snames()) add("-" + name);
    for (const std::string& name : option->get_lnames()) {
      for (const Alias& alias : kAliases)
        if (alias.name == "--" + name) add(alias.alias);
      add("--" + name);
    }
    return names;
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    return option->get_type_size() == 0 || option->get_positional() ? ""
                                                                    : " " + option->get_type_name();
  }
  std::string make_option_desc(const CLI::Option* option) const override {
    std::string text = option->get_description();
    if (option->get_required() && !option->get_positional()) text += " (required)";
    if (!option->get_default_str().empty())
      text += fmt::format(" (default: {})", option->get_default_str());
    return text;
  }
  std::string make_usage(const CLI::App* app, std::string name) const override {
    std::string text = fmt::format("\nUsage: {}", name);
    for (const CLI::Option* option : app->get_options())
      if (option->get_positional()) text += " " + option->get_name(true, false);
    return text + (app->get_subcommands({}).empty() ? " [OPTION]...\n" : " COMMAND [OPTION]...\n");
  }
};

// The parsing library's message without its trailing newline or full stop.
std::string one_clause(std::string_view message) {
  std::string clause(message);
  while (!clause.empty() && (clause.back() == '\n' || clause.back() == '.')) clause.pop_back();
  std::replace(clause.begin(), clause.end(), '\n', ' ');
  if (clause.substr(0, 2) == "A " || clause.substr(0, 4) == "The ")
    clause.front() = static_cast<char>(clause.front() - 'A' + 'a');
  return clause;
}

[[noreturn]] void fail(const CLI::App& app, std::string_view problem) {
  std::string command = app.get_name();
  for (auto used = app.get_subcommands(); !used.empty(); used = used.front()->get_subcommands())
    command += " " + used.front()->get_name();
  throw Error(ErrorCode::kUsage, fmt::format("{}; see `{} --help`", problem, command));
}

}  // namespace

std::vector<std::string> expand_arguments(int argc, char** argv) {
  std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  if (!arguments.empty() && arguments.front() == "help") {
    arguments.erase(arguments.begin());
    arguments.emplace_back("--help");
  }
  for (std::string& argument : arguments) {
    if (argument == "--") break;
    for (const Alias& alias : kAliases)
      if (argument == alias.alias) argument = alias.name;
  }
  std::reverse(arguments.begin(), arguments.end());
  return arguments;
}

bool parse(CLI::App& app, std::vector<std::string> arguments) {
  const std::string first = arguments.empty() ? "" : arguments.back();
  if (first.empty())
    fail(app, arguments.empty() ? "no command given" : "the command is an empty string");
  const auto is_first = [&](const CLI::App* command) { return command->check_name(first); };
  const auto commands = app.get_subcommands({});
  if (first.front() != '-' && std::none_of(commands.begin(), commands.end(), is_first))
    fail(app, fmt::format("there is no command '{}'", first));
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) fail(app, one_clause(error.what()));
    app.exit(error);  // --help or --version: prints it
    flush_stdout();
    return false;
  }
  return true;
}

void set_help_format(CLI::App& app) {
  app.formatter(std::make_shared<HelpFormatter>());
  for (CLI::App* command : app.get_subcommands({})) {
    command->group("Commands");
    command->footer("");
    set_help_format(*command);
  }
}

CLI::Validator whole_number(int64_t least, int64_t most) {
  return {[least, most](std::string& text) -> std::string {
            int64_t value = 0;
            const char* const end = text.data() + text.size();
            const auto [next, problem] = std::from_chars(text.data(), end, value);
            const bool whole = next == end && problem != std::errc::invalid_argument;
            if (!whole) return fmt::format("'{}' is no whole number", text);
            if (problem != std::errc() || value < least || value > most)
              return fmt::format("{} is not between {} and {}", text, least, most);
            text = std::to_string(value);  // so that 010 is not read as an octal number
            return {};
          },
          ""};
}

CLI::Validator real_number() {
  return {[](std::string& text) -> std::string {
            double value = 0;
            const char* const end = text.data() + text.size();
            const auto [next, problem] = std::from_chars(text.data(), end, value);
            if (next != end || problem != std::errc() || !std::isfinite(value))
              return fmt::format("'{}' is no number such as 0.8", text);
            return {};
          },
          ""};
}

}  // namespace tandem

// Prompts as users give them: text, a file, standard input or token ids.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace tandem {

struct PromptOptions {
  std::string text, file, ids;
  bool has_text = false, has_file = false, has_ids = false;
};

// Declares -p, -f and --ids, of which at most one may be given.
void add_prompt_options(CLI::App& command, PromptOptions& options);

// The text of -p or -f. Throws kUsage when none was given, when it is empty or not UTF-8.
std::string read_prompt(const PromptOptions& options);

// A whole file, or standard input for "-". Throws kNotFound with the system's reason.
std::string read_text_file(const std::filesystem::path& path);

// Throws kUsage naming `where` and the offset of the first byte that is no UTF-8.
void require_utf8(std::string_view text, std::string_view where);

// "2,17,5" as numbers. Throws kUsage for anything else.
std::vector<int32_t> parse_ids(std::string_view text);

}  // namespace tandem

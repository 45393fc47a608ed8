// Prompts as users give them: text, a file, standard input or token ids.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/tokenizer.h"

namespace CLI {
class App;
}

namespace tandem {

// Text, or token ids that are taken as they are.
using Prompt = std::variant<std::string, std::vector<int32_t>>;

struct PromptOptions {
  std::string text, file, ids;
  bool has_text = false, has_file = false, has_ids = false;
  bool parse_special = false;
};

// Declares -p, -f and --ids, of which one must be given, and --parse-special.
void add_prompt_options(CLI::App& command, PromptOptions& options);

// What was given. Throws kUsage when that is nothing, empty, not UTF-8 or no list of ids.
Prompt read_prompt(const PromptOptions& options);

// Ids as they are; text with the model's beginning of sequence in front.
std::vector<int32_t> encode_prompt(const Prompt& prompt, const PromptOptions& options,
                                   const Tokenizer& tokenizer);

// A whole file, or standard input for "-". Throws kNotFound with the system's reason.
std::string read_text_file(const std::filesystem::path& path);

// Throws kUsage naming `where` and the offset of the first byte that is no UTF-8.
void require_utf8(std::string_view text, std::string_view where);

}  // namespace tandem

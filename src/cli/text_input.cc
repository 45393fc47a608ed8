// SPDX-License-Identifier: Apache-2.0
#include "cli/text_input.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/error.h"
#include "model/utf8.h"

namespace tandem {
namespace {

// "2,17,5" as numbers.
std::vector<int32_t> parse_ids(std::string_view text) {
  std::vector<int32_t> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  for (;;) {
    int32_t id = 0;
    const auto [next, problem] = std::from_chars(at, end, id);
    if (problem != std::errc() || id < 0 || (next != end && *next != ','))
      throw Error(ErrorCode::kUsage,
                  fmt::format("'{}' is no list of token ids such as 2,17,5", text));
    ids.push_back(id);
    if (next == end) return ids;
    at = next + 1;
  }
}

}  // namespace

void add_prompt_options(CLI::App& command, PromptOptions& options) {
  CLI::Option* text = command.add_option("-p,--prompt", options.text, "prompt")->type_name("TEXT");
  CLI::Option* file =
      command.add_option("-f,--file", options.file, "file with the prompt; - is standard input")
          ->type_name("FILE");
  CLI::Option* ids =
      command.add_option("--ids", options.ids, "prompt as token ids, taken as they are")
          ->type_name("ID,..");
  command.add_flag("--parse-special", options.parse_special,
                   "take the spelling of control tokens in the text as control tokens");
  text->excludes(file)->excludes(ids);
  file->excludes(ids);
  command.parse_complete_callback([&options, text, file, ids] {
    options.has_text = text->count() > 0;
    options.has_file = file->count() > 0;
    options.has_ids = ids->count() > 0;
  });
}

Prompt read_prompt(const PromptOptions& options) {
  if (options.has_ids) return parse_ids(options.ids);
  if (!options.has_text && !options.has_file)
    throw Error(ErrorCode::kUsage, "no prompt; give -p TEXT, -f FILE or --ids");
  std::string text = options.has_file ? read_text_file(options.file) : options.text;
  const std::string where = !options.has_file     ? "the prompt"
                            : options.file == "-" ? "standard input"
                                                  : options.file;
  if (text.empty())
    throw Error(ErrorCode::kUsage, fmt::format("{} is empty; give some text", where));
  require_utf8(text, where);
  return text;
}

std::vector<int32_t> encode_prompt(const Prompt& prompt, const PromptOptions& options,
                                   const Tokenizer& tokenizer) {
  if (const auto* ids = std::get_if<std::vector<int32_t>>(&prompt)) return *ids;
  return tokenizer.encode(std::get<std::string>(prompt),
                          {tokenizer.add_bos(), options.parse_special});
}

std::string read_text_file(const std::filesystem::path& path) {
  const bool standard_input = path == "-";
  const int descriptor = standard_input ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const auto fail = [&] {
    throw Error(ErrorCode::kNotFound,
                fmt::format("{} cannot be read: {}", path.string(), std::strerror(errno)));
  };
  if (descriptor < 0) fail();
  std::string text;
  std::array<char, 65536> buffer;
  ssize_t got = 0;
  while ((got = read(descriptor, buffer.data(), buffer.size())) > 0)
    text.append(buffer.data(), static_cast<size_t>(got));
  const int reason = errno;
  if (!standard_input) close(descriptor);
  errno = reason;
  if (got < 0) fail();
  return text;
}

void require_utf8(std::string_view text, std::string_view where) {
  for (size_t at = 0; at < text.size();) {
    const Utf8Sequence sequence = first_utf8_sequence(text.substr(at));
    if (sequence.kind != Utf8Kind::kCharacter)
      throw Error(
          ErrorCode::kUsage,
          fmt::format("{} is not UTF-8 at byte {} (0x{:02X}); convert it, for example with iconv",
                      where, at, static_cast<unsigned char>(text[at])));
    at += sequence.length;
  }
}

}  // namespace tandem

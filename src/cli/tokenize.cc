// `tandem tokenize`: text to token ids.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string_view>

#include "base/error.h"
#include "base/json_value.h"
#include "cli/commands.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/text_input.h"
#include "gguf/gguf.h"
#include "model/tokenizer.h"

namespace tandem {
namespace {

struct TokenizeOptions {
  std::string model, text, file;
  bool bos = false, no_parse_special = false;
};

void print_ids(const Tokenizer& tokenizer, std::string_view text, std::string_view where,
               const TokenizeOptions& options) {
  require_utf8(text, where);
  print(to_text(Json(tokenizer.encode(text, {options.bos, !options.no_parse_special}))) + "\n");
}

// One JSON object per line, each with a "text"; empty lines are passed over.
void tokenize_lines(const Tokenizer& tokenizer, const TokenizeOptions& options) {
  const std::string content = read_text_file(options.file);
  std::string_view rest = content;
  for (size_t number = 1; !rest.empty(); ++number) {
    const size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = fmt::format("{}:{}", options.file, number);
    const Json record = parse_json(line, where);
    if (!record.is_object() || !record.contains("text") || !record["text"].is_string())
      throw Error(ErrorCode::kInvalidFile,
                  fmt::format("{}: expected an object with a string \"text\"", where));
    print_ids(tokenizer, record["text"].get_ref<const std::string&>(), where, options);
  }
}

}  // namespace

void add_tokenize_command(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("tokenize", "Print the token ids of a text as a JSON array");
  auto options = std::make_shared<TokenizeOptions>();
  add_model_path(*command, options->model);
  CLI::Option* text = command->add_option("-p,--prompt", options->text, "text")->type_name("TEXT");
  CLI::Option* file =
      command
          ->add_option("-f,--file", options->file,
                       "JSON lines {\"text\": ..}, one array each; - is standard input")
          ->type_name("FILE")
          ->excludes(text);
  command->add_flag("--bos", options->bos, "put the beginning-of-sequence token in front");
  command->add_flag("--no-parse-special", options->no_parse_special,
                    "take the spelling of control tokens as text");
  command->callback([options, text, file] {
    if (text->count() + file->count() == 0)
      throw Error(ErrorCode::kUsage, "nothing to tokenize; give -p TEXT or --file FILE");
    const GgufFile model = GgufFile::open(options->model);
    const Tokenizer tokenizer(read_vocabulary(model));
    if (file->count() > 0)
      tokenize_lines(tokenizer, *options);
    else
      print_ids(tokenizer, options->text, "the text", *options);
  });
}

}  // namespace tandem

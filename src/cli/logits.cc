// `tandem logits`: the logits of every position as float32 rows.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "base/interrupt.h"
#include "base/json_value.h"
#include "cli/commands.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/text_input.h"
#include "engine/session.h"
#include "gguf/atomic_file.h"
#include "model/tokenizer.h"

namespace tandem {
namespace {

// Rows of logits computed at once: 64 rows of Gemma's vocabulary take 64 MiB.
constexpr uint32_t kRowsAtOnce = 64;

struct LogitsOptions {
  ModelOptions model;
  PromptOptions prompt;
  std::string out;
  bool json = false;
};

void run_logits(LogitsOptions& options) {
  options.model.engine.max_outputs = kRowsAtOnce;
  const Prompt prompt = read_prompt(options.prompt);
  const std::unique_ptr<Engine> engine = open_engine(options.model);
  const std::vector<int32_t> ids =
      options.prompt.has_ids
          ? std::get<std::vector<int32_t>>(prompt)  // a file without a vocabulary will do
          : encode_prompt(prompt, options.prompt, Tokenizer(read_vocabulary(engine->file())));
  const uint64_t row_size = uint64_t{engine->config().vocab} * sizeof(float);
  AtomicFile out(options.out, ids.size() * row_size);
  ProgressBar bar("logits");
  Json argmax = Json::array();
  Session session(*engine);
  session.append_all(ids, [&](uint32_t index, std::span<const float> row) {
    out.write(index * row_size, std::as_bytes(row));
    argmax.push_back(std::max_element(row.begin(), row.end()) - row.begin());
    bar.update(index + 1, ids.size());
    if (interrupted()) throw Interrupted();
  });
  out.commit();
  if (options.json)
    print_json({{"file", options.out},
                {"positions", ids.size()},
                {"vocab", engine->config().vocab},
                {"ids", ids},
                {"argmax", argmax}});
  if (options.model.verbose) report_devices(*engine);
}

}  // namespace

void add_logits_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "logits", "Write the logits of every position, float32 rows [positions, vocab]");
  auto options = std::make_shared<LogitsOptions>();
  add_model_options(*command, options->model);
  add_prompt_options(*command, options->prompt);
  command->add_option("--out", options->out, "file to write")->required()->type_name("FILE");
  command->add_flag("--json", options->json, "print positions, vocabulary, ids and argmax as JSON");
  command->callback([options] { run_logits(*options); });
}

}  // namespace tandem

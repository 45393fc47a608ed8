// `tandem perplexity`: exp of the mean negative log-likelihood over windows of a text.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <memory>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/json_value.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/text_input.h"
#include "engine/session.h"
#include "model/tokenizer.h"

namespace tandem {
namespace {

constexpr uint32_t kRowsAtOnce = 64;  // rows of logits computed at once

struct PerplexityOptions {
  ModelOptions model;
  std::string file;
  uint32_t window = 512, tokens = 0;
  bool json = false;
};

// -log of the softmax probability of `target`.
double negative_log_likelihood(std::span<const float> logits, int32_t target) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float logit : logits) sum += std::exp(static_cast<double>(logit) - top);
  return std::log(sum) + top - static_cast<double>(logits[static_cast<size_t>(target)]);
}

// Windows of `window` inputs side by side, none with a BOS of its own but the first; every next
// token is a target, the last window's last one included.
void run_perplexity(PerplexityOptions& options) {
  const std::string text = read_text_file(options.file);
  require_utf8(text, options.file);
  options.model.engine.max_outputs = kRowsAtOnce;
  if (options.model.engine.context == 0) options.model.engine.context = options.window;
  const std::unique_ptr<Engine> engine = open_engine(options.model);
  const Tokenizer tokenizer(read_vocabulary(engine->file()));
  const std::vector<int32_t> ids = tokenizer.encode(text, {true, false});

  const size_t available = ids.empty() ? 0 : ids.size() - 1;
  const size_t wanted =
      options.tokens == 0 ? available : std::min<size_t>(options.tokens, available);
  const size_t windows = wanted / options.window;
  if (windows == 0)
    throw Error(ErrorCode::kUsage, fmt::format("{} has {} tokens, fewer than one window of {}; "
                                               "give a longer text or a smaller --window",
                                               options.file, ids.size(), options.window));
  ProgressBar bar("perplexity");
  double sum = 0;
  size_t count = 0;
  for (size_t w = 0; w < windows; ++w) {
    const size_t start = w * options.window;
    Session session(*engine);
    session.append_all(std::span(ids).subspan(start, options.window),
                       [&](uint32_t i, std::span<const float> logits) {
                         sum += negative_log_likelihood(logits, ids[start + i + 1]);
                         bar.update(++count, windows * options.window);
                         if (interrupted()) throw Interrupted();
                       });
  }
  const double mean = sum / static_cast<double>(count);
  if (options.json)
    print_json({{"perplexity", std::exp(mean)},
                {"mean_nll", mean},
                {"tokens", count},
                {"window", options.window}});
  else
    print(fmt::format("perplexity {:.4f} over {} tokens in windows of {}\n", std::exp(mean), count,
                      options.window));
  if (options.model.verbose) report_devices(*engine);
}

}  // namespace

void add_perplexity_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("perplexity", "Measure the perplexity of a text");
  auto options = std::make_shared<PerplexityOptions>();
  add_model_options(*command, options->model);
  command->add_option("-f,--file", options->file, "text; - is standard input")
      ->required()
      ->type_name("FILE");
  command->add_option("--window", options->window, "inputs of a window")
      ->type_name("N")
      ->capture_default_str()
      ->check(whole_number(1, 1 << 24));
  command->add_option("--tokens", options->tokens, "targets at most, in whole windows (0: all)")
      ->type_name("N")
      ->check(whole_number(0, 1 << 30));
  command->add_flag("--json", options->json, "print JSON");
  command->callback([options] { run_perplexity(*options); });
}

}  // namespace tandem

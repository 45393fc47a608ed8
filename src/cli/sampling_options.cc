// SPDX-License-Identifier: Apache-2.0
#include "cli/sampling_options.h"

#include <limits>
#include <random>

#include "cli/arguments.h"

namespace tandem {

void add_sampling_options(CLI::App& command, SamplingOptions& options) {
  SamplerOptions& sampling = options.generate.sampling;
  const auto option = [&](const std::string& names, auto& value, const std::string& help,
                          const std::string& type) {
    return command.add_option(names, value, help)->type_name(type)->capture_default_str();
  };
  option("-n,--predict", options.max_tokens,
         "tokens to generate, at most (-1: until the model stops)", "N")
      ->check(whole_number(-1, std::numeric_limits<int32_t>::max()));
  option("--temp", sampling.temperature, "temperature; 0 always takes the most likely token", "X")
      ->check(real_number());
  option("--top-k", sampling.top_k, "draw from the K most likely tokens (0: all)", "K")
      ->check(whole_number(0, std::numeric_limits<int32_t>::max()));
  option("--top-p", sampling.top_p,
         "draw from the most likely tokens that together have probability P", "P")
      ->check(real_number());
  option("--min-p", sampling.min_p, "leave out tokens less likely than P times the most likely",
         "P")
      ->check(real_number());
  option("--repeat-penalty", sampling.repetition_penalty, "penalty on recent tokens (1: none)", "X")
      ->check(real_number());
  option("--repeat-last-n", sampling.repetition_window, "how many tokens count as recent", "N")
      ->check(whole_number(0, std::numeric_limits<int32_t>::max()));
  option("-s,--seed", options.seed, "seed of the random choice (-1: another each time)", "N")
      ->check(whole_number(-1, std::numeric_limits<int64_t>::max()));
  command
      .add_option("--stop", options.generate.stop,
                  "text that ends the answer; may be given several times")
      ->type_name("TEXT")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_flag("--ignore-eos", options.generate.ignore_stop_tokens,
                   "go on after the model's stop token");
}

GenerateOptions resolve(const SamplingOptions& options) {
  GenerateOptions resolved = options.generate;
  if (options.max_tokens >= 0) resolved.max_tokens = static_cast<uint32_t>(options.max_tokens);
  resolved.sampling.seed = options.seed >= 0
                               ? static_cast<uint64_t>(options.seed)
                               : (uint64_t{std::random_device{}()} << 32) | std::random_device{}();
  validate(resolved);
  return resolved;
}

}  // namespace tandem

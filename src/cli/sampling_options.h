// The options of commands that generate text.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/generate.h"

namespace CLI {
class App;
}

namespace tandem {

struct SamplingOptions {
  GenerateOptions generate;
  int64_t max_tokens = -1;  // -1: until the model or the context ends
  int64_t seed = -1;        // -1: another each time
};

// Declares -n, --temp, --top-k, --top-p, --min-p, --repeat-penalty, --repeat-last-n, --seed,
// --stop and --ignore-eos.
void add_sampling_options(CLI::App& command, SamplingOptions& options);

// As typed, with the seed drawn where none was given. Throws kUsage for values out of range.
GenerateOptions resolve(const SamplingOptions& options);

}  // namespace tandem

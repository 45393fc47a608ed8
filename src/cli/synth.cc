// `tandem synth`: a random model of a published size.
// SPDX-License-Identifier: Apache-2.0
#include "gguf/synth.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <limits>
#include <memory>
#include <optional>

#include "base/error.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/file_type.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "model/config.h"

namespace tandem {
namespace {

struct Options {
  std::string size, type, out, vocabulary;
  uint32_t threads = 0;
  uint64_t seed = 1;
};

void run_synth(const Options& options) {
  const PublishedSize* size = find_published_size(options.size);
  if (size == nullptr)
    throw Error(
        ErrorCode::kUsage,
        fmt::format("'{}' is no published size; choose 270m, 1b, 4b, 12b or 27b", options.size));
  SynthOptions synth;
  synth.name = fmt::format("synthetic gemma 3 {}", size->name);
  synth.shape = size->shape;
  synth.dtype = parse_file_type(options.type);
  synth.seed = options.seed;
  synth.thread_count = options.threads;
  std::optional<GgufFile> vocabulary;
  if (!options.vocabulary.empty()) {
    vocabulary.emplace(GgufFile::open(options.vocabulary));
    synth.vocabulary = &*vocabulary;
  }
  ProgressBar bar("writing");
  synth.progress = bar.callback();
  synthesize(synth, options.out);
}

}  // namespace

void add_synth_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("synth", "Write a random model of a published size");
  auto options = std::make_shared<Options>();
  command->add_option("SIZE", options->size, "270m, 1b, 4b, 12b or 27b")->required();
  command->add_option("TYPE", options->type, "q4_0, q8_0, q4_k, q6_k, bf16 or f16")->required();
  command->add_option("OUT", options->out, "file to write")->required();
  command->add_option("--vocab", options->vocabulary, "GGUF file whose vocabulary is copied")
      ->type_name("FILE");
  command->add_option("--seed", options->seed, "the same seed gives the same bytes")
      ->type_name("N")
      ->check(whole_number(0, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  command->add_option("-t,--threads", options->threads, "threads (0: one for each core)")
      ->type_name("N")
      ->check(whole_number(0, 1024));
  command->callback([options] { run_synth(*options); });
}

}  // namespace tandem

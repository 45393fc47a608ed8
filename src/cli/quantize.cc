// `tandem quantize`: a model file in another type.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "base/json_value.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/file_type.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "gguf/requantize.h"

namespace tandem {
namespace {

struct Options {
  std::string in, out, type;
  uint32_t threads = 0;
  bool json = false;
};

void print_text(const RequantizeResult& result) {
  for (const RequantizedTensor& t : result.tensors)
    if (t.converted)
      print(fmt::format("{:<36} {:<6} -> {:<6} rmse {:.6g} of rms {:.6g}{}\n", t.name,
                        dtype_name(t.from), dtype_name(t.to), t.rmse, t.rms,
                        t.fell_back ? " (the row's length does not allow the usual type)" : ""));
  print(fmt::format("{} -> {} bytes of tensors\n", result.size_before, result.size_after));
}

void print_records(const RequantizeResult& result) {
  Json tensors = Json::array();
  for (const RequantizedTensor& t : result.tensors)
    tensors.push_back({{"name", t.name},
                       {"from", dtype_name(t.from)},
                       {"to", dtype_name(t.to)},
                       {"converted", t.converted},
                       {"fell_back", t.fell_back},
                       {"rms", t.rms},
                       {"rmse", t.rmse}});
  print_json({{"tensors", tensors},
              {"size_before", result.size_before},
              {"size_after", result.size_after}});
}

void run_quantize(const Options& options) {
  RequantizeOptions requantization;
  requantization.dtype = parse_file_type(options.type);
  requantization.thread_count = options.threads;
  const GgufFile source = GgufFile::open(options.in);
  RequantizeResult result;
  {
    ProgressBar bar("quantizing");
    requantization.progress = bar.callback();
    result = requantize(source, options.out, requantization);
  }
  if (options.json)
    print_records(result);
  else
    print_text(result);
}

}  // namespace

void add_quantize_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("quantize", "Convert a model file to another type");
  auto options = std::make_shared<Options>();
  command->add_option("IN", options->in, "file to read")->required();
  command->add_option("OUT", options->out, "file to write")->required();
  command->add_option("TYPE", options->type, "q4_0, q8_0, q4_k, q6_k, bf16, f16 or f32")
      ->required();
  command->add_option("-t,--threads", options->threads, "threads (0: one for each core)")
      ->type_name("N")
      ->check(whole_number(0, 1024));
  command->add_flag("--json", options->json, "print the report as JSON");
  command->callback([options] { run_quantize(*options); });
}

}  // namespace tandem

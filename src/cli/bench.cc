// `tandem bench`: tokens per second of prompt processing and generation.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/interrupt.h"
#include "cli/arguments.h"
#include "cli/bench_format.h"
#include "cli/block_bench.h"
#include "cli/commands.h"
#include "cli/device_report.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/trace_options.h"
#include "engine/benchmark.h"
#include "model/description.h"

namespace tandem {
namespace {

struct BenchOptions {
  ModelOptions model;
  std::vector<uint32_t> prompts = {512}, generations = {128}, depths = {0};
  std::vector<uint32_t> pair;  // empty, or prompt and generation of one test
  uint32_t repetitions = 5, parallel = 1;
  std::string format = "md";  // with `blocks` the file to write
  bool blocks = false;
  TraceOptions trace;
};

// Tokens that several sequences generate between looks at Ctrl-C. Between them the devices run dry
// once, so that it costs a pipeline of two devices about 1 / 64 of its time.
constexpr uint32_t kRounds = 32;

// llama-bench's order: for each depth the prompts, the generations, then the pair.
std::vector<BenchmarkTest> tests_of(const BenchOptions& options) {
  std::vector<BenchmarkTest> tests;
  for (uint32_t depth : options.depths) {
    for (uint32_t n : options.prompts)
      if (n > 0) tests.push_back({n, 0, depth, options.parallel});
    for (uint32_t n : options.generations)
      if (n > 0) tests.push_back({0, n, depth, options.parallel});
    if (!options.pair.empty())
      tests.push_back({options.pair[0], options.pair[1], depth, options.parallel});
  }
  if (tests.empty())
    throw Error(ErrorCode::kUsage, "nothing to measure; give -p, -n or -pg a number above 0");
  return tests;
}

BenchContext context_of(Engine& engine, const ModelOptions& options) {
  BenchContext context;
  context.build = TANDEM_VERSION;
  context.model_filename = options.model;
  context.model_type = describe_model(engine.file(), engine.config());
  for (const auto& backend : engine.backends()) {
    const BackendInfo& info = backend->info();
    context.backend += (context.backend.empty() ? "" : "+") + info.name;
    context.device += (context.device.empty() ? "" : "; ") + info.device;
  }
  context.model_size = engine.weights().size();
  context.parameter_count = engine.weights().parameter_count();
  context.batch = engine.options().batch;
  context.micro_batch = engine.options().micro_batch;
  context.threads = engine.options().threads;
  context.kv = kv_type_name(engine.kv());
  return context;
}

// What the tests need of the engine, where the command line leaves it open.
void fit_engine(EngineOptions& engine, const std::vector<BenchmarkTest>& tests, uint32_t parallel) {
  if (engine.context == 0)
    for (const BenchmarkTest& test : tests)
      engine.context = std::max(engine.context, test.depth + test.tokens_each());
  if (parallel == 1) return;
  engine.sequences = engine.max_outputs = parallel;
  engine.max_rounds = kRounds;
}

void run_bench(BenchOptions& options) {
  const BenchFormat format = parse_bench_format(options.format);
  const std::vector<BenchmarkTest> tests = tests_of(options);
  fit_engine(options.model.engine, tests, options.parallel);
  const std::unique_ptr<Engine> engine = open_engine(options.model);
  for (const BenchmarkTest& test : tests) check_fits(*engine, test);
  BenchContext context = context_of(*engine, options.model);
  const std::vector<double> bandwidths = measure_bandwidths(*engine);
  // Of a plan over several devices no single bandwidth is the bound.
  context.read_bandwidth = bandwidths.size() == 1 ? bandwidths.front() : 0;
  start_trace(*engine, options.trace);

  print(bench_header(format, context));
  std::string details;
  for (size_t i = 0; i < tests.size() && !interrupted(); ++i) {
    const BenchmarkResult result = run_benchmark(*engine, tests[i], options.repetitions);
    if (result.samples_ns.empty()) break;
    const uint64_t bytes = bytes_per_token(*engine, tests[i].depth + tests[i].generate / 2);
    const std::vector<DeviceReport> devices = device_reports(*engine, result, bandwidths);
    print(bench_row(format, context, {result, bytes, devices}, i == 0));
    flush_stdout();
    details += bench_details(context, result, bytes);
    details += "\n" + device_tables(devices, result) + "\n";
  }
  if (format == BenchFormat::kMarkdown && !details.empty()) print("\n" + details);
  print(bench_footer(format, context));
  write_trace(*engine, options.trace, bandwidths);
  if (options.model.verbose) {
    fmt::print(stderr, "tandem: times, edges and copies below are those of the last repetition\n");
    report_devices(*engine);
  }
  if (interrupted()) {
    flush_stdout();
    exit_interrupted();
  }
}

// The first prompt and generation bound the rows and positions that are measured.
void run_blocks(const BenchOptions& options, const std::string& devices, const std::string& out) {
  BlockBench bench{devices, options.model.engine.threads, kv_type_of(options.model.kv), {}};
  bench.request.prompt = std::max(1u, options.prompts.front());
  bench.request.generate = std::max(1u, options.generations.front());
  bench.request.sequences = options.parallel;
  bench.request.chunk = options.model.engine.micro_batch;
  run_block_bench(bench, options.model.model, out);
}

}  // namespace

void add_bench_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("bench", "Measure tokens per second, as llama-bench does");
  auto options = std::make_shared<BenchOptions>();
  add_model_options(*command, options->model);
  const auto list = [&](const std::string& names, std::vector<uint32_t>& values,
                        const std::string& help) {
    command->add_option(names, values, help)
        ->delimiter(',')
        ->type_name("N,..")
        ->capture_default_str()
        ->check(whole_number(0, 1 << 24));
  };
  list("-p,--n-prompt", options->prompts, "prompt tokens");
  list("-n,--n-gen", options->generations, "generated tokens");
  list("-d,--n-depth", options->depths, "tokens in the cache before the clock starts");
  command->add_option("--n-prompt-gen", options->pair, "a prompt and then generation in one test")
      ->delimiter(',')
      ->expected(2)
      ->type_name("P,G")
      ->check(whole_number(0, 1 << 24));
  command->add_option("-r,--repetitions", options->repetitions, "timed repetitions of each test")
      ->type_name("N")
      ->capture_default_str()
      ->check(whole_number(1, 1000));
  command
      ->add_option("--parallel", options->parallel, "sequences that prompt and generate together")
      ->type_name("N")
      ->capture_default_str()
      ->check(whole_number(1, 256));
  add_trace_options(*command, options->trace);
  CLI::Option* blocks = command->add_flag(
      "--blocks", options->blocks,
      "measure the nodes inside passes on each device of a list (--device cpu,vulkan); -o is the "
      "file for the costs, which `tandem plan` reads");
  for (const char* unused : {"--plan", "--trace", "--plot", "--n-prompt-gen"})
    blocks->excludes(command->get_option(unused));
  command->add_option("-o,--output", options->format, "output: md, json, jsonl or csv")
      ->type_name("FORMAT")
      ->capture_default_str();
  command->callback([options, command] {
    if (!options->blocks) return run_bench(*options);
    const auto given = [&](const std::string& option, const std::string& value) {
      return command->count(option) > 0 ? value : std::string();
    };
    run_blocks(*options, given("--device", options->model.engine.device),
               given("--output", options->format));
  });
}

}  // namespace tandem

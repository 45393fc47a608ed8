// `tandem plan`: chooses devices for a model on this machine or one that a file describes, and
// predicts how fast they are.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/json_value.h"
#include "cli/arguments.h"
#include "cli/block_bench.h"
#include "cli/commands.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/plan_format.h"
#include "hybrid/machine.h"
#include "hybrid/plan_file.h"
#include "hybrid/simulator.h"
#ifdef TANDEM_NPU
#include "npu/npu_report.h"
#endif

namespace tandem {
namespace {

struct PlanOptions {
  std::string model, machine, costs, plan, out, trace, devices;
  PlanRequest request;
  KvOptions kv;
  uint32_t threads = 0;
  bool explain = false;
};

// A published size or a file.
struct PlanModel {
  PlanModel(const std::string& name, DType kv) {
    if (const PublishedSize* size = find_published_size(name)) {
      config = config_of(*size);
      shape = shape_of(*size, kv);
      return;
    }
    file.emplace(GgufFile::open(name));
    config = read_config(*file);
    weights.emplace(*file, config);
    shape = shape_of(config, *weights, kv);
  }
  std::optional<GgufFile> file;
  ModelConfig config;
  std::optional<ModelWeights> weights;
  ModelShape shape;
};

#ifdef TANDEM_NPU
ArrayTime time_on_array(const ArrayRequest& request) {
  const npu::Geometry* geometry = npu::find_geometry(request.generation);
  if (geometry == nullptr)
    throw Error(
        ErrorCode::kInvalidFile,
        fmt::format("the machine's array is '{}'; there are npu1 and npu2", request.generation));
  OpSpec spec;
  spec.op = request.op;
  spec.phase = request.phase;
  spec.max_rows = request.rows;
  spec.config = request.layer;
  npu::NpuReportOptions options;
  options.generation = geometry->generation;
  options.memory_bandwidth = request.memory_bandwidth;
  const npu::NpuOpReport report = npu::predict_projection(spec, options, request.clock_hz);
  return {report.array_us, static_cast<double>(report.array_bytes), report.weight_bytes};
}
#else
ArrayTime time_on_array(const ArrayRequest&) {
  throw Error(ErrorCode::kUnsupported,
              "this build has no timing model of an NPU; build with -DTANDEM_NPU=ON or remove the "
              "device from the machine file");
}
#endif

void check_same_model(const CostTable& table, const ModelShape& shape, const std::string& file) {
  const ModelShape& other = table.model;
  if (other.global != shape.global || other.hidden != shape.hidden || other.ffn != shape.ffn ||
      other.q_width() != shape.q_width() || other.vocab != shape.vocab)
    throw Error(ErrorCode::kUsage, fmt::format("{}: the costs are those of {}, not of {}; measure "
                                               "again (tandem bench --blocks)",
                                               file, other.name, shape.name));
}

void check_same_cache(const CostTable& table, DType kv, const std::string& file) {
  if (table.model.kv == kv) return;
  throw Error(ErrorCode::kUsage,
              fmt::format("{}: the costs are those of a cache of {}, not of {}; measure again "
                          "(tandem bench --blocks -ctk {})",
                          file, kv_type_name(table.model.kv), kv_type_name(kv), kv_type_name(kv)));
}

CostTable costs_of(const PlanOptions& options, const PlanModel& model) {
  if (!options.machine.empty())
    return predict_costs(read_machine(options.machine), model.config, model.shape, time_on_array);
  if (!options.costs.empty()) {
    CostTable table = read_cost_table(options.costs);
    check_same_model(table, model.shape, options.costs);
    if (!options.kv.key.empty() || !options.kv.value.empty())
      check_same_cache(table, model.shape.kv, options.costs);
    return table;
  }
  if (!model.weights)
    throw Error(ErrorCode::kUsage,
                "a size can be planned for a --machine or --costs file only; name a GGUF file to "
                "measure this machine");
  BlockBench bench{options.devices, options.threads, model.shape.kv, options.request};
  return measure_blocks(bench, model.config, *model.weights);
}

void run_plan(const PlanOptions& options) {
  const PlanModel model(options.model, kv_type_of(options.kv));
  const CostTable table = costs_of(options, model);
  const Plan plan = options.plan.empty() ? make_plan(table, options.request)
                                         : read_plan(options.plan, model.config);
  print(plan_table(table, plan, options.request, options.explain));
  print("\n" + plan_summary(table, plan, options.request));
  if (!options.out.empty()) write_file(options.out, format_plan(plan, model.config));
  if (!options.trace.empty())
    write_file(options.trace,
               to_text(trace_of(simulate(table, plan, options.request.prefill(plan)), table)));
}

}  // namespace

void add_plan_command(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("plan", "Choose devices for a model; print predicted speeds");
  auto options = std::make_shared<PlanOptions>();
  PlanRequest& request = options->request;
  command->add_option("-m,--model", options->model, "GGUF file, or a size (4b) for --machine")
      ->required()
      ->type_name("MODEL");
  CLI::Option* machine =
      command->add_option("--machine", options->machine, "plan for the machine of this file")
          ->type_name("FILE");
  CLI::Option* costs =
      command->add_option("--costs", options->costs, "plan by costs that bench --blocks wrote")
          ->type_name("FILE")
          ->excludes(machine);
  command
      ->add_option("--device", options->devices,
                   "devices of this machine to measure; all but emulated ones without it")
      ->type_name("NAME,..")
      ->excludes(machine)
      ->excludes(costs);
  command->add_option("--plan", options->plan, "predict this plan instead of making one")
      ->type_name("FILE");
  command->add_flag("--explain", options->explain, "say what other devices would take");
  const auto number = [&](const std::string& names, uint32_t& value, const std::string& help,
                          int64_t least) {
    command->add_option(names, value, help)
        ->type_name("N")
        ->capture_default_str()
        ->check(whole_number(least, 1 << 24));
  };
  number("-c,--ctx-size", request.context, "positions of the cache (0: prompt and generation)", 0);
  number("-p,--n-prompt", request.prompt, "prompt tokens", 1);
  number("-n,--n-gen", request.generate, "generated tokens", 1);
  number("--sequences", request.sequences, "sequences generated at once", 1);
  number("--ubatch-size", request.chunk, "prompt tokens of one step (0: the best)", 0);
  number("--depth", request.depth, "steps in flight on different devices, at most", 1);
  add_kv_options(*command, options->kv);
  number("-t,--threads", options->threads, "CPU threads (0: the physical cores)", 0);
  command->add_option("-o,--output", options->out, "file for the plan")->type_name("FILE");
  command
      ->add_option("--trace", options->trace,
                   "file for a trace of the simulated prompt, for Perfetto")
      ->type_name("FILE");
  command->callback([options] { run_plan(*options); });
}

}  // namespace tandem

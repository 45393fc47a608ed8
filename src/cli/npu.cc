// `tandem npu`: designs for the array, the emulator that runs them, predictions and reports.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "base/json_value.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "gguf/gguf.h"
#include "model/config.h"
#include "model/weights.h"
#include "npu/compiler.h"
#include "npu/design_source.h"
#include "npu/designs/designs.h"
#include "npu/emulator/emulate_command.h"
#include "npu/kernels/builtin_kernels.h"
#include "npu/npu_accuracy.h"
#include "npu/npu_report.h"
#include "npu/projection_kernel.h"

namespace tandem {
namespace {

constexpr uint32_t kDecodeRows = 1, kPrefillRows = 256;  // M where none is given

// What names a design on the command line.
struct DesignOptions {
  std::string model = "4b", op = "qkv", phase = "decode", device = "npu1", scales = "integer";
  std::string in = "int8", out = "int32", tile;
  uint32_t m = 0, k = 0, n = 0, contiguous_k = 0;
};

// Of a published size ("27b") or a GGUF file.
ModelConfig config_named(const std::string& model) {
  if (const PublishedSize* size = find_published_size(model)) return config_of(*size);
  return read_config(GgufFile::open(model));
}

npu::Generation parse_generation(const std::string& device, uint32_t* columns) {
  const npu::Geometry* geometry = npu::find_geometry(device, columns);
  if (geometry == nullptr)
    throw Error(
        ErrorCode::kUsage,
        fmt::format("'{}' is no array; choose npu1, npu2 or a subset such as npu1_1col", device));
  return geometry->generation;
}

npu::ScaleMode parse_scales(const std::string& name) {
  if (name == "integer") return npu::ScaleMode::kInteger;
  if (name == "exact") return npu::ScaleMode::kExact;
  throw Error(ErrorCode::kUsage, fmt::format("scales '{}' are neither integer nor exact", name));
}

npu::GemmType parse_gemm_type(const std::string& name) {
  if (const npu::GemmType* type = npu::find_gemm_type(name)) return *type;
  throw Error(ErrorCode::kUsage,
              fmt::format("element type '{}' is none of int8, int16, int32, bf16", name));
}

// "112x112x112"
npu::GemmTile parse_tile(const std::string& text) {
  npu::GemmTile tile;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%ux%ux%u%c", &tile.m, &tile.k, &tile.n, &rest) != 3)
    throw Error(ErrorCode::kUsage,
                fmt::format("tile '{}' is not of the form MxKxN, such as 64x64x64", text));
  return tile;
}

void describe_gemm(const DesignOptions& options, npu::DesignRequest& request) {
  if (options.m == 0 || options.k == 0 || options.n == 0)
    throw Error(ErrorCode::kUsage, "a gemm needs -M, -K and -N");
  request.rows = options.m;
  request.inputs = options.k;
  request.outputs = options.n;
  if (!options.tile.empty()) request.tile = parse_tile(options.tile);
  request.in = parse_gemm_type(options.in);
  request.out = parse_gemm_type(options.out);
  request.contiguous_k = options.contiguous_k;
}

void describe_projection(const DesignOptions& options, npu::DesignRequest& request) {
  if (options.phase != "decode" && options.phase != "prefill")
    throw Error(ErrorCode::kUsage,
                fmt::format("phase '{}' is neither decode nor prefill", options.phase));
  const LayerConfig layer = config_named(options.model).common();
  request.phase = options.phase == "decode" ? Phase::kDecode : Phase::kPrefill;
  request.rows = options.m > 0                     ? options.m
                 : request.phase == Phase::kDecode ? kDecodeRows
                                                   : kPrefillRows;
  OpSpec spec;
  spec.op = request.op == npu::DesignOp::kQkv ? Op::kQkv : Op::kAttnOut;
  spec.config = &layer;
  const npu::ProjectionShape shape = npu::projection_shape(spec);
  request.inputs = options.k > 0 ? options.k : shape.inputs;
  request.outputs = options.n > 0 ? options.n : shape.outputs;
  request.scales = parse_scales(options.scales);
}

npu::DesignRequest request_of(const DesignOptions& options) {
  npu::DesignRequest request;
  request.generation = parse_generation(options.device, &request.columns);
  const npu::DesignOp* op = npu::find_design_op(options.op);
  if (op == nullptr)
    throw Error(ErrorCode::kUsage, fmt::format("op '{}' is none of qkv, out, gemm", options.op));
  request.op = *op;
  if (request.op == npu::DesignOp::kGemm)
    describe_gemm(options, request);
  else
    describe_projection(options, request);
  return request;
}

void add_design_options(CLI::App& command, DesignOptions& options) {
  const auto add = [&](const std::string& names, auto& value, const std::string& help,
                       const std::string& type) {
    command.add_option(names, value, help)->type_name(type)->capture_default_str();
  };
  add("--model", options.model, "published size (270m, 1b, 4b, 12b, 27b) or GGUF file", "NAME");
  add("--op", options.op, "qkv, out or gemm", "OP");
  add("--phase", options.phase, "decode or prefill", "PHASE");
  add("--device", options.device, "npu1, npu2 or a subset of columns such as npu1_2col", "NAME");
  add("--scales", options.scales, "integer (one float per row) or exact (a float per group)",
      "KIND");
  command.add_option("-M,--rows", options.m, "rows of the activations")->type_name("N");
  command.add_option("-K,--inputs", options.k, "inputs, where not the model's")->type_name("N");
  command.add_option("-N,--outputs", options.n, "outputs, where not the model's")->type_name("N");
  command.add_option("--tile", options.tile, "gemm: core tile")->type_name("MxKxN");
  add("--in", options.in, "gemm: type of A and B", "TYPE");
  add("--out", options.out, "gemm: type of C", "TYPE");
  command.add_option("--contiguous-k", options.contiguous_k, "gemm: elements of K read in a run")
      ->type_name("N");
}

void add_emit(CLI::App& npu) {
  CLI::App* command = npu.add_subcommand("emit", "Write a design as AIE-dialect text");
  auto options = std::make_shared<DesignOptions>();
  auto out = std::make_shared<std::string>();
  add_design_options(*command, *options);
  command->add_option("-o,--output", *out, "file to write; standard output without it")
      ->type_name("FILE");
  command->callback([options, out] {
    const npu::EmittedDesign design = npu::emit_design(request_of(*options));
    if (out->empty())
      print(design.text);
    else
      write_file(*out, design.text);
  });
}

npu::KernelTable builtin_kernels() {
  npu::KernelTable kernels;
  npu::add_builtin_kernels(kernels);
  return kernels;
}

void print_report(const npu::EmulateReport& report, bool json) {
  if (json)
    print_json(report.json);
  else
    print(report.text);
}

// --clock is in GHz, --launch-us in microseconds.
void add_machine_options(CLI::App& command, npu::EmulateRequest& request) {
  command
      .add_option_function<double>(
          "--clock", [&request](double ghz) { request.clock_hz = ghz * 1e9; }, "array clock in GHz")
      ->type_name("GHZ")
      ->check(CLI::Range(0.01, 10.0));
  command
      .add_option_function<double>(
          "--launch-us", [&request](double us) { request.launch_seconds = us * 1e-6; },
          "cost of a launch in microseconds")
      ->type_name("US")
      ->check(CLI::Range(0.0, 1e6));
  command
      .add_option("--kernel-cost-factor", request.kernel_cost_factor,
                  "multiplies every kernel's cycles")
      ->type_name("X");
  command
      .add_option("--sequence", request.sequence, "runtime sequence, where a design has several")
      ->type_name("NAME");
}

void add_emulate(CLI::App& npu) {
  CLI::App* command =
      npu.add_subcommand("emulate", "Run a design on the emulated array; its times are predicted");
  auto request = std::make_shared<npu::EmulateRequest>();
  auto json = std::make_shared<bool>(false);
  const auto list = [&](const std::string& name, std::vector<std::string>& values,
                        const std::string& help) {
    command->add_option(name, values, help)
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->type_name("I=FILE");
  };
  command->add_option("DESIGN", request->design_path, "AIE-dialect text")->required();
  command->add_option("--device", request->device, "stands in for NPUDEVICE in the text")
      ->type_name("NAME");
  command
      ->add_option("--kernels", request->kernels_path,
                   "shared library with the kernels that link_with names")
      ->type_name("LIB");
  list("--arg", request->arguments, "host buffer: 0=in.bin or 1=zeros:4096");
  list("--dump", request->dumps, "write a host buffer afterwards: 2=out.bin");
  command->add_option("--trace", request->trace_path, "write a trace that Perfetto opens")
      ->type_name("FILE");
  command->add_option("--time-limit", request->wall_seconds_limit, "seconds a run may take")
      ->type_name("S")
      ->capture_default_str();
  add_machine_options(*command, *request);
  command->add_flag("--json", *json, "print JSON");
  command->callback(
      [request, json] { print_report(npu::run_emulate(*request, builtin_kernels()), *json); });
}

void add_predict(CLI::App& npu) {
  CLI::App* command = npu.add_subcommand("predict", "Predict a design's time without moving data");
  auto request = std::make_shared<npu::EmulateRequest>();
  auto design = std::make_shared<DesignOptions>();
  auto json = std::make_shared<bool>(false);
  command->add_option("DESIGN", request->design_path,
                      "AIE-dialect text; without it the options of emit name a design");
  add_design_options(*command, *design);
  add_machine_options(*command, *request);
  command->add_flag("--json", *json, "print JSON");
  command->callback([request, design, json] {
    request->device = design->device;
    if (!request->design_path.empty()) {
      print_report(npu::run_predict(*request, builtin_kernels()), *json);
      return;
    }
    const npu::DesignRequest wanted = request_of(*design);
    request->operations = uint64_t{2} * wanted.rows * wanted.inputs * wanted.outputs;
    print_report(npu::predict_text(npu::emit_design(wanted).text, *request, builtin_kernels()),
                 *json);
  });
}

void add_build(CLI::App& npu) {
  CLI::App* command =
      npu.add_subcommand("build", "Compile a design for the hardware with the MLIR-AIE tools");
  auto design = std::make_shared<DesignOptions>();
  auto compiler = std::make_shared<npu::CompilerOptions>();
  auto kernels = std::make_shared<std::string>();
  add_design_options(*command, *design);
  command->add_option("--aiecc", compiler->aiecc, "the design compiler")
      ->type_name("PROGRAM")
      ->capture_default_str();
  command
      ->add_option("--core-compiler", compiler->core_compiler,
                   "clang++ of llvm-aie, for the core kernels")
      ->type_name("PROGRAM");
  command
      ->add_option("--kernel-folder", *kernels,
                   "sources of the core kernels; without it those the program carries")
      ->type_name("DIR");
  command
      ->add_option("-I,--include", compiler->include_folders,
                   "folder of headers for the core kernels; may be repeated")
      ->type_name("DIR");
  command->callback([design, compiler, kernels] {
    const npu::DesignRequest request = request_of(*design);
    const std::filesystem::path folder =
        kernels->empty() ? npu::unpack_kernel_sources() : std::filesystem::path(*kernels);
    const npu::CompileResult result = npu::Compiler(*compiler).compile(
        npu::source_of(request, npu::emit_design(request), folder));
    print(fmt::format("{}{}\n", result.folder.string(),
                      result.from_cache ? " (from the cache)" : ""));
  });
}

struct ReportOptions {
  std::string model = "27b", device = "npu1";
  bool accuracy = false, json = false;
};

template <typename Report>
void print_model_report(const Report& report, bool json) {
  if (json)
    print_json(npu::to_json(report));
  else
    print(npu::to_text(report));
}

npu::NpuAccuracyReport accuracy_of(const std::string& model, npu::Generation generation) {
  if (const PublishedSize* size = find_published_size(model)) {
    const ModelConfig config = config_of(*size);
    npu::NpuAccuracyReport report = npu::make_accuracy_report(
        config.name, config.common(), 1, generation, npu::random_projections(config.common()));
    report.weights = "random, from a normal distribution, in q4_0";
    return report;
  }
  const GgufFile file = GgufFile::open(model);
  const ModelConfig config = read_config(file);
  const ModelWeights weights(file, config);
  const npu::ProjectionSource source = [&weights](uint32_t layer, Op op) {
    const NodeWeights node = weights.node(op, layer);
    const auto views = node.views();
    return std::vector<TensorView>(views.begin(), views.begin() + node.count);
  };
  npu::NpuAccuracyReport report =
      npu::make_accuracy_report(config.name, config.common(),
                                static_cast<uint32_t>(config.layers.size()), generation, source);
  report.weights = "those of " + model;
  return report;
}

void add_report(CLI::App& npu) {
  CLI::App* command =
      npu.add_subcommand("report", "Predict what the array does for a model's attention layers");
  auto options = std::make_shared<ReportOptions>();
  command->add_option("--model", options->model, "published size or GGUF file")
      ->type_name("NAME")
      ->capture_default_str();
  command->add_option("--device", options->device, "npu1 or npu2")
      ->type_name("NAME")
      ->capture_default_str();
  command->add_flag("--accuracy", options->accuracy,
                    "instead of times, the error of the emulated projections' outputs");
  command->add_flag("--json", options->json, "print JSON");
  command->callback([options] {
    uint32_t columns = 0;
    const npu::Generation generation = parse_generation(options->device, &columns);
    if (options->accuracy) {
      print_model_report(accuracy_of(options->model, generation), options->json);
      return;
    }
    const ModelConfig config = config_named(options->model);
    npu::NpuReportOptions report;
    report.generation = generation;
    print_model_report(npu::make_npu_report(config.name, config.common(),
                                            static_cast<uint32_t>(config.layers.size()), report),
                       options->json);
  });
}

}  // namespace

void add_npu_command(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("npu", "Designs for AMD's NPU: emit, emulate, predict, build, report");
  command->require_subcommand(1);
  add_emit(*command);
  add_emulate(*command);
  add_predict(*command);
  add_build(*command);
  add_report(*command);
}

}  // namespace tandem

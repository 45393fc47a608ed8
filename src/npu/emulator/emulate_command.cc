// See emulate_command.h.
// SPDX-License-Identifier: Apache-2.0
#include "npu/emulator/emulate_command.h"

#include <fmt/format.h>

#include <charconv>
#include <fstream>
#include <iterator>

#include "base/error.h"

namespace tandem::npu {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorCode::kNotFound, fmt::format("cannot open '{}'", path));
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void write_file(const std::string& path, const char* data, size_t size) {
  std::ofstream file(path, std::ios::binary);
  file.write(data, static_cast<std::streamsize>(size));
  if (!file) throw Error(ErrorCode::kInternal, fmt::format("cannot write '{}'", path));
}

uint64_t parse_number(std::string_view text, const std::string& whole) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size())
    throw Error(ErrorCode::kUsage, fmt::format("'{}' has no number where one is expected", whole));
  return number;
}

// "2=out.bin" as index and the rest.
std::pair<size_t, std::string> split_argument(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos)
    throw Error(ErrorCode::kUsage,
                fmt::format("expected INDEX=FILE or INDEX=zeros:BYTES, found '{}'", text));
  const uint64_t index = parse_number(std::string_view(text).substr(0, equals), text);
  if (index > 31) throw Error(ErrorCode::kUsage, fmt::format("argument {} is out of range", index));
  return {index, text.substr(equals + 1)};
}

std::vector<std::string> load_arguments(const EmulateRequest& request, const Design& design) {
  std::vector<std::string> contents(design.arguments.size());
  for (size_t i = 0; i < contents.size(); ++i) contents[i].resize(design.arguments[i].size);
  for (const std::string& text : request.arguments) {
    const auto [index, value] = split_argument(text);
    if (index >= contents.size()) contents.resize(index + 1);
    constexpr std::string_view kZeros = "zeros:";
    if (value.starts_with(kZeros)) {
      const uint64_t size = parse_number(std::string_view(value).substr(kZeros.size()), text);
      if (size > (uint64_t{1} << 35))
        throw Error(ErrorCode::kUsage, fmt::format("'{}' asks for too many bytes", text));
      contents[index].assign(size, '\0');
    } else {
      contents[index] = read_file(value);
    }
  }
  return contents;
}

EmulateReport run(const Design& design, const EmulateRequest& request, const KernelTable& kernels,
                  std::span<HostBuffer> buffers, bool move_data) {
  KernelTable table = kernels;
  if (!request.kernels_path.empty()) table.open_library(request.kernels_path);
  EmulatorOptions options;
  options.timing =
      default_timing(design.devices[static_cast<size_t>(design.main_device)].generation);
  if (request.clock_hz) options.timing.clock_hz = *request.clock_hz;
  if (request.launch_seconds) options.timing.launch_seconds = *request.launch_seconds;
  options.timing.kernel_cost_factor = request.kernel_cost_factor;
  options.move_data = move_data;
  options.kernels = &table;
  options.record_trace = !request.trace_path.empty();
  options.wall_seconds_limit = request.wall_seconds_limit;
  EmulateReport report;
  report.result = emulate(design, options, buffers);
  if (request.operations > 0) report.result.operations = request.operations;
  if (!request.trace_path.empty()) {
    const std::string trace = tandem::to_text(report.result.trace);
    write_file(request.trace_path, trace.data(), trace.size());
  }
  report.result.warnings.insert(report.result.warnings.begin(), design.warnings.begin(),
                                design.warnings.end());
  report.text = to_text(report.result);
  report.json = to_json(report.result);
  report.json["clock_hz"] = options.timing.clock_hz;
  report.json["design"] = design.source_name;
  return report;
}

Design load_design(const EmulateRequest& request) {
  return parse_design(read_file(request.design_path),
                      {request.design_path, request.device, request.sequence});
}

EmulateReport predict(const Design& design, const EmulateRequest& request,
                      const KernelTable& kernels) {
  std::vector<HostBuffer> buffers;
  for (const HostArgument& argument : design.arguments) buffers.push_back({{}, argument.size});
  return run(design, request, kernels, buffers, false);
}

}  // namespace

EmulateReport run_emulate(const EmulateRequest& request, const KernelTable& kernels) {
  const Design design = load_design(request);
  std::vector<std::string> contents = load_arguments(request, design);
  std::vector<HostBuffer> buffers;
  buffers.reserve(contents.size());
  for (std::string& bytes : contents)
    buffers.push_back({std::as_writable_bytes(std::span(bytes)), bytes.size()});
  EmulateReport report = run(design, request, kernels, buffers, true);
  for (const std::string& text : request.dumps) {
    const auto [index, path] = split_argument(text);
    if (index >= contents.size())
      throw Error(ErrorCode::kUsage, fmt::format("there is no argument {} to dump", index));
    write_file(path, contents[index].data(), contents[index].size());
  }
  return report;
}

EmulateReport run_predict(const EmulateRequest& request, const KernelTable& kernels) {
  return predict(load_design(request), request, kernels);
}

EmulateReport predict_text(const std::string& text, const EmulateRequest& request,
                           const KernelTable& kernels) {
  return predict(parse_design(text, {request.design_path.empty() ? "design" : request.design_path,
                                     request.device, request.sequence}),
                 request, kernels);
}

}  // namespace tandem::npu

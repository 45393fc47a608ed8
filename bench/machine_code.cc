// SPDX-License-Identifier: Apache-2.0
#include "machine_code.h"

#include <algorithm>
#include <array>
#include <sstream>
#include <vector>

namespace tandem {
namespace {

struct OpcodeCost {
  std::string_view prefix;
  double cycles, operations, bytes;
};
// The first prefix that fits. A dual instruction is two of the second table.
constexpr std::array kOpcodes = {
    OpcodeCost{"v_wmma_", 32, 256, 0},
    OpcodeCost{"v_dot4", 1, 8, 0},
    OpcodeCost{"v_dot2", 1, 4, 0},
    OpcodeCost{"v_pk_fma", 1, 4, 0},
    OpcodeCost{"v_fma", 1, 2, 0},
    OpcodeCost{"v_fmac", 1, 2, 0},
    OpcodeCost{"v_exp_", 4, 0, 0},
    OpcodeCost{"v_log_", 4, 0, 0},
    OpcodeCost{"v_rcp_", 4, 0, 0},
    OpcodeCost{"v_rsq_", 4, 0, 0},
    OpcodeCost{"v_sqrt_", 4, 0, 0},
    OpcodeCost{"v_sin_", 4, 0, 0},
    OpcodeCost{"v_cos_", 4, 0, 0},
    OpcodeCost{"v_mul_lo_u32", 4, 0, 0},
    OpcodeCost{"v_mul_hi_u32", 4, 0, 0},
    OpcodeCost{"v_mad_u64_u32", 4, 0, 0},
    OpcodeCost{"v_dual_", 1, 0, 0},
    OpcodeCost{"v_", 1, 0, 0},
    OpcodeCost{"global_load_b128", 0, 0, 16},
    OpcodeCost{"global_load_b96", 0, 0, 12},
    OpcodeCost{"global_load_b64", 0, 0, 8},
    OpcodeCost{"global_load_b32", 0, 0, 4},
    OpcodeCost{"global_load_u16", 0, 0, 2},
    OpcodeCost{"global_load_d16", 0, 0, 2},
};

CodeCost cost_of_line(std::string_view line) {
  const size_t begin = line.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  const std::string_view text = line.substr(begin);
  const auto* row = std::find_if(kOpcodes.begin(), kOpcodes.end(),
                                 [&](const auto& o) { return text.starts_with(o.prefix); });
  if (row == kOpcodes.end()) return {0, 0, 0, 1};
  CodeCost cost{row->cycles, row->operations, row->bytes, 1};
  if (row->prefix == "v_dual_")
    for (size_t at = text.find("v_dual_fma"); at != std::string_view::npos;
         at = text.find("v_dual_fma", at + 1))
      cost.operations += 2;
  return cost;
}

struct Loop {
  size_t first = 0, last = 0;  // lines
};

// Labels are lines "BB7:"; a branch to an earlier or its own label closes a loop.
std::vector<Loop> find_loops(const std::vector<std::string>& lines) {
  std::map<std::string, size_t> labels;
  std::vector<Loop> loops;
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string& line = lines[i];
    if (line.starts_with("BB")) labels[line.substr(0, line.find(':'))] = i;
    const size_t branch = line.find("s_cbranch");
    const size_t jump = line.find("s_branch");
    if (branch == std::string::npos && jump == std::string::npos) continue;
    const size_t target = line.find("BB");
    if (target == std::string::npos) continue;
    const auto label =
        labels.find(line.substr(target, line.find_first_of(" ;\t", target) - target));
    if (label != labels.end()) loops.push_back({label->second, i});
  }
  // Branches back to one label are one loop.
  std::vector<Loop> merged;
  for (const Loop& loop : loops) {
    const auto same = std::find_if(merged.begin(), merged.end(),
                                   [&](const Loop& m) { return m.first == loop.first; });
    if (same == merged.end())
      merged.push_back(loop);
    else
      same->last = std::max(same->last, loop.last);
  }
  return merged;
}

bool is_innermost(const Loop& loop, const std::vector<Loop>& loops) {
  return std::none_of(loops.begin(), loops.end(), [&](const Loop& other) {
    return other.first > loop.first && other.last <= loop.last;
  });
}

CodeCost sum(const std::vector<std::string>& lines, const Loop& loop) {
  CodeCost total;
  for (size_t i = loop.first; i <= loop.last; ++i) {
    const CodeCost cost = cost_of_line(lines[i]);
    total.cycles += cost.cycles;
    total.operations += cost.operations;
    total.bytes += cost.bytes;
    total.instructions += cost.instructions;
  }
  return total;
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> lines;
  std::istringstream stream{std::string(text)};
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string assembly_of(VkDevice device, const VkPipelineExecutableInfoKHR& executable) {
  uint32_t count = 0;
  vkGetPipelineExecutableInternalRepresentationsKHR(device, &executable, &count, nullptr);
  std::vector<VkPipelineExecutableInternalRepresentationKHR> texts(count);
  for (auto& text : texts)
    text.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR;
  vkGetPipelineExecutableInternalRepresentationsKHR(device, &executable, &count, texts.data());
  std::vector<std::string> contents(count);
  for (uint32_t i = 0; i < count; ++i) {
    contents[i].resize(texts[i].dataSize);
    texts[i].pData = contents[i].data();
  }
  vkGetPipelineExecutableInternalRepresentationsKHR(device, &executable, &count, texts.data());
  for (uint32_t i = 0; i < count; ++i)
    if (std::string_view(texts[i].name).find("ssembly") != std::string_view::npos)
      return contents[i];
  return {};
}

}  // namespace

CodeCost multiplying_loop(std::string_view assembly) {
  const std::vector<std::string> lines = split(assembly);
  CodeCost best;
  for (const Loop& loop : find_loops(lines)) {
    const CodeCost cost = sum(lines, loop);
    if (cost.operations > best.operations ||
        (cost.operations == best.operations && cost.instructions < best.instructions))
      best = cost;
  }
  return best;
}

CodeCost loading_loop(std::string_view assembly) {
  const std::vector<std::string> lines = split(assembly);
  const std::vector<Loop> loops = find_loops(lines);
  CodeCost best;
  for (const Loop& loop : loops)
    if (is_innermost(loop, loops)) {
      const CodeCost cost = sum(lines, loop);
      if (cost.bytes > best.bytes) best = cost;
    }
  if (best.bytes > 0 || lines.empty()) return best;
  return sum(lines, {0, lines.size() - 1});
}

PipelineReport report_of(vulkan::Device& device, const vulkan::Pipeline& pipeline) {
  VkPipelineExecutableInfoKHR executable{};
  executable.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR;
  executable.pipeline = pipeline.handle;
  uint32_t count = 0;
  vkGetPipelineExecutableStatisticsKHR(device.handle(), &executable, &count, nullptr);
  std::vector<VkPipelineExecutableStatisticKHR> values(count);
  for (auto& value : values) value.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
  vkGetPipelineExecutableStatisticsKHR(device.handle(), &executable, &count, values.data());
  PipelineReport report;
  for (const auto& value : values) report.statistics[value.name] = value.value.u64;
  const std::string assembly = assembly_of(device.handle(), executable);
  report.multiplying = multiplying_loop(assembly);
  report.loading = loading_loop(assembly);
  return report;
}

}  // namespace tandem

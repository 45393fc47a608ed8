// `tandem doctor`: what an NPU needs, what is there, and how to get what is missing.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "base/error.h"
#include "base/json_value.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "npu/detect.h"

namespace tandem {
namespace {

std::string_view state_name(npu::Finding::State state) {
  switch (state) {
    case npu::Finding::State::kOk: return "ok";
    case npu::Finding::State::kMissing: return "missing";
    case npu::Finding::State::kUnknown: return "unknown";
  }
  return "";
}

Json to_json(const npu::Detection& detection) {
  Json findings = Json::array();
  for (const npu::Finding& f : detection.findings)
    findings.push_back({{"subject", f.subject},
                        {"state", state_name(f.state)},
                        {"value", f.value},
                        {"fix", f.fix}});
  return {{"present", detection.present},     {"usable", detection.usable},
          {"product", detection.product},     {"generation", detection.generation},
          {"node", detection.node},           {"firmware", detection.firmware},
          {"array_mhz", detection.array_mhz}, {"findings", findings}};
}

void print_text(const npu::Detection& detection) {
  for (const npu::Finding& f : detection.findings) {
    print(fmt::format("{:<18}{:<9}{}\n", f.subject, state_name(f.state), f.value));
    if (f.state == npu::Finding::State::kMissing) print(fmt::format("{:<18}fix: {}\n", "", f.fix));
  }
  print(detection.usable ? "The NPU can be used.\n"
                         : "The NPU cannot be used; everything else can.\n");
}

}  // namespace

void add_doctor_command(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("doctor", "Check what the NPU needs, with the fix for what is missing");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "print JSON");
  command->callback([json] {
    // Below another root the device node is not this machine's, so no driver is asked.
    const std::string root = npu::detection_root();
    const auto driver = root == "/" ? npu::make_kernel_driver_calls() : nullptr;
    const npu::Detection detection = npu::detect_npu(root, driver.get());
    if (*json)
      print_json(to_json(detection));
    else
      print_text(detection);
  });
}

}  // namespace tandem

// parse_design: text to tree, tree to devices, sequence to instructions.
// SPDX-License-Identifier: Apache-2.0
#include "npu/aie_text/design.h"

#include <fmt/format.h>

#include "npu/aie_text/lowering.h"
#include "npu/aie_text/parser.h"

namespace tandem::npu {
namespace {

std::vector<const mlir::Operation*> find_devices(const mlir::Module& module) {
  std::vector<const mlir::Operation*> devices;
  mlir::walk(module.body, [&](const mlir::Operation& operation) {
    if (operation.name == "aie.device" && !operation.regions.empty()) devices.push_back(&operation);
    return operation.name == "module" || operation.name == "builtin.module";
  });
  return devices;
}

// The enumerator of the generic form, or a name.
std::string device_name(const std::string& text) {
  static const std::map<std::string_view, std::string_view> kNumbers = {
      {"4", "npu1"},       {"5", "npu1_1col"},  {"6", "npu1_2col"},  {"7", "npu1_3col"},
      {"8", "npu2"},       {"9", "npu2_1col"},  {"10", "npu2_2col"}, {"11", "npu2_3col"},
      {"12", "npu2_4col"}, {"13", "npu2_5col"}, {"14", "npu2_6col"}, {"15", "npu2_7col"}};
  const auto found = kNumbers.find(text);
  return std::string(found == kNumbers.end() ? std::string_view(text) : found->second);
}

void lower_device(DeviceLowering& lowering) {
  lower_declarations(lowering);
  lower_switches(lowering);
  lower_dma_programs(lowering);
  lower_object_fifos(lowering);
  place_core_storage(lowering);
  assign_resources(lowering);
  lower_cores(lowering);
  verify_device(lowering);
}

int choose_main(const Design& design) {
  for (size_t i = 0; i < design.devices.size(); ++i)
    if (design.devices[i].name == "main") return static_cast<int>(i);
  return 0;
}

}  // namespace

Design parse_design(std::string_view text, const ParseOptions& options) {
  const mlir::Module module = mlir::parse_module(text, options.source_name, options.device);
  const Diagnostics diagnostics(options.source_name);
  Design design;
  design.source_name = options.source_name;
  const std::vector<const mlir::Operation*> operations = find_devices(module);
  if (operations.empty()) diagnostics.fail({1, 1}, "expected an aie.device in the module");

  design.devices.resize(operations.size());
  std::vector<DeviceLowering> lowerings;
  lowerings.reserve(operations.size());
  for (size_t i = 0; i < operations.size(); ++i) {
    const mlir::Operation& operation = *operations[i];
    const mlir::Attribute* name = operation.attribute("device");
    uint32_t columns = 0;
    const std::string device = name == nullptr
                                   ? ""
                                   : device_name(name->kind == mlir::Attribute::Kind::kInteger
                                                     ? std::to_string(name->integer)
                                                     : name->text);
    const Geometry* geometry = find_geometry(device, &columns);
    if (geometry == nullptr)
      diagnostics.unsupported(operation.location,
                              fmt::format("expected npu1, npu2 or a subset such as npu1_1col as "
                                          "the device, found '{}'",
                                          device));
    DeviceDesign& out = design.devices[i];
    out.generation = geometry->generation;
    out.columns = static_cast<int>(columns);
    lowerings.push_back(DeviceLowering{module,
                                       operation,
                                       *geometry,
                                       diagnostics,
                                       out,
                                       design.warnings,
                                       {},
                                       {},
                                       {},
                                       {},
                                       {},
                                       {},
                                       {},
                                       {},
                                       {},
                                       {}});
    out.name = text_of(lowerings.back(), operation, "sym_name", "main");
    lower_device(lowerings.back());
  }
  design.main_device = choose_main(design);
  lower_sequence(lowerings, static_cast<size_t>(design.main_device), options.sequence, design);
  return design;
}

const BufferDecl* find_buffer(const DeviceDesign& device, std::string_view name) {
  for (const BufferDecl& buffer : device.buffers)
    if (buffer.name == name) return &buffer;
  return nullptr;
}

const ShimAllocation* find_shim_allocation(const DeviceDesign& device, std::string_view name) {
  for (const ShimAllocation& allocation : device.shim_allocations)
    if (allocation.name == name) return &allocation;
  return nullptr;
}

std::string to_text(TileCoordinate tile) { return fmt::format("({}, {})", tile.column, tile.row); }

std::string_view to_text(DmaDirection direction) {
  return direction == DmaDirection::kS2MM ? "S2MM" : "MM2S";
}

}  // namespace tandem::npu

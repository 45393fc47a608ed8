// SPDX-License-Identifier: Apache-2.0
#include "backend/backends.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "cpu/cpu_backend.h"
#ifdef TANDEM_VULKAN
#include "vulkan/vulkan_backend.h"
#endif
#ifdef TANDEM_NPU
#include "npu/detect.h"
#include "npu/npu_backend.h"
#endif

namespace tandem {
namespace {

[[noreturn]] void no_such_device(const std::string& name) {
  throw Error(
      ErrorCode::kUsage,
      fmt::format("there is no device '{}'; `tandem devices` lists those that exist", name));
}

#ifdef TANDEM_VULKAN

constexpr std::string_view kVulkan = "vulkan";

std::unique_ptr<Backend> open_vulkan(const std::string& name) {
  VulkanOptions options;
  if (name.size() > kVulkan.size()) options.device = name.substr(kVulkan.size() + 1);
  return make_vulkan_backend(options);
}

DeviceListing listing_of(const VulkanDeviceInfo& info) {
  DeviceListing listing;
  listing.name = fmt::format("{}:{}", kVulkan, info.index);
  listing.device = fmt::format("{} ({})", info.name, info.driver);
  listing.usable = info.why_not.empty();
  listing.software = info.software;
  if (!listing.usable) listing.notes.push_back(info.why_not);
  listing.notes.push_back(fmt::format(
      "{}, subgroups of {} to {}, {}, dispatches {}{}{}",
      info.uma ? "shares the host's memory" : "memory of its own", info.min_subgroup,
      info.max_subgroup, info.integer_dot ? "integer dot products" : "no integer dot products",
      info.chained ? "that wait for each other" : "ordered by barriers",
      info.host_import ? ", imports host pages" : "",
      info.memory_budget ? ", reports its budget" : ""));
  for (const MatrixShape& m : info.matrices)
    listing.notes.push_back(
        fmt::format("cooperative matrix {}x{}x{} {} -> {}", m.m, m.n, m.k, m.input, m.accumulator));
  for (const MemoryHeap& heap : info.heaps)
    listing.notes.push_back(fmt::format("heap of {} MiB, {} MiB available{}", heap.size >> 20,
                                        heap.budget >> 20,
                                        heap.device_local ? ", device-local" : ""));
  return listing;
}

void list_vulkan(std::vector<DeviceListing>& listings) {
  const VulkanDeviceList list = list_vulkan_devices();
  if (list.devices.empty())
    listings.push_back({std::string(kVulkan), "", false, false, false, {list.why_none}});
  for (const VulkanDeviceInfo& info : list.devices) listings.push_back(listing_of(info));
}

#endif
#ifdef TANDEM_NPU

void list_npu(std::vector<DeviceListing>& listings) {
  const npu::Detection detection = npu::detect_npu(npu::detection_root());
  DeviceListing listing;
  listing.name = "npu";
  listing.device = detection.product;
  listing.usable = detection.usable;
  for (const npu::Finding& finding : detection.findings)
    if (finding.state == npu::Finding::State::kMissing)
      listing.notes.push_back(
          fmt::format("{}: {}; {}", finding.subject, finding.value, finding.fix));
  listings.push_back(std::move(listing));
  listings.push_back({"npu-emu",
                      "emulated Phoenix array (npu1)",
                      true,
                      true,
                      false,
                      {"runs attention projections only; times it gives are predicted"}});
}

#endif

}  // namespace

std::unique_ptr<Backend> open_backend(const std::string& name, const BackendOptions& options) {
  if (name == "cpu") {
    cpu::CpuOptions cpu_options;
    cpu_options.threads = options.threads;
    cpu_options.isa = options.cpu_isa;
    return cpu::make_cpu_backend(cpu_options);
  }
#ifdef TANDEM_VULKAN
  if (name == kVulkan || name.substr(0, kVulkan.size() + 1) == "vulkan:") return open_vulkan(name);
#endif
#ifdef TANDEM_NPU
  if (name == "npu" || name == "npu-emu") {
    npu::NpuOptions npu_options;
    npu_options.emulated = name == "npu-emu";
    return npu::make_npu_backend(npu_options);
  }
#endif
  no_such_device(name);
}

std::vector<DeviceListing> list_devices() {
  const std::unique_ptr<Backend> cpu = cpu::make_cpu_backend({});
  std::vector<DeviceListing> listings = {
      {cpu->info().name, cpu->info().device, true, false, false, {}}};
#ifdef TANDEM_VULKAN
  list_vulkan(listings);
#endif
#ifdef TANDEM_NPU
  list_npu(listings);
#endif
  return listings;
}

}  // namespace tandem

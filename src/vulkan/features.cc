// What a physical device says of itself, and what of it is switched on.
// SPDX-License-Identifier: Apache-2.0
#include "vulkan/features.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "vulkan/device.h"

namespace tandem::vulkan {
namespace {

constexpr const char* kCooperativeMatrix = "VK_KHR_cooperative_matrix";

struct NeededFeature {
  const char* name;
  VkBool32* (*field)(FeatureChain&);
};

// Vulkan 1.3 promises most of these; 8-bit and half floats are the ones old chips lack.
constexpr std::array kNeeded = {
    NeededFeature{"shaderInt16", [](FeatureChain& c) { return &c.core.features.shaderInt16; }},
    NeededFeature{"shaderInt64", [](FeatureChain& c) { return &c.core.features.shaderInt64; }},
    NeededFeature{"storageBuffer16BitAccess",
                  [](FeatureChain& c) { return &c.v11.storageBuffer16BitAccess; }},
    NeededFeature{"storageBuffer8BitAccess",
                  [](FeatureChain& c) { return &c.v12.storageBuffer8BitAccess; }},
    NeededFeature{"shaderFloat16", [](FeatureChain& c) { return &c.v12.shaderFloat16; }},
    NeededFeature{"shaderInt8", [](FeatureChain& c) { return &c.v12.shaderInt8; }},
    NeededFeature{"scalarBlockLayout", [](FeatureChain& c) { return &c.v12.scalarBlockLayout; }},
    NeededFeature{"bufferDeviceAddress",
                  [](FeatureChain& c) { return &c.v12.bufferDeviceAddress; }},
    NeededFeature{"timelineSemaphore", [](FeatureChain& c) { return &c.v12.timelineSemaphore; }},
    NeededFeature{"hostQueryReset", [](FeatureChain& c) { return &c.v12.hostQueryReset; }},
    NeededFeature{"vulkanMemoryModel", [](FeatureChain& c) { return &c.v12.vulkanMemoryModel; }},
    NeededFeature{"vulkanMemoryModelDeviceScope",
                  [](FeatureChain& c) { return &c.v12.vulkanMemoryModelDeviceScope; }},
    NeededFeature{"shaderIntegerDotProduct",
                  [](FeatureChain& c) { return &c.v13.shaderIntegerDotProduct; }},
    NeededFeature{"synchronization2", [](FeatureChain& c) { return &c.v13.synchronization2; }},
    NeededFeature{"subgroupSizeControl",
                  [](FeatureChain& c) { return &c.v13.subgroupSizeControl; }},
    NeededFeature{"computeFullSubgroups",
                  [](FeatureChain& c) { return &c.v13.computeFullSubgroups; }},
    NeededFeature{"maintenance4", [](FeatureChain& c) { return &c.v13.maintenance4; }},
};

constexpr VkSubgroupFeatureFlags kNeededSubgroupOps = VK_SUBGROUP_FEATURE_BASIC_BIT |
                                                      VK_SUBGROUP_FEATURE_ARITHMETIC_BIT |
                                                      VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
// A block of 32 activations is quantised by 8 neighbouring invocations.
constexpr uint32_t kSmallestSubgroup = 8;

struct Properties {
  VkPhysicalDeviceProperties2 core{};
  VkPhysicalDeviceVulkan11Properties v11{};
  VkPhysicalDeviceVulkan12Properties v12{};
  VkPhysicalDeviceVulkan13Properties v13{};
  VkPhysicalDeviceExternalMemoryHostPropertiesEXT host{};
};

void query(VkPhysicalDevice physical, bool host_import, Properties& p) {
  p.core.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  p.v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES;
  p.v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES;
  p.v13.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES;
  p.host.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT;
  p.core.pNext = &p.v11;
  p.v11.pNext = &p.v12;
  p.v12.pNext = &p.v13;
  if (host_import) p.v13.pNext = &p.host;
  vkGetPhysicalDeviceProperties2(physical, &p.core);
}

// Streaming multiprocessors or compute units, by the two extensions that tell.
uint32_t count_compute_units(VkPhysicalDevice physical) {
  VkPhysicalDeviceShaderSMBuiltinsPropertiesNV nv{};
  nv.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV;
  VkPhysicalDeviceShaderCorePropertiesAMD amd{};
  amd.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_PROPERTIES_AMD;
  VkPhysicalDeviceProperties2 properties{};
  properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  if (has_extension(physical, VK_NV_SHADER_SM_BUILTINS_EXTENSION_NAME)) {
    properties.pNext = &nv;
    vkGetPhysicalDeviceProperties2(physical, &properties);
    return nv.shaderSMCount;
  }
  if (has_extension(physical, VK_AMD_SHADER_CORE_PROPERTIES_EXTENSION_NAME)) {
    properties.pNext = &amd;
    vkGetPhysicalDeviceProperties2(physical, &properties);
    return amd.shaderEngineCount * amd.shaderArraysPerEngineCount * amd.computeUnitsPerShaderArray;
  }
  return 0;
}

void describe_memory(VkPhysicalDevice physical, VulkanDeviceInfo& info) {
  // RADV crashes when asked for the budget of a chip it only compiles for.
  if (info.name.starts_with("Null hardware")) info.memory_budget = false;
  VkPhysicalDeviceMemoryBudgetPropertiesEXT budget{};
  budget.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT;
  VkPhysicalDeviceMemoryProperties2 memory{};
  memory.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2;
  if (info.memory_budget) memory.pNext = &budget;
  vkGetPhysicalDeviceMemoryProperties2(physical, &memory);
  const VkPhysicalDeviceMemoryProperties& m = memory.memoryProperties;
  for (uint32_t i = 0; i < m.memoryHeapCount; ++i) {
    MemoryHeap heap;
    heap.size = m.memoryHeaps[i].size;
    heap.budget = info.memory_budget ? budget.heapBudget[i] : heap.size;
    heap.device_local = (m.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) != 0;
    info.heaps.push_back(heap);
  }
}

std::string_view component_name(ComponentType type) {
  switch (type) {
    case ComponentType::kF16: return "f16";
    case ComponentType::kF32: return "f32";
    case ComponentType::kI8: return "i8";
    case ComponentType::kU8: return "u8";
    case ComponentType::kI32: return "i32";
    default: return "";
  }
}

using MatrixQuery = VkResult(VKAPI_PTR*)(VkPhysicalDevice, uint32_t*, CooperativeMatrixProperties*);

void describe_matrices(VkInstance instance, VkPhysicalDevice physical, VulkanDeviceInfo& info) {
  const auto query_matrices = reinterpret_cast<MatrixQuery>(
      vkGetInstanceProcAddr(instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR"));
  if (query_matrices == nullptr) return;
  const auto shapes = enumerate<CooperativeMatrixProperties>(
      "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR",
      [&](uint32_t* count, CooperativeMatrixProperties* items) {
        return query_matrices(physical, count, items);
      });
  for (const CooperativeMatrixProperties& s : shapes) {
    const std::string_view input = component_name(s.a), sum = component_name(s.c);
    if (s.scope != kScopeSubgroup || s.a != s.b || s.c != s.result || s.saturating != VK_FALSE ||
        input.empty() || sum.empty())
      continue;
    info.matrices.push_back({s.m, s.n, s.k, std::string(input), std::string(sum)});
  }
}

std::string why_not(const Properties& p, FeatureChain& features) {
  if (p.core.properties.apiVersion < VK_API_VERSION_1_3)
    return fmt::format("it offers Vulkan {}.{} and 1.3 is needed; a newer driver may help",
                       VK_API_VERSION_MAJOR(p.core.properties.apiVersion),
                       VK_API_VERSION_MINOR(p.core.properties.apiVersion));
  if (const std::string missing = missing_features(features); !missing.empty())
    return "it lacks " + missing;
  if ((p.v11.subgroupSupportedOperations & kNeededSubgroupOps) != kNeededSubgroupOps)
    return "it lacks subgroup arithmetic or shuffles";
  if (p.v13.minSubgroupSize < kSmallestSubgroup)
    return fmt::format("its subgroups have {} invocations and {} are needed", p.v13.minSubgroupSize,
                       kSmallestSubgroup);
  return {};
}

}  // namespace

FeatureChain::FeatureChain() {
  core.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
  v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES;
  v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
  v13.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES;
  executable.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR;
}

void* FeatureChain::link() {
  core.pNext = &v11;
  v11.pNext = &v12;
  v12.pNext = &v13;
  void** tail = &v13.pNext;
  if (with_executable) {
    *tail = &executable;
    tail = &executable.pNext;
  }
  if (with_matrix) *tail = &matrix;
  return &core;
}

bool has_extension(VkPhysicalDevice physical, std::string_view name) {
  const auto extensions = enumerate<VkExtensionProperties>(
      "vkEnumerateDeviceExtensionProperties", [&](uint32_t* count, VkExtensionProperties* items) {
        return vkEnumerateDeviceExtensionProperties(physical, nullptr, count, items);
      });
  return std::any_of(extensions.begin(), extensions.end(), [&](const VkExtensionProperties& e) {
    return name == std::string_view(e.extensionName);
  });
}

std::string missing_features(FeatureChain& offered) {
  std::string missing;
  for (const NeededFeature& needed : kNeeded)
    if (*needed.field(offered) == VK_FALSE)
      missing += fmt::format("{}{}", missing.empty() ? "" : ", ", needed.name);
  return missing;
}

FeatureChain wanted_features(const VulkanDeviceInfo& info) {
  FeatureChain chain;
  for (const NeededFeature& needed : kNeeded) *needed.field(chain) = VK_TRUE;
  chain.with_executable = info.pipeline_statistics;
  chain.executable.pipelineExecutableInfo = VK_TRUE;
  chain.with_matrix = info.cooperative_matrix;
  chain.matrix.cooperativeMatrix = VK_TRUE;
  return chain;
}

std::vector<const char*> wanted_extensions(const VulkanDeviceInfo& info) {
  std::vector<const char*> names;
  if (info.host_import) names.push_back(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
  if (info.memory_budget) names.push_back(VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
  if (info.pipeline_statistics)
    names.push_back(VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME);
  if (info.cooperative_matrix) names.push_back(kCooperativeMatrix);
  return names;
}

VulkanDeviceInfo describe(VkInstance instance, VkPhysicalDevice physical, uint32_t index) {
  VulkanDeviceInfo info;
  info.index = index;
  info.host_import = has_extension(physical, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
  info.memory_budget = has_extension(physical, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
  info.pipeline_statistics =
      has_extension(physical, VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME);
  const bool matrix = has_extension(physical, kCooperativeMatrix);

  Properties p;
  query(physical, info.host_import, p);
  const VkPhysicalDeviceProperties& core = p.core.properties;
  info.name = core.deviceName;
  info.driver = fmt::format("{} {}", p.v12.driverName, p.v12.driverInfo);
  info.discrete = core.deviceType == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
  info.software = core.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
  info.uma = info.software || core.deviceType == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU;
  info.vendor = core.vendorID;
  info.subgroup = p.v11.subgroupSize;
  info.min_subgroup = p.v13.minSubgroupSize;
  info.max_subgroup = p.v13.maxSubgroupSize;
  info.subgroup_size_control =
      (p.v13.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0;
  info.integer_dot = p.v13.integerDotProduct4x8BitPackedSignedAccelerated == VK_TRUE;
  info.shared_memory_size = core.limits.maxComputeSharedMemorySize;
  info.max_workgroup = core.limits.maxComputeWorkGroupInvocations;
  info.push_constant_size = core.limits.maxPushConstantsSize;
  info.max_storage_range = core.limits.maxStorageBufferRange;
  info.max_allocation = std::min(p.v11.maxMemoryAllocationSize, p.v13.maxBufferSize);
  info.host_import_alignment = info.host_import ? p.host.minImportedHostPointerAlignment : 0;
  info.timestamp_ns = static_cast<double>(core.limits.timestampPeriod);
  info.compute_units = count_compute_units(physical);
  describe_memory(physical, info);

  FeatureChain offered;
  offered.with_executable = info.pipeline_statistics;
  offered.with_matrix = matrix;
  vkGetPhysicalDeviceFeatures2(physical, static_cast<VkPhysicalDeviceFeatures2*>(offered.link()));
  info.pipeline_statistics =
      info.pipeline_statistics && offered.executable.pipelineExecutableInfo == VK_TRUE;
  info.cooperative_matrix = matrix && offered.matrix.cooperativeMatrix == VK_TRUE;
  if (info.cooperative_matrix) describe_matrices(instance, physical, info);
  info.why_not = why_not(p, offered);
  return info;
}

}  // namespace tandem::vulkan

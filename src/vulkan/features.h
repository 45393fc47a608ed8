// The Vulkan features the engine needs and those it uses when present.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "vulkan/api.h"
#include "vulkan/device_info.h"

namespace tandem::vulkan {

// The feature structures of a query or of device creation. link() chains them and returns the
// head; the object must not move afterwards.
struct FeatureChain {
  VkPhysicalDeviceFeatures2 core{};
  VkPhysicalDeviceVulkan11Features v11{};
  VkPhysicalDeviceVulkan12Features v12{};
  VkPhysicalDeviceVulkan13Features v13{};
  VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executable{};
  CooperativeMatrixFeatures matrix{};
  bool with_executable = false, with_matrix = false;

  FeatureChain();
  void* link();
};

bool has_extension(VkPhysicalDevice physical, std::string_view name);

// The needed features the device lacks, as names; empty when it has all.
std::string missing_features(FeatureChain& offered);

// Features and extensions to enable on a device that has them.
FeatureChain wanted_features(const VulkanDeviceInfo& info);
std::vector<const char*> wanted_extensions(const VulkanDeviceInfo& info);

}  // namespace tandem::vulkan

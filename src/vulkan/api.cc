// SPDX-License-Identifier: Apache-2.0
#define VOLK_IMPLEMENTATION
#include "vulkan/api.h"

#include <fmt/format.h>

namespace tandem::vulkan {

std::string_view result_name(VkResult result) {
  switch (result) {
    case VK_SUCCESS: return "VK_SUCCESS";
    case VK_NOT_READY: return "VK_NOT_READY";
    case VK_TIMEOUT: return "VK_TIMEOUT";
    case VK_INCOMPLETE: return "VK_INCOMPLETE";
    case VK_ERROR_OUT_OF_HOST_MEMORY: return "VK_ERROR_OUT_OF_HOST_MEMORY";
    case VK_ERROR_OUT_OF_DEVICE_MEMORY: return "VK_ERROR_OUT_OF_DEVICE_MEMORY";
    case VK_ERROR_INITIALIZATION_FAILED: return "VK_ERROR_INITIALIZATION_FAILED";
    case VK_ERROR_DEVICE_LOST: return "VK_ERROR_DEVICE_LOST";
    case VK_ERROR_MEMORY_MAP_FAILED: return "VK_ERROR_MEMORY_MAP_FAILED";
    case VK_ERROR_LAYER_NOT_PRESENT: return "VK_ERROR_LAYER_NOT_PRESENT";
    case VK_ERROR_EXTENSION_NOT_PRESENT: return "VK_ERROR_EXTENSION_NOT_PRESENT";
    case VK_ERROR_FEATURE_NOT_PRESENT: return "VK_ERROR_FEATURE_NOT_PRESENT";
    case VK_ERROR_INCOMPATIBLE_DRIVER: return "VK_ERROR_INCOMPATIBLE_DRIVER";
    case VK_ERROR_TOO_MANY_OBJECTS: return "VK_ERROR_TOO_MANY_OBJECTS";
    case VK_ERROR_INVALID_EXTERNAL_HANDLE: return "VK_ERROR_INVALID_EXTERNAL_HANDLE";
    default: return "an unnamed VkResult";
  }
}

void check_result(VkResult result, std::string_view call) {
  if (result == VK_SUCCESS) return;
  const std::string_view name = call.substr(0, call.find('('));
  const std::string text =
      fmt::format("{} answered {} ({})", name, result_name(result), static_cast<int>(result));
  switch (result) {
    case VK_ERROR_DEVICE_LOST:
      throw Error(ErrorCode::kDeviceLost,
                  text + ": the GPU or its driver reset; run the request again, or on the CPU");
    case VK_ERROR_OUT_OF_HOST_MEMORY:
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
      throw Error(
          ErrorCode::kOutOfMemory,
          text + ": use a shorter context (-c) or a smaller model, or close other programs");
    default: throw Error(ErrorCode::kInternal, text);
  }
}

void open_loader() {
  static const VkResult result = volkInitialize();
  if (result != VK_SUCCESS)
    throw Error(ErrorCode::kNotFound,
                "no Vulkan loader (libvulkan.so.1) on this machine; install it (Debian: "
                "libvulkan1) with the GPU's driver, or run with --device cpu");
}

}  // namespace tandem::vulkan

// SPDX-License-Identifier: Apache-2.0
#include "vulkan/device.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>

#include "vulkan/features.h"

namespace tandem::vulkan {
namespace {

constexpr const char* kValidationLayer = "VK_LAYER_KHRONOS_validation";

VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT,
                                          VkDebugUtilsMessageTypeFlagsEXT,
                                          const VkDebugUtilsMessengerCallbackDataEXT* data,
                                          void* log) {
  static_cast<ValidationLog*>(log)->add(data->pMessage);
  return VK_FALSE;
}

VkDebugUtilsMessengerCreateInfoEXT messenger_info(ValidationLog* log) {
  VkDebugUtilsMessengerCreateInfoEXT info{};
  info.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT;
  info.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                         VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  info.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT;
  info.pfnUserCallback = on_message;
  info.pUserData = log;
  return info;
}

bool has_validation_layer() {
  const auto layers = enumerate<VkLayerProperties>(
      "vkEnumerateInstanceLayerProperties", [](uint32_t* count, VkLayerProperties* items) {
        return vkEnumerateInstanceLayerProperties(count, items);
      });
  return std::any_of(layers.begin(), layers.end(), [](const VkLayerProperties& layer) {
    return std::strcmp(layer.layerName, kValidationLayer) == 0;
  });
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

std::string list_names(const std::vector<VulkanDeviceInfo>& devices) {
  std::string names;
  for (const VulkanDeviceInfo& device : devices)
    names += fmt::format("{}{} {}", names.empty() ? "" : ", ", device.index, device.name);
  return names.empty() ? "none" : names;
}

// Higher is better; hardware only.
int rank(const VulkanDeviceInfo& device) {
  if (device.software || !device.why_not.empty()) return 0;
  return device.discrete ? 2 : 1;
}

// A family for compute alone leaves the display's queue free; any compute family will do.
uint32_t choose_queue_family(VkPhysicalDevice physical) {
  uint32_t count = 0;
  vkGetPhysicalDeviceQueueFamilyProperties(physical, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  vkGetPhysicalDeviceQueueFamilyProperties(physical, &count, families.data());
  for (const VkQueueFlags unwanted : {VkQueueFlags{VK_QUEUE_GRAPHICS_BIT}, VkQueueFlags{0}})
    for (uint32_t i = 0; i < count; ++i)
      if ((families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) != 0 &&
          (families[i].queueFlags & unwanted) == 0 && families[i].timestampValidBits > 0)
        return i;
  throw Error(ErrorCode::kUnsupported, "the Vulkan device has no compute queue; use --device cpu");
}

}  // namespace

void ValidationLog::add(std::string message) {
  const std::lock_guard lock(mutex_);
  messages_.push_back(std::move(message));
}

std::vector<std::string> ValidationLog::messages() const {
  const std::lock_guard lock(mutex_);
  return messages_;
}

Instance::Instance(bool validate) {
  open_loader();
  if (validate && !has_validation_layer())
    throw Error(ErrorCode::kNotFound,
                "validation was asked for but VK_LAYER_KHRONOS_validation is not installed "
                "(Debian: vulkan-validationlayers)");
  VkApplicationInfo application{};
  application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
  application.pApplicationName = "tandem";
  application.apiVersion = VK_API_VERSION_1_3;

  VkDebugUtilsMessengerCreateInfoEXT messenger = messenger_info(&validation_);
  const VkValidationFeatureEnableEXT checks =
      VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT;
  VkValidationFeaturesEXT features{};
  features.sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT;
  features.pNext = &messenger;
  features.enabledValidationFeatureCount = 1;
  features.pEnabledValidationFeatures = &checks;

  const char* extension = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
  VkInstanceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
  info.pApplicationInfo = &application;
  if (validate) {
    info.pNext = &features;
    info.enabledLayerCount = 1;
    info.ppEnabledLayerNames = &kValidationLayer;
    info.enabledExtensionCount = 1;
    info.ppEnabledExtensionNames = &extension;
  }
  const VkResult result = vkCreateInstance(&info, nullptr, &instance_);
  if (result == VK_ERROR_INCOMPATIBLE_DRIVER)
    throw Error(ErrorCode::kNotFound,
                "the Vulkan loader found no driver; install the GPU's Vulkan driver (Debian: "
                "mesa-vulkan-drivers), or run with --device cpu");
  check_result(result, "vkCreateInstance");
  volkLoadInstance(instance_);
  if (validate) {
    const VkDebugUtilsMessengerCreateInfoEXT log = messenger_info(&validation_);
    VK_TRY(vkCreateDebugUtilsMessengerEXT(instance_, &log, nullptr, &messenger_));
  }
}

Instance::~Instance() {
  if (messenger_ != VK_NULL_HANDLE) vkDestroyDebugUtilsMessengerEXT(instance_, messenger_, nullptr);
  vkDestroyInstance(instance_, nullptr);
}

std::vector<VkPhysicalDevice> Instance::physical_devices() const {
  uint32_t count = 0;
  const VkResult result = vkEnumeratePhysicalDevices(instance_, &count, nullptr);
  // The loader answers so when all drivers failed, as some do where they find no device.
  if (result == VK_ERROR_INITIALIZATION_FAILED || (result == VK_SUCCESS && count == 0))
    throw Error(ErrorCode::kNotFound,
                "the Vulkan drivers of this machine found no device; install the GPU's own driver, "
                "or run with --device cpu");
  return enumerate<VkPhysicalDevice>(
      "vkEnumeratePhysicalDevices", [&](uint32_t* capacity, VkPhysicalDevice* items) {
        return vkEnumeratePhysicalDevices(instance_, capacity, items);
      });
}

size_t choose_device(const std::vector<VulkanDeviceInfo>& devices, std::string_view wanted) {
  const auto chosen = [&](size_t i) {
    if (!devices[i].why_not.empty())
      throw Error(ErrorCode::kUnsupported, fmt::format("Vulkan device {} ({}) cannot be used: {}",
                                                       i, devices[i].name, devices[i].why_not));
    return i;
  };
  if (wanted.empty()) {
    const auto best = std::max_element(
        devices.begin(), devices.end(),
        [](const VulkanDeviceInfo& a, const VulkanDeviceInfo& b) { return rank(a) < rank(b); });
    if (best != devices.end() && rank(*best) > 0)
      return static_cast<size_t>(best - devices.begin());
    throw Error(ErrorCode::kNotFound,
                fmt::format("no usable hardware Vulkan device (there is: {}); name one with "
                            "--device vulkan:N to use it anyway, or use --device cpu",
                            list_names(devices)));
  }
  if (std::all_of(wanted.begin(), wanted.end(), [](unsigned char c) { return std::isdigit(c); })) {
    for (size_t i = 0; i < devices.size(); ++i)
      if (std::to_string(devices[i].index) == wanted) return chosen(i);
  } else {
    for (size_t i = 0; i < devices.size(); ++i)
      if (lower(devices[i].name).find(lower(wanted)) != std::string::npos) return chosen(i);
  }
  throw Error(ErrorCode::kNotFound,
              fmt::format("no Vulkan device '{}'; there is: {}", wanted, list_names(devices)));
}

Device::Device(std::string_view wanted, bool validate)
    : instance_(std::make_unique<Instance>(validate)) {
  const std::vector<VkPhysicalDevice> physical = instance_->physical_devices();
  std::vector<VulkanDeviceInfo> infos;
  for (size_t i = 0; i < physical.size(); ++i)
    infos.push_back(describe(instance_->handle(), physical[i], static_cast<uint32_t>(i)));
  const size_t index = choose_device(infos, wanted);
  physical_ = physical[index];
  info_ = infos[index];
  create();
}

void Device::create() {
  queue_family_ = choose_queue_family(physical_);
  const float priority = 1;
  VkDeviceQueueCreateInfo queue{};
  queue.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
  queue.queueFamilyIndex = queue_family_;
  queue.queueCount = 1;
  queue.pQueuePriorities = &priority;

  FeatureChain features = wanted_features(info_);
  const std::vector<const char*> extensions = wanted_extensions(info_);
  VkDeviceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
  info.pNext = features.link();
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queue;
  info.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
  info.ppEnabledExtensionNames = extensions.data();
  VK_TRY(vkCreateDevice(physical_, &info, nullptr, &device_));
  vkGetDeviceQueue(device_, queue_family_, 0, &queue_);
}

Device::~Device() {
  if (device_ == VK_NULL_HANDLE) return;
  vkDeviceWaitIdle(device_);
  vkDestroyDevice(device_, nullptr);
}

std::string Device::cache_key() const {
  VkPhysicalDeviceProperties properties;
  vkGetPhysicalDeviceProperties(physical_, &properties);
  std::string key = fmt::format("{:x}-{:x}-{:x}-", properties.vendorID, properties.deviceID,
                                properties.driverVersion);
  for (const uint8_t byte : properties.pipelineCacheUUID) key += fmt::format("{:02x}", byte);
  return key;
}

}  // namespace tandem::vulkan

// Device detection and the logical device: which GPUs there are, whether they can run the engine,
// and one of them opened with a queue. Memory is in memory.h.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "vulkan/api.h"
#include "vulkan/device_info.h"

namespace tandem::vulkan {

// Messages of the validation layers, collected from any thread.
class ValidationLog {
 public:
  void add(std::string message);
  std::vector<std::string> messages() const;

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> messages_;
};

// A VkInstance, with the Khronos validation layer (core and synchronisation checks) when asked.
class Instance {
 public:
  explicit Instance(bool validate);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  VkInstance handle() const { return instance_; }
  ValidationLog& validation() { return validation_; }
  std::vector<VkPhysicalDevice> physical_devices() const;

 private:
  VkInstance instance_ = VK_NULL_HANDLE;
  VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
  ValidationLog validation_;
};

// Everything a physical device says of itself; `why_not` names the first needed feature it lacks.
VulkanDeviceInfo describe(VkInstance instance, VkPhysicalDevice physical, uint32_t index);

// Chooses by number ("1"), by part of the name (any case), or the best usable hardware device for
// "". Software devices are chosen only by name or number. Throws kNotFound with the devices there
// are, kUnsupported when the named one cannot run the engine.
size_t choose_device(const std::vector<VulkanDeviceInfo>& devices, std::string_view wanted);

// An open device with one compute queue. Created and used on one thread, except wait().
class Device {
 public:
  // `wanted` as choose_device() takes it.
  Device(std::string_view wanted, bool validate);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const VulkanDeviceInfo& info() const { return info_; }
  VkDevice handle() const { return device_; }
  VkPhysicalDevice physical() const { return physical_; }
  VkQueue queue() const { return queue_; }
  uint32_t queue_family() const { return queue_family_; }
  // Messages so far; empty without validation.
  std::vector<std::string> validation_messages() const {
    return instance_->validation().messages();
  }

  // Identifies device and driver for the pipeline cache, in hexadecimal.
  std::string cache_key() const;

 private:
  void create();

  std::unique_ptr<Instance> instance_;
  VkPhysicalDevice physical_ = VK_NULL_HANDLE;
  VkDevice device_ = VK_NULL_HANDLE;
  VkQueue queue_ = VK_NULL_HANDLE;
  uint32_t queue_family_ = 0;
  VulkanDeviceInfo info_;
};

}  // namespace tandem::vulkan

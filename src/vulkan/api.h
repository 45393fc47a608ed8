// The Vulkan API: loader, checked calls, names of results. The only header that includes Vulkan.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <volk.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace tandem::vulkan {

std::string_view result_name(VkResult result);

// Throws Error for a VkResult other than VK_SUCCESS: kDeviceLost, kOutOfMemory or kInternal.
// `call` is the source text of the call.
void check_result(VkResult result, std::string_view call);

// Every call that returns a VkResult goes through this, in release builds too.
#define VK_TRY(call) ::tandem::vulkan::check_result((call), #call)

// The two-call idiom: the number of items first, then the items. `name` is the function's.
template <typename T, typename Call>
std::vector<T> enumerate(std::string_view name, Call&& call) {
  uint32_t count = 0;
  check_result(call(&count, nullptr), name);
  std::vector<T> items(count);
  check_result(call(&count, items.data()), name);
  items.resize(count);
  return items;
}

// Opens the Vulkan loader at the first call. Throws kNotFound when the machine has none.
void open_loader();

// What the headers of Vulkan 1.3.239 (Debian 12) do not know of VK_KHR_cooperative_matrix. Values
// and layouts: the Vulkan registry, vk.xml.
inline constexpr auto kStructureCooperativeMatrixFeatures =
    static_cast<VkStructureType>(1000506000);
inline constexpr auto kStructureCooperativeMatrixProperties =
    static_cast<VkStructureType>(1000506001);

struct CooperativeMatrixFeatures {
  VkStructureType sType = kStructureCooperativeMatrixFeatures;
  void* pNext = nullptr;
  VkBool32 cooperativeMatrix = VK_FALSE;
  VkBool32 cooperativeMatrixRobustBufferAccess = VK_FALSE;
};

enum class ComponentType : uint32_t { kF16 = 0, kF32 = 1, kF64 = 2, kI8 = 3, kI32 = 5, kU8 = 7 };
inline constexpr uint32_t kScopeSubgroup = 3;

struct CooperativeMatrixProperties {
  VkStructureType sType = kStructureCooperativeMatrixProperties;
  void* pNext = nullptr;
  uint32_t m = 0, n = 0, k = 0;
  ComponentType a{}, b{}, c{}, result{};
  VkBool32 saturating = VK_FALSE;
  uint32_t scope = 0;
};

}  // namespace tandem::vulkan

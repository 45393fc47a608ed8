// Which ops the Vulkan backend runs, and why not the others.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend/backend.h"
#include "vulkan/device_info.h"

namespace tandem::vulkan {

Support supports_op(const VulkanDeviceInfo& device, const OpSpec& spec);

}  // namespace tandem::vulkan

// Reads a SPIR-V module's interface: what a caller must supply, so that a mismatch between a
// shader and its C++ side is found when the pipeline is made.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tandem::vulkan {

struct ShaderInterface {
  uint32_t push_constant_size = 0;
  std::vector<uint32_t> constant_ids;          // specialisation constants, ascending
  std::array<uint32_t, 3> workgroup{1, 1, 1};  // defaults where set by constants
  uint32_t shared_size = 0;                    // bytes of shared variables, at the defaults
};

// Throws kInvalidFile for words that are no SPIR-V module of one compute entry point named main.
ShaderInterface read_interface(std::span<const uint32_t> words);

}  // namespace tandem::vulkan

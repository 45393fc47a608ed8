// The shader modules embedded at build time; shaders/variants.cmake lists them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace tandem::vulkan {

struct ShaderModule {
  std::string_view name;
  std::span<const uint32_t> words;
};

std::span<const ShaderModule> shader_modules();

// Throws kInternal when there is none of that name.
const ShaderModule& find_shader_module(std::string_view name);

// Of all modules' words: part of the pipeline cache's key.
uint64_t shader_hash();

}  // namespace tandem::vulkan

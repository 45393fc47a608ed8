// SPDX-License-Identifier: Apache-2.0
#include "vulkan/shader_modules.h"

#include <fmt/format.h>

#include "base/error.h"

namespace tandem::vulkan {
namespace {

#include "shaders/modules.inc"

}  // namespace

std::span<const ShaderModule> shader_modules() { return kModules; }

const ShaderModule& find_shader_module(std::string_view name) {
  for (const ShaderModule& module : kModules)
    if (module.name == name) return module;
  throw Error(ErrorCode::kInternal, fmt::format("this build has no shader {}", name));
}

// FNV-1a over words.
uint64_t shader_hash() {
  uint64_t hash = 0xcbf29ce484222325;
  for (const ShaderModule& module : kModules)
    for (const uint32_t word : module.words) hash = (hash ^ word) * 0x100000001b3;
  return hash;
}

}  // namespace tandem::vulkan

// SPDX-License-Identifier: Apache-2.0
#include "vulkan/pipeline.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <system_error>

#include "base/env.h"
#include "base/error.h"
#include "base/log.h"
#include "vulkan/shader_modules.h"
#include "vulkan/spirv.h"

namespace tandem::vulkan {
namespace {

void check_spec(const PipelineSpec& spec, const ShaderInterface& shader) {
  if (shader.push_constant_size != spec.push_constant_size)
    throw Error(ErrorCode::kInternal,
                fmt::format("shader {} takes {} bytes of push constants and {} are given",
                            spec.module, shader.push_constant_size, spec.push_constant_size));
  // A constant that a variant does not use is gone from its module, so only the other way counts.
  for (const uint32_t id : shader.constant_ids)
    if (std::none_of(spec.constants.begin(), spec.constants.end(),
                     [&](const SpecConstant& constant) { return constant.id == id; }))
      throw Error(ErrorCode::kInternal,
                  fmt::format("shader {} needs specialisation constant {}", spec.module, id));
}

VkPipelineLayout create_layout(VkDevice device, uint32_t push_constant_size) {
  const VkPushConstantRange range{VK_SHADER_STAGE_COMPUTE_BIT, 0, push_constant_size};
  VkPipelineLayoutCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
  info.pushConstantRangeCount = push_constant_size > 0 ? 1 : 0;
  info.pPushConstantRanges = &range;
  VkPipelineLayout layout = VK_NULL_HANDLE;
  VK_TRY(vkCreatePipelineLayout(device, &info, nullptr, &layout));
  return layout;
}

// The words of a module for the time of one pipeline's creation.
class ScopedModule {
 public:
  ScopedModule(VkDevice device, std::span<const uint32_t> words) : device_(device) {
    VkShaderModuleCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
    info.codeSize = words.size_bytes();
    info.pCode = words.data();
    VK_TRY(vkCreateShaderModule(device, &info, nullptr, &module_));
  }
  ~ScopedModule() { vkDestroyShaderModule(device_, module_, nullptr); }
  ScopedModule(const ScopedModule&) = delete;
  ScopedModule& operator=(const ScopedModule&) = delete;
  VkShaderModule handle() const { return module_; }

 private:
  VkDevice device_;
  VkShaderModule module_ = VK_NULL_HANDLE;
};

std::vector<char> read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace

std::string PipelineSpec::key() const {
  std::string key(module);
  for (const SpecConstant& constant : constants)
    key += fmt::format(" {}={}", constant.id, constant.value);
  if (subgroup_size != 0) key += fmt::format(" subgroup={}", subgroup_size);
  return key;
}

std::filesystem::path pipeline_cache_folder() {
  if (const auto folder = env("TANDEM_PIPELINE_CACHE"))
    return *folder == "off" ? std::filesystem::path() : std::filesystem::path(*folder);
  if (const auto cache = foreign_env("XDG_CACHE_HOME"))
    return std::filesystem::path(*cache) / "tandem";
  if (const auto home = foreign_env("HOME"))
    return std::filesystem::path(*home) / ".cache" / "tandem";
  return {};
}

PipelineCache::PipelineCache(Device& device, std::filesystem::path folder, bool capture_statistics)
    : device_(device), folder_(std::move(folder)), capture_statistics_(capture_statistics) {
  load();
}

PipelineCache::~PipelineCache() {
  save();
  for (auto& [key, pipeline] : pipelines_) {
    vkDestroyPipeline(device_.handle(), pipeline.handle, nullptr);
    vkDestroyPipelineLayout(device_.handle(), pipeline.layout, nullptr);
  }
  vkDestroyPipelineCache(device_.handle(), cache_, nullptr);
}

std::filesystem::path PipelineCache::file() const {
  return folder_ / fmt::format("pipelines-{}-{:016x}.bin", device_.cache_key(), shader_hash());
}

void PipelineCache::load() {
  const std::vector<char> bytes = folder_.empty() ? std::vector<char>{} : read_file(file());
  VkPipelineCacheCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
  info.initialDataSize = bytes.size();
  info.pInitialData = bytes.data();
  VK_TRY(vkCreatePipelineCache(device_.handle(), &info, nullptr, &cache_));
}

void PipelineCache::save() noexcept {
  if (folder_.empty() || !changed_) return;
  try {
    size_t size = 0;
    VK_TRY(vkGetPipelineCacheData(device_.handle(), cache_, &size, nullptr));
    std::vector<char> bytes(size);
    VK_TRY(vkGetPipelineCacheData(device_.handle(), cache_, &size, bytes.data()));
    std::filesystem::create_directories(folder_);
    // Written aside and renamed, so that a reader never sees half a file.
    const std::filesystem::path temporary = file().string() + fmt::format(".{}", getpid());
    std::ofstream out(temporary, std::ios::binary);
    out.write(bytes.data(), static_cast<std::streamsize>(size));
    out.close();
    if (!out) throw Error(ErrorCode::kInternal, "cannot write " + temporary.string());
    std::filesystem::rename(temporary, file());
    changed_ = false;
  } catch (const std::exception& error) {
    log(LogLevel::kInfo, fmt::format("GPU pipelines are not kept on disk: {}", error.what()));
  }
}

const Pipeline& PipelineCache::get(const PipelineSpec& spec) {
  const std::string key = spec.key();
  if (const auto found = pipelines_.find(key); found != pipelines_.end()) return found->second;

  const ShaderModule& module = find_shader_module(spec.module);
  check_spec(spec, read_interface(module.words));
  std::vector<VkSpecializationMapEntry> entries;
  std::vector<uint32_t> values;
  for (const SpecConstant& constant : spec.constants) {
    entries.push_back({constant.id, static_cast<uint32_t>(values.size() * 4), 4});
    values.push_back(constant.value);
  }
  const VkSpecializationInfo specialization{static_cast<uint32_t>(entries.size()), entries.data(),
                                            values.size() * 4, values.data()};
  const ScopedModule scoped(device_.handle(), module.words);
  VkPipelineShaderStageRequiredSubgroupSizeCreateInfo subgroup{};
  subgroup.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO;
  subgroup.requiredSubgroupSize = spec.subgroup_size;

  Pipeline pipeline;
  pipeline.name = key;
  pipeline.push_constant_size = spec.push_constant_size;
  pipeline.layout = create_layout(device_.handle(), spec.push_constant_size);
  VkComputePipelineCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
  if (capture_statistics_)
    info.flags = VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR |
                 VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR;
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  if (spec.subgroup_size != 0) info.stage.pNext = &subgroup;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = scoped.handle();
  info.stage.pName = "main";
  info.stage.pSpecializationInfo = &specialization;
  info.layout = pipeline.layout;
  const VkResult result =
      vkCreateComputePipelines(device_.handle(), cache_, 1, &info, nullptr, &pipeline.handle);
  if (result != VK_SUCCESS) vkDestroyPipelineLayout(device_.handle(), pipeline.layout, nullptr);
  check_result(result, "vkCreateComputePipelines");
  changed_ = true;
  return pipelines_.emplace(key, pipeline).first->second;
}

}  // namespace tandem::vulkan

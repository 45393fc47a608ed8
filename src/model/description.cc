// SPDX-License-Identifier: Apache-2.0
#include "model/description.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <string_view>

namespace tandem {
namespace {

struct FileType {
  uint32_t number;  // general.file_type: llama.cpp's enum llama_ftype
  DType dtype;      // of most of its matrices
  std::string_view name;
};
// Of the variants of a type the usual one comes first: it names files that do not say.
constexpr std::array kFileTypes = {
    FileType{0, DType::kF32, "all F32"},       FileType{1, DType::kF16, "F16"},
    FileType{2, DType::kQ4_0, "Q4_0"},         FileType{3, DType::kQ4_1, "Q4_1"},
    FileType{7, DType::kQ8_0, "Q8_0"},         FileType{8, DType::kQ5_0, "Q5_0"},
    FileType{9, DType::kQ5_1, "Q5_1"},         FileType{15, DType::kQ4K, "Q4_K - Medium"},
    FileType{14, DType::kQ4K, "Q4_K - Small"}, FileType{17, DType::kQ5K, "Q5_K - Medium"},
    FileType{16, DType::kQ5K, "Q5_K - Small"}, FileType{18, DType::kQ6K, "Q6_K"},
    FileType{32, DType::kBF16, "BF16"},
};

std::string size_name(const ModelConfig& config) {
  const LayerConfig& layer = config.common();
  for (const PublishedSize& size : published_sizes()) {
    if (config.layers.size() != size.shape.layers || layer.hidden != size.shape.hidden ||
        layer.ffn != size.shape.ffn || layer.heads != size.shape.heads)
      continue;
    std::string name(size.name);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return name;
  }
  return "?B";
}

std::string file_type_name(const GgufFile& file) {
  if (const auto number = file.get_unsigned("general.file_type")) {
    const auto* row = std::find_if(kFileTypes.begin(), kFileTypes.end(),
                                   [&](const FileType& t) { return t.number == *number; });
    return row == kFileTypes.end() ? "unknown type" : std::string(row->name);
  }
  std::map<DType, size_t> counts;
  for (const GgufTensor& tensor : file.tensors())
    if (tensor.dims[1] > 1) ++counts[tensor.dtype];
  const auto most =
      std::max_element(counts.begin(), counts.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  for (const FileType& type : kFileTypes)
    if (most != counts.end() && type.dtype == most->first)
      return fmt::format("{} (guessed)", type.name);
  return "unknown type";
}

}  // namespace

std::string describe_model(const GgufFile& file, const ModelConfig& config) {
  return fmt::format("gemma3 {} {}", size_name(config), file_type_name(file));
}

}  // namespace tandem

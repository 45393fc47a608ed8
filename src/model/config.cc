// SPDX-License-Identifier: Apache-2.0
#include "model/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <optional>

#include "base/error.h"

namespace tandem {
namespace {

constexpr std::array kPublishedSizes = {
    PublishedSize{"270m", {18, 640, 2048, 4, 1, 256, 512, 32768, 1.0f}, 256},
    PublishedSize{"1b", {26, 1152, 6912, 4, 1, 256, 512, 32768, 1.0f}, 256},
    PublishedSize{"4b", {34, 2560, 10240, 8, 4, 256, 1024, 131072, 8.0f}, 256},
    PublishedSize{"12b", {48, 3840, 15360, 16, 8, 256, 1024, 131072, 8.0f}, 256},
    PublishedSize{"27b", {62, 5376, 21504, 32, 16, 128, 1024, 131072, 8.0f}, 168},
};

constexpr uint32_t kGlobalEvery = 6;  // layer i is global iff (i + 1) % 6 == 0
constexpr float kNormEpsilon = 1e-6f;
constexpr float kRopeBaseGlobal = 1e6f;
constexpr float kRopeBaseLocal = 1e4f;
constexpr uint32_t kScaledContext = 131072;  // models trained this long scale RoPE by 8
constexpr float kScaledFactor = 8.0f;
// The file format does not carry query_pre_attn_scalar. It is the head size in every published
// model but the one of 62 layers, where it is hidden / heads (llama.cpp decides the same way).
constexpr uint32_t kLayersScaledByHidden = 62;

// Bounds that no Gemma 3 approaches; they keep products of two within 64 bits.
constexpr uint64_t kMaxLayers = 1024, kMaxWidth = 1u << 20, kMaxContext = 1u << 24;

// Reads "gemma3.KEY" values with the file's name in every message.
class MetadataReader {
 public:
  explicit MetadataReader(const GgufFile& file) : file_(file) {}

  uint32_t required(std::string_view key, uint64_t max) const {
    const auto value = optional(key, max);
    if (!value) fail(key, "is missing; the file is incomplete, convert it again");
    return *value;
  }
  std::optional<uint32_t> optional(std::string_view key, uint64_t max) const {
    const auto value = file_.get_unsigned(full(key));
    if (!value) return std::nullopt;
    if (*value == 0 || *value > max) fail(key, fmt::format("is {}, expected 1 to {}", *value, max));
    return static_cast<uint32_t>(*value);
  }
  // A positive finite number under the first of `keys` that is present.
  float number(std::initializer_list<std::string_view> keys, float fallback) const {
    for (std::string_view key : keys) {
      const auto value = file_.get_number(full(key));
      if (!value) continue;
      if (!std::isfinite(*value) || *value <= 0 || *value > 1e12)
        fail(key, fmt::format("is {}, expected a positive number", *value));
      return static_cast<float>(*value);
    }
    return fallback;
  }
  [[noreturn]] void fail(std::string_view key, std::string_view problem) const {
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("{}: metadata {} {}", file_.name(), full(key), problem));
  }
  static std::string full(std::string_view key) { return "gemma3." + std::string(key); }

 private:
  const GgufFile& file_;
};

void require_gemma3(const GgufFile& file) {
  const auto architecture = file.get_string("general.architecture");
  if (!architecture)
    throw Error(
        ErrorCode::kInvalidFile,
        fmt::format("{}: metadata general.architecture is missing; this is not a model file",
                    file.name()));
  if (*architecture != "gemma3")
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format("{}: architecture '{}' is not supported; tandem runs gemma3 text models",
                    file.name(), *architecture));
}

float rope_factor(const GgufFile& file, const MetadataReader& meta, uint32_t context) {
  const auto type = file.get_string(MetadataReader::full("rope.scaling.type"));
  if (type && *type == "none") return 1.0f;
  if (type && *type != "linear")
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{}: RoPE scaling type '{}' is not supported; Gemma 3 uses linear",
                            file.name(), *type));
  return meta.number({"rope.scaling.factor"}, context >= kScaledContext ? kScaledFactor : 1.0f);
}

uint32_t embedding_rows(const GgufFile& file, uint32_t hidden) {
  const GgufTensor* table = file.find_tensor("token_embd.weight");
  if (table == nullptr)
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("{}: tensor token_embd.weight is missing; the file holds no model{}",
                            file.name(), file.tensors().empty() ? ", only a vocabulary" : ""));
  if (table->dims[0] != hidden || table->dims[1] == 0 || table->dims[1] > kMaxContext)
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("{}: tensor token_embd.weight is {} x {}, expected {} columns",
                            file.name(), table->dims[1], table->dims[0], hidden));
  return static_cast<uint32_t>(table->dims[1]);
}

// The per-layer facts that all layers share.
LayerConfig read_common(const GgufFile& file, const MetadataReader& meta, uint32_t layer_count) {
  LayerConfig c;
  c.hidden = meta.required("embedding_length", kMaxWidth);
  c.ffn = meta.required("feed_forward_length", kMaxWidth);
  c.heads = meta.required("attention.head_count", 4096);
  c.kv_heads = meta.optional("attention.head_count_kv", 4096).value_or(c.heads);
  c.head_dim = meta.optional("attention.key_length", 4096).value_or(c.hidden / c.heads);
  if (meta.optional("attention.value_length", 4096).value_or(c.head_dim) != c.head_dim)
    meta.fail("attention.value_length", "differs from key_length; Gemma 3 has one head size");
  if (c.heads % c.kv_heads != 0)
    meta.fail("attention.head_count_kv",
              fmt::format("is {}, which does not divide {} heads", c.kv_heads, c.heads));
  if (c.head_dim == 0 || c.head_dim % 2 != 0)
    meta.fail("attention.key_length",
              fmt::format("is {}; RoPE needs an even head size", c.head_dim));
  c.vocab = embedding_rows(file, c.hidden);
  c.norm_epsilon = meta.number({"attention.layer_norm_rms_epsilon"}, kNormEpsilon);
  c.embedding_scale = std::sqrt(static_cast<float>(c.hidden));
  const uint32_t scalar = layer_count == kLayersScaledByHidden ? c.hidden / c.heads : c.head_dim;
  c.attention_scale =
      meta.number({"attention.scale"}, 1.0f / std::sqrt(static_cast<float>(scalar)));
  return c;
}

// How the layers of a model differ.
struct LayerPattern {
  uint32_t window = 0, global_every = kGlobalEvery;
  float base_local = kRopeBaseLocal, base_global = kRopeBaseGlobal;
  float rope_factor = 1;  // of the global layers
};

std::vector<LayerConfig> make_layers(const LayerConfig& common, uint32_t count,
                                     const LayerPattern& pattern) {
  std::vector<LayerConfig> layers(count, common);
  for (uint32_t i = 0; i < count; ++i) {
    const bool global = (i + 1) % pattern.global_every == 0;
    layers[i].window = global ? 0 : pattern.window;
    layers[i].rope_base = global ? pattern.base_global : pattern.base_local;
    layers[i].rope_scale = global ? 1.0f / pattern.rope_factor : 1.0f;
  }
  return layers;
}

}  // namespace

std::span<const PublishedSize> published_sizes() { return kPublishedSizes; }

const PublishedSize* find_published_size(std::string_view name) {
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto* row = std::find_if(kPublishedSizes.begin(), kPublishedSizes.end(),
                                 [&](const PublishedSize& s) { return s.name == lower; });
  return row == kPublishedSizes.end() ? nullptr : row;
}

LayerConfig layer_of(const PublishedSize& size) {
  const Gemma3Shape& shape = size.shape;
  LayerConfig layer;
  layer.hidden = shape.hidden;
  layer.ffn = shape.ffn;
  layer.heads = shape.heads;
  layer.kv_heads = shape.kv_heads;
  layer.head_dim = shape.head_dim;
  layer.vocab = shape.vocab;
  layer.window = shape.window;
  layer.rope_base = kRopeBaseLocal;
  layer.attention_scale = 1.0f / std::sqrt(static_cast<float>(size.query_pre_attn_scalar));
  layer.norm_epsilon = kNormEpsilon;
  layer.embedding_scale = std::sqrt(static_cast<float>(shape.hidden));
  return layer;
}

ModelConfig config_of(const PublishedSize& size) {
  ModelConfig config;
  config.name = fmt::format("gemma 3 {}", size.name);
  config.context = size.shape.context;
  config.vocab = size.shape.vocab;
  LayerPattern pattern;
  pattern.window = size.shape.window;
  pattern.rope_factor = size.shape.rope_factor;
  config.layers = make_layers(layer_of(size), size.shape.layers, pattern);
  return config;
}

ModelConfig read_config(const GgufFile& file) {
  require_gemma3(file);
  const MetadataReader meta(file);
  ModelConfig config;
  config.name = std::string(file.get_string("general.name").value_or(file.name()));
  config.context = meta.required("context_length", kMaxContext);
  const uint32_t layer_count = meta.required("block_count", kMaxLayers);
  const LayerConfig common = read_common(file, meta, layer_count);
  config.vocab = common.vocab;

  LayerPattern pattern;
  pattern.window = meta.optional("attention.sliding_window", kMaxContext)
                       .value_or(config.context >= kScaledContext ? 1024 : 512);
  pattern.global_every =
      meta.optional("attention.sliding_window_pattern", kMaxLayers).value_or(kGlobalEvery);
  pattern.base_global = meta.number({"rope.freq_base", "rope.global.freq_base"}, kRopeBaseGlobal);
  pattern.base_local = meta.number({"rope.freq_base_swa", "rope.local.freq_base"}, kRopeBaseLocal);
  pattern.rope_factor = rope_factor(file, meta, config.context);
  config.layers = make_layers(common, layer_count, pattern);
  return config;
}

}  // namespace tandem

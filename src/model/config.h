// The hyper-parameters of one model, read from a file's metadata, and the published sizes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/op.h"
#include "gguf/gemma3_shape.h"
#include "gguf/gguf.h"

namespace tandem {

// One published Gemma 3 text model (google/gemma-3-*-it config.json; gemma.cpp configs.cc).
struct PublishedSize {
  std::string_view name;  // "270m"
  Gemma3Shape shape;
  uint32_t query_pre_attn_scalar;  // attention scale = 1 / sqrt of it
};
std::span<const PublishedSize> published_sizes();
const PublishedSize* find_published_size(std::string_view name);  // any case; nullptr if unknown

// What the first (a local) layer of a published size looks like to a device.
LayerConfig layer_of(const PublishedSize& size);

struct ModelConfig {
  std::string name;      // general.name, or the file's name
  uint32_t context = 0;  // trained context, tokens
  uint32_t vocab = 0;    // rows of the embedding
  std::vector<LayerConfig> layers;

  uint32_t hidden() const { return layers.front().hidden; }
  // For ops outside the layers (embed, head): any layer's, as they use hidden, vocab, the norm's
  // epsilon and the embedding scale only.
  const LayerConfig& common() const { return layers.front(); }
};

// What read_config() gives for a file of a published size; the name is "gemma 3 4b".
ModelConfig config_of(const PublishedSize& size);

// Throws kUnsupported for another architecture, kInvalidFile for missing, absurd or contradictory
// values. Absent optional keys get Gemma 3's published defaults; Ollama's key names are read too.
ModelConfig read_config(const GgufFile& file);

}  // namespace tandem

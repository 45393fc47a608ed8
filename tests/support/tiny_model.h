// Tiny random Gemma 3 models for tests, in a file that is removed afterwards.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdlib.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "gguf/synth.h"
#include "tensor/dtype.h"

namespace tandem {

// Six local layers and two global ones, grouped queries, a window shorter than the context and
// scaled RoPE; every row is whole super-blocks, so that any weight type fits. About 3 M weights.
inline SynthShape tiny_shape() {
  SynthShape shape;
  shape.name = "tiny";
  shape.layers = 8;
  shape.hidden = 256;
  shape.ffn = 512;
  shape.heads = 4;
  shape.kv_heads = 2;
  shape.head_dim = 64;
  shape.window = 32;
  shape.context = 512;
  shape.rope_factor = 8.0f;
  shape.vocab = 512;
  return shape;
}

// A model file in a folder of its own, for as long as the object lives.
class TinyModel {
 public:
  explicit TinyModel(DType dtype = DType::kQ4_0, const SynthShape& shape = tiny_shape(),
                     uint64_t seed = 1) {
    std::string pattern = (std::filesystem::temp_directory_path() / "tiny_model_XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    SynthOptions options;
    options.shape = shape;
    options.dtype = dtype;
    options.seed = seed;
    options.thread_count = 1;
    synthesize(options, path());
  }
  ~TinyModel() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  TinyModel(const TinyModel&) = delete;
  TinyModel& operator=(const TinyModel&) = delete;

  std::filesystem::path path() const { return folder_ / "tiny.gguf"; }
  // The folder, for files that belong to the same test.
  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
};

}  // namespace tandem

// Tiny random Gemma 3 models for tests, in a file that is removed afterwards.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/temporary_folder.h"
#include "gguf/synth.h"
#include "tensor/dtype.h"

namespace tandem {

// Six local layers and two global ones, grouped queries, a window shorter than the context and
// scaled RoPE; every row is whole super-blocks, so that any weight type fits. About 3 M weights.
inline Gemma3Shape tiny_shape() {
  Gemma3Shape shape;
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
  explicit TinyModel(DType dtype = DType::kQ4_0, const Gemma3Shape& shape = tiny_shape(),
                     uint64_t seed = 1) {
    SynthOptions options;
    options.name = "tiny";
    options.shape = shape;
    options.dtype = dtype;
    options.seed = seed;
    options.thread_count = 1;
    synthesize(options, path());
  }

  std::filesystem::path path() const { return folder_ / "tiny.gguf"; }
  // The folder, for files that belong to the same test.
  const std::filesystem::path& folder() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
};

}  // namespace tandem

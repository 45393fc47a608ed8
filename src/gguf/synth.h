// Random Gemma 3 models of any size: they time like real ones, and tests need no download.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "gguf/gemma3_shape.h"
#include "gguf/gguf.h"
#include "tensor/dtype.h"

namespace tandem {

struct SynthOptions {
  std::string name;   // general.name
  Gemma3Shape shape;  // vocab: of the placeholder vocabulary; a rope_factor of 1 is not written
  DType dtype = DType::kQ4_0;            // as a user names a model; see choose_type
  uint64_t seed = 1;                     // the same seed gives the same bytes
  const GgufFile* vocabulary = nullptr;  // its tokenizer is copied and sets the vocabulary's size
  uint32_t thread_count = 0;             // 0: one for each core
  // Called now and then, on the calling thread, with bytes of tensors; may throw to give up.
  std::function<void(uint64_t done, uint64_t total)> progress;
};

// Writes the model to `out`, which appears when complete. Activations stay of order one. Throws
// kUsage for a shape that is no model and for integer types, kInvalidFile when the vocabulary's
// file has none, and as GgufWriter does.
void synthesize(const SynthOptions& options, const std::filesystem::path& out);

}  // namespace tandem

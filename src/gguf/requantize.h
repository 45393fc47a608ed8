// Converts a model file to another element type.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "gguf/gguf.h"
#include "tensor/dtype.h"

namespace tandem {

struct RequantizeOptions {
  DType dtype = DType::kQ4_0;  // as a user names a model; see choose_type and can_requantize
  uint32_t thread_count = 0;   // 0: one for each core
  // Called now and then, on the calling thread, with bytes of the source's tensors; may throw to
  // give up.
  std::function<void(uint64_t done, uint64_t total)> progress;
};

struct RequantizedTensor {
  std::string name;
  DType from, to;
  bool converted = false;  // false: copied unchanged
  bool fell_back = false;  // the row's length does not allow the type it should have had
  // Root mean square of the values, and of the difference the conversion made; 0 when copied.
  double rms = 0.0;
  double rmse = 0.0;
};

struct RequantizeResult {
  std::vector<RequantizedTensor> tensors;    // in the file's order
  uint64_t size_before = 0, size_after = 0;  // bytes of all tensors
};

// The types requantize converts to: f32, f16, bf16, q4_0, q8_0, q4_k, q6_k.
bool can_requantize(DType dtype);

// Writes `source` to `out` with its matrices converted; norms, the vision tower and what has the
// type already are copied. Source types may be mixed and quantised themselves. Memory: a few rows
// for each thread. Throws kUsage for a type it does not write, kInvalidFile naming the tensor when
// a value is not finite or does not fit the type, and as GgufWriter does.
RequantizeResult requantize(const GgufFile& source, const std::filesystem::path& out,
                            const RequantizeOptions& options);

}  // namespace tandem

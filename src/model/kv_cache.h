// The key-value cache: one layout for all devices, a ring for local layers.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "tensor/shared_memory.h"

namespace tandem {

struct KvCacheShape {
  uint32_t context = 0;   // positions a sequence may reach
  uint32_t max_rows = 1;  // rows of one step
  uint32_t sequences = 1;
  DType dtype = DType::kF16;  // kF32, kF16 or kI8 (q8_0: int8 values, an f16 scale per 32)
};

// The cache's types by the names that users write: f32, f16, q8_0 (kI8).
inline constexpr std::string_view kKvTypeNames = "f32, f16, q8_0";
std::optional<DType> find_kv_type(std::string_view name);
std::string_view kv_type_name(DType kv);

// Bytes of one position's keys and values in the cache of a layer with so many values in each.
size_t kv_position_size(uint32_t kv_width, DType kv);

// k, v, k_scale, v_scale of one layer, as op.h describes them. Position p lies in row
// p % capacity; a local layer's capacity is window + max_rows + kRollback at most, so that a
// step's own rows never overwrite what its first row attends to.
using KvViews = std::array<TensorView, 4>;

class KvCache {
 public:
  // Positions that can be taken back (a stopped answer) without losing the window before them.
  static constexpr uint32_t kRollback = 64;

  // Throws kOutOfMemory. Pages are committed as positions are written.
  KvCache(const ModelConfig& config, const KvCacheShape& shape);

  const KvViews& layer(uint32_t index) const { return layers_[index]; }
  size_t size() const { return memory_->size(); }

  // Bytes of such a cache, without allocating it.
  static size_t size_of(const ModelConfig& config, const KvCacheShape& shape);
  static uint32_t capacity(const LayerConfig& layer, const KvCacheShape& shape);

 private:
  std::unique_ptr<SharedMemory> memory_;
  std::vector<KvViews> layers_;
};

}  // namespace tandem

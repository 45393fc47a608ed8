// SPDX-License-Identifier: Apache-2.0
#include "model/kv_cache.h"

#include <algorithm>

namespace tandem {
namespace {

constexpr uint32_t kScaleGroup = 32;  // int8 values per scale

struct KvType {
  std::string_view name;
  DType dtype;
};
constexpr std::array kKvTypes = {KvType{"f32", DType::kF32}, KvType{"f16", DType::kF16},
                                 KvType{"q8_0", DType::kI8}};

struct LayerDims {
  std::array<uint32_t, 3> values, scales;
  DType dtype;
  bool scaled;
};

LayerDims dims_of(const LayerConfig& layer, const KvCacheShape& shape) {
  const uint32_t planes = shape.sequences * layer.kv_heads;
  const uint32_t capacity = KvCache::capacity(layer, shape);
  return {{planes, capacity, layer.head_dim},
          {planes, capacity, layer.head_dim / kScaleGroup},
          shape.dtype,
          shape.dtype == DType::kI8};
}

}  // namespace

std::optional<DType> find_kv_type(std::string_view name) {
  for (const KvType& type : kKvTypes)
    if (type.name == name) return type.dtype;
  return std::nullopt;
}

std::string_view kv_type_name(DType kv) {
  for (const KvType& type : kKvTypes)
    if (type.dtype == kv) return type.name;
  return dtype_name(kv);
}

size_t kv_position_size(uint32_t kv_width, DType kv) {
  const size_t values = size_t{2} * kv_width;
  return dtype_size(kv, values) +
         (kv == DType::kI8 ? dtype_size(DType::kF16, values / kScaleGroup) : 0);
}

uint32_t KvCache::capacity(const LayerConfig& layer, const KvCacheShape& shape) {
  if (layer.window == 0) return shape.context;
  return std::min(shape.context, layer.window + shape.max_rows + kRollback);
}

size_t KvCache::size_of(const ModelConfig& config, const KvCacheShape& shape) {
  size_t total = 0;
  for (const LayerConfig& layer : config.layers) {
    const LayerDims d = dims_of(layer, shape);
    total += 2 * Arena::size_of(d.dtype, d.values);
    if (d.scaled) total += 2 * Arena::size_of(DType::kF16, d.scales);
  }
  return total;
}

KvCache::KvCache(const ModelConfig& config, const KvCacheShape& shape)
    : memory_(std::make_unique<SharedMemory>(size_of(config, shape), "key-value cache")) {
  Arena arena(*memory_);
  TensorView empty;
  empty.dims = {0, 0, 0};
  for (const LayerConfig& layer : config.layers) {
    const LayerDims d = dims_of(layer, shape);
    KvViews views;
    views[0] = arena.allocate(d.dtype, d.values);
    views[1] = arena.allocate(d.dtype, d.values);
    views[2] = d.scaled ? arena.allocate(DType::kF16, d.scales) : empty;
    views[3] = d.scaled ? arena.allocate(DType::kF16, d.scales) : empty;
    layers_.push_back(views);
  }
}

}  // namespace tandem

// SPDX-License-Identifier: Apache-2.0
#include "hybrid/cache_owners.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "hybrid/plan.h"

namespace tandem {
namespace {

constexpr uint32_t kHostBit = 1u << kMaxPlanDevices;
constexpr uint32_t kEverybody = UINT32_MAX;

}  // namespace

CacheOwners::CacheOwners(const ModelConfig& config, const KvCache& cache,
                         std::span<Backend* const> devices, uint32_t sequences)
    : config_(config),
      cache_(cache),
      devices_(devices.begin(), devices.end()),
      sequences_(sequences),
      holders_(config.layers.size() * sequences, kEverybody) {
  TANDEM_CHECK(devices.size() <= kMaxPlanDevices, "%zu devices", devices.size());
}

// The planes of a sequence follow one another: rows in use are one range where planes are full.
void CacheOwners::list_ranges(uint32_t layer, const SequenceExtent& extent) {
  ranges_.clear();
  const uint32_t planes = config_.layers[layer].kv_heads;
  for (const TensorView& view : cache_.layer(layer)) {
    if (view.element_count() == 0) continue;
    const uint32_t rows = std::min(extent.first, view.rows());
    const size_t start = view.offset + size_t{extent.sequence} * planes * view.strides[0];
    if (rows == view.rows()) {
      ranges_.push_back({start, planes * view.strides[0]});
      continue;
    }
    for (uint32_t plane = 0; plane < planes; ++plane)
      ranges_.push_back({start + plane * view.strides[0], rows * view.strides[1]});
  }
}

void CacheOwners::move(uint32_t layer, Access access, uint32_t device, DeviceUse& use) {
  Import& import = cache_.layer(layer)[0].memory->import_for(*devices_[device]);
  for (const Range& range : ranges_) {
    if (access == Access::kRead)
      import.acquire(access, range.offset, range.size);
    else
      import.release(access, range.offset, range.size);
    if (import.zero_copy()) continue;
    ++use.staged_copies;
    use.staged_bytes += range.size;
  }
}

void CacheOwners::hand_over(uint32_t layer, const SequenceExtent& extent, uint32_t device,
                            DeviceUse& use) {
  uint32_t& holders = holders_[size_t{layer} * sequences_ + extent.sequence];
  const uint32_t bit = 1u << device;
  if ((holders & bit) == 0 && extent.first > 0) {
    list_ranges(layer, extent);
    if ((holders & kHostBit) == 0)
      move(layer, Access::kWrite, static_cast<uint32_t>(std::countr_zero(holders)), use);
    move(layer, Access::kRead, device, use);
    ++use.edges;
    for (const Range& range : ranges_) use.edge_bytes += range.size;
  }
  holders = bit;
}

}  // namespace tandem

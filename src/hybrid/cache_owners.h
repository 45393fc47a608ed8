// Which devices hold the current rows of the key-value cache, by layer and sequence.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "hybrid/counters.h"
#include "hybrid/slot.h"
#include "model/kv_cache.h"

namespace tandem {

// Not thread-safe, and only while no device works: it moves memory of two devices.
class CacheOwners {
 public:
  // All outlive it. At most kMaxPlanDevices.
  CacheOwners(const ModelConfig& config, const KvCache& cache, std::span<Backend* const> devices,
              uint32_t sequences);

  // Makes what the cache holds of a sequence before position `extent.first` visible to the device
  // that is about to read it and to write the positions after. Copies where it must, and no more
  // than the rows in use. Memory that nobody has written yet belongs to everybody.
  void hand_over(uint32_t layer, const SequenceExtent& extent, uint32_t device, DeviceUse& use);

 private:
  struct Range {
    size_t offset, size;
  };
  void list_ranges(uint32_t layer, const SequenceExtent& extent);
  void move(uint32_t layer, Access access, uint32_t device, DeviceUse& use);

  const ModelConfig& config_;
  const KvCache& cache_;
  std::vector<Backend*> devices_;
  uint32_t sequences_;
  std::vector<uint32_t>
      holders_;                // per layer and sequence: a bit per device, the top one the host's
  std::vector<Range> ranges_;  // of the hand-over under way
};

}  // namespace tandem

// What a design uses of each tile, counted as its FIFOs and buffers are declared and checked
// against the geometry before the text leaves.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "npu/designs/designs.h"
#include "npu/geometry.h"

namespace tandem::npu {

struct TileIndex {
  uint32_t column = 0, row = 0;
  friend auto operator<=>(const TileIndex&, const TileIndex&) = default;
};

struct TileUse {
  uint64_t memory = 0;  // bytes
  uint64_t channels_in = 0, channels_out = 0;
  uint64_t descriptors = 0, locks = 0;
};

class Budget {
 public:
  explicit Budget(const Geometry& geometry) : geometry_(geometry) {}

  TileUse& at(TileIndex tile) { return use_[tile]; }

  // One end of an object FIFO on a core: `depth` objects of `size` bytes, a descriptor each, a pair
  // of locks and a channel.
  void add_core_end(TileIndex tile, bool produces, uint32_t depth, uint64_t size);
  // A shim end: a channel and a pair of locks; its descriptors come from the sequence.
  void add_shim_end(TileIndex tile, bool produces);
  // A link on a mem tile: `depth` objects of `size` bytes between one channel on one side and
  // `branches` on the other, each branch with its own locks and descriptors.
  void add_link(TileIndex tile, bool joins, uint32_t branches, uint32_t depth, uint64_t size);

  // The fullest tile of each kind, resource by resource. Throws kUnsupported when any is over.
  std::vector<BudgetLine> lines() const;

 private:
  const Geometry& geometry_;
  std::map<TileIndex, TileUse> use_;
};

// As comment lines for the head of a design.
std::string to_comment(const std::vector<BudgetLine>& lines);

}  // namespace tandem::npu

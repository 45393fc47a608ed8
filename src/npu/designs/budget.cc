// Counting and checking of budget.h, by the lowering rules of object FIFOs.
// SPDX-License-Identifier: Apache-2.0
#include "npu/designs/budget.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace tandem::npu {
namespace {

constexpr uint32_t kLocksPerPool = 2;  // free and filled

std::string_view name_of(TileKind kind) {
  return kind == TileKind::kShim ? "shim" : kind == TileKind::kMem ? "mem" : "core";
}

}  // namespace

void Budget::add_core_end(TileIndex tile, bool produces, uint32_t depth, uint64_t size) {
  TileUse& use = at(tile);
  use.memory += depth * size;
  use.descriptors += depth;
  use.locks += kLocksPerPool;
  (produces ? use.channels_out : use.channels_in) += 1;
}

void Budget::add_shim_end(TileIndex tile, bool produces) {
  TileUse& use = at(tile);
  use.locks += kLocksPerPool;
  (produces ? use.channels_out : use.channels_in) += 1;
}

void Budget::add_link(TileIndex tile, bool joins, uint32_t branches, uint32_t depth,
                      uint64_t size) {
  TileUse& use = at(tile);
  use.memory += depth * size;
  use.descriptors += uint64_t{2} * depth * branches;
  use.locks += kLocksPerPool * branches;
  use.channels_in += joins ? branches : 1;
  use.channels_out += joins ? 1 : branches;
}

std::vector<BudgetLine> Budget::lines() const {
  std::vector<BudgetLine> lines;
  for (const TileKind kind : {TileKind::kShim, TileKind::kMem, TileKind::kCore}) {
    TileUse most;
    for (const auto& [tile, use] : use_) {
      if (geometry_.kind_of_row(tile.row) != kind) continue;
      most.memory = std::max(most.memory, use.memory);
      most.channels_in = std::max(most.channels_in, use.channels_in);
      most.channels_out = std::max(most.channels_out, use.channels_out);
      most.descriptors = std::max(most.descriptors, use.descriptors);
      most.locks = std::max(most.locks, use.locks);
    }
    const TileGeometry& limit = geometry_.tile(kind);
    const std::string tile(name_of(kind));
    if (limit.memory > 0) lines.push_back({tile, "bytes of memory", most.memory, limit.memory});
    lines.push_back({tile, "channels in", most.channels_in, limit.channels});
    lines.push_back({tile, "channels out", most.channels_out, limit.channels});
    lines.push_back({tile, "descriptors", most.descriptors, limit.descriptors});
    lines.push_back({tile, "locks", most.locks, limit.locks});
  }
  for (const BudgetLine& line : lines)
    if (line.used > line.limit)
      throw Error(
          ErrorCode::kUnsupported,
          fmt::format("the design needs {} {} of a {} tile, {} has {}: choose smaller tiles",
                      line.used, line.resource, line.tile, geometry_.name, line.limit));
  return lines;
}

std::string to_comment(const std::vector<BudgetLine>& lines) {
  std::string text = "// fullest tile   resource           used    limit\n";
  for (const BudgetLine& line : lines)
    text += fmt::format("//   {:<12} {:<16} {:>7}  {:>7}\n", line.tile, line.resource, line.used,
                        line.limit);
  return text;
}

}  // namespace tandem::npu

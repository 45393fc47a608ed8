// The descriptor ring of one end of an object FIFO; see object_fifo.h.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "npu/aie_text/object_fifo.h"

namespace tandem::npu {
namespace {

// Where a branch of a join or distribute lies in the joined object, in its elements.
struct Span {
  int64_t offset = 0;
  int64_t length = 0;
};

Span branch_span(const DeviceLowering& lowering, const FifoLink& link, int64_t total, int branch) {
  const auto& offsets = link.is_join() ? link.input_offsets : link.output_offsets;
  const auto index = static_cast<size_t>(branch);
  const int64_t end = index + 1 < offsets.size() ? offsets[index + 1] : total;
  if (offsets[index] < 0 || end <= offsets[index] || end > total)
    lowering.fail(link.location, fmt::format("offset {} of a link must lie below the next one and "
                                             "inside the object of {} elements",
                                             offsets[index], total));
  return {offsets[index], end - offsets[index]};
}

class ChainMaker {
 public:
  ChainMaker(const DeviceLowering& lowering, const FifoTable& table, int pool)
      : lowering_(lowering),
        table_(table),
        pool_(table.pools[static_cast<size_t>(pool)]),
        fifo_(table.fifos[static_cast<size_t>(pool_.fifo)]),
        owner_(pool_.link < 0 ? pool : table.links[static_cast<size_t>(pool_.link)].owner_pool),
        owns_(owner_ == pool) {}

  DmaChain make() {
    DmaChain chain;
    chain.tile = pool_.tile;
    chain.direction = direction();
    chain.channel = pool_.channel;
    chain.location = fifo_.operation->location;
    const FifoPool& owner = table_.pools[static_cast<size_t>(owner_)];
    const int repeats = pool_.consumer < 0 ? fifo_.repeat_count.value_or(1) : 1;
    // The whole object of a join or distribute moves branch by branch, each with its own locks.
    const bool branches = link() != nullptr && (link()->is_join() || link()->is_distribute());
    const size_t count = !branches           ? 1
                         : link()->is_join() ? link()->inputs.size()
                                             : link()->outputs.size();
    const int parts = owns_ ? static_cast<int>(count) : 1;
    for (const int buffer : owner.buffers)
      for (int r = 0; r < repeats; ++r)
        for (int part = 0; part < parts; ++part)
          chain.blocks.push_back(block(owner, buffer, branches, owns_ ? part : pool_.branch));
    for (size_t i = 0; i < chain.blocks.size(); ++i)
      chain.blocks[i].next = static_cast<int>((i + 1) % chain.blocks.size());
    if (fifo_.iteration_count && lowering_.kind(pool_.tile) == TileKind::kMem) {
      chain.repeat_count = *fifo_.iteration_count - 1;
      chain.blocks.back().next = -1;
    }
    return chain;
  }

 private:
  DmaDirection direction() const {
    return pool_.consumer < 0 ? DmaDirection::kMM2S : DmaDirection::kS2MM;
  }
  const FifoLink* link() const {
    return pool_.link < 0 ? nullptr : &table_.links[static_cast<size_t>(pool_.link)];
  }

  DmaBlock block(const FifoPool& owner, int buffer, bool branches, int branch) const {
    const ObjectFifo& owning = table_.fifos[static_cast<size_t>(owner.fifo)];
    DmaBlock made;
    made.buffer = buffer;
    made.element_bits = owning.element.scalar.bits;
    made.buffer_elements =
        int64_t{lowering_.out.buffers[static_cast<size_t>(buffer)].size} * 8 / made.element_bits;
    made.length = fifo_.element.byte_count() * 8 / made.element_bits;
    made.location = fifo_.operation->location;
    if (branches) {
      const Span span = branch_span(lowering_, *link(), owning.element.element_count(), branch);
      made.offset = span.offset;
      made.length = span.length;
    } else if (!owns_ && owning.element.element_count() >= made.length) {
      made.length = owning.element.element_count();
    }
    if (pool_.consumer < 0) {
      made.dimensions = fifo_.to_stream;
      made.padding = fifo_.padding;
    } else {
      made.dimensions = fifo_.from_stream[static_cast<size_t>(pool_.consumer)];
    }
    set_locks(owner, branches ? branch : 0, made);
    return made;
  }

  void set_locks(const FifoPool& owner, int pair, DmaBlock& made) const {
    if (owner.locks.empty()) return;
    int count = 1;
    // What fills an object that is sent several times makes all its turns available at once.
    if (link() != nullptr && pool_.consumer >= 0)
      for (const int output : link()->outputs)
        if (const auto repeat = table_.fifos[static_cast<size_t>(output)].repeat_count)
          count = *repeat;
    const auto [produced, consumed] = owner.locks[static_cast<size_t>(pair)];
    const bool fills = direction() == DmaDirection::kS2MM;
    made.acquire = {fills ? produced : consumed, count, true};
    made.release = {fills ? consumed : produced, count, false};
  }

  const DeviceLowering& lowering_;
  const FifoTable& table_;
  const FifoPool& pool_;
  const ObjectFifo& fifo_;
  int owner_;
  bool owns_;
};

}  // namespace

DmaChain make_fifo_chain(const DeviceLowering& lowering, const FifoTable& table, int pool) {
  return ChainMaker(lowering, table, pool).make();
}

}  // namespace tandem::npu

// Object FIFOs become buffers, locks, descriptor rings and routes, by the rules of mlir-aie's
// objectFifo-stateful-transform: shared memory where one consumer can reach the producer's tile,
// otherwise a pool and a DMA channel at each end.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "npu/aie_text/object_fifo.h"

namespace tandem::npu {
namespace {

bool needs_dma(const DeviceLowering& lowering, const ObjectFifo& fifo) {
  if (fifo.via_dma || fifo.repeat_count || fifo.consumers.size() != 1 || !fifo.to_stream.empty() ||
      !fifo.from_stream[0].empty())
    return true;
  if (fifo.link_as_input >= 0 || fifo.link_as_output >= 0) return true;
  return !shares_memory(lowering, fifo.producer, fifo.consumers[0]) &&
         !shares_memory(lowering, fifo.consumers[0], fifo.producer);
}

// Where a FIFO in shared memory lives: the delegate, else the producer's tile when the consumer
// reaches it, else the consumer's.
TileCoordinate shared_home(const DeviceLowering& lowering, const ObjectFifo& fifo) {
  if (fifo.delegate) {
    if (!shares_memory(lowering, fifo.producer, *fifo.delegate) ||
        !shares_memory(lowering, fifo.consumers[0], *fifo.delegate))
      lowering.fail(fifo.operation->location,
                    fmt::format("both ends of '@{}' must reach the memory of tile {}", fifo.name,
                                to_text(*fifo.delegate)));
    return *fifo.delegate;
  }
  return shares_memory(lowering, fifo.consumers[0], fifo.producer) ? fifo.producer
                                                                   : fifo.consumers[0];
}

uint64_t used_memory(const DeviceLowering& lowering, TileCoordinate tile) {
  uint64_t used = 0;
  for (const BufferDecl& buffer : lowering.out.buffers)
    if (buffer.tile == tile) used += buffer.size;
  return used;
}

// A mem tile that is full lends from its west, then its east neighbour.
TileCoordinate buffer_home(DeviceLowering& lowering, TileCoordinate tile, uint32_t size) {
  if (lowering.kind(tile) != TileKind::kMem) return tile;
  const uint64_t memory = lowering.limits(tile).memory;
  if (used_memory(lowering, tile) + size <= memory) return tile;
  for (const int step : {-1, 1}) {
    const TileCoordinate neighbour{tile.column + step, tile.row};
    if (neighbour.column < 0 || neighbour.column >= lowering.out.columns ||
        used_memory(lowering, neighbour) + size > memory)
      continue;
    auto& tiles = lowering.out.tiles;
    if (std::find(tiles.begin(), tiles.end(), neighbour) == tiles.end()) tiles.push_back(neighbour);
    return neighbour;
  }
  return tile;
}

void create_buffers(DeviceLowering& lowering, const ObjectFifo& fifo, FifoPool& pool) {
  const int64_t size = fifo.element.byte_count();
  if (size > static_cast<int64_t>(lowering.limits(pool.tile).memory))
    lowering.fail(fifo.operation->location,
                  fmt::format("an element of {} bytes exceeds the {} bytes of tile {}", size,
                              lowering.limits(pool.tile).memory, to_text(pool.tile)));
  for (int i = 0; i < pool.depth; ++i) {
    BufferDecl buffer;
    buffer.name = fmt::format("{}_buff_{}", pool.name, i);
    buffer.size = static_cast<uint32_t>(size);
    buffer.tile = buffer_home(lowering, pool.tile, buffer.size);
    buffer.location = fifo.operation->location;
    pool.crosses_tiles = pool.crosses_tiles || buffer.tile != pool.tile;
    if (pool.consumer < 0 && i < static_cast<int>(fifo.initial_values.size()))
      buffer.initial_value = fifo.initial_values[static_cast<size_t>(i)];
    pool.buffers.push_back(lowering.add_buffer(std::move(buffer)));
  }
}

void create_locks(DeviceLowering& lowering, const FifoTable& table, FifoPool& pool) {
  const ObjectFifo& fifo = table.fifos[static_cast<size_t>(pool.fifo)];
  if (!fifo.synchronised) return;
  int repeat = pool.consumer < 0 && fifo.repeat_count ? *fifo.repeat_count : 1;
  size_t pairs = 1;
  if (pool.link >= 0) {
    const FifoLink& link = table.links[static_cast<size_t>(pool.link)];
    for (const int output : link.outputs)
      if (const auto count = table.fifos[static_cast<size_t>(output)].repeat_count) repeat = *count;
    pairs = link.is_join() ? link.inputs.size() : link.is_distribute() ? link.outputs.size() : 1;
  }
  const int filled = pool.consumer < 0 ? static_cast<int>(fifo.initial_values.size()) : 0;
  for (size_t i = 0; i < pairs; ++i) {
    LockDecl lock;
    lock.tile = pool.tile;
    lock.location = fifo.operation->location;
    lock.name = fmt::format("{}_prod_lock_{}", pool.name, i);
    lock.initial_value = (pool.depth - filled) * repeat;
    if (lock.initial_value > static_cast<int>(kMaxLockValue) ||
        filled * repeat > static_cast<int>(kMaxLockValue))
      lowering.fail(lock.location,
                    fmt::format("depth times repeat count of '@{}' exceeds the {} a lock counts to",
                                fifo.name, kMaxLockValue));
    const int produced = lowering.add_lock(lock);
    lock.name = fmt::format("{}_cons_lock_{}", pool.name, i);
    lock.initial_value = filled * repeat;
    pool.locks.emplace_back(produced, lowering.add_lock(lock));
  }
}

int add_pool(FifoTable& table, FifoPool pool) {
  table.pools.push_back(std::move(pool));
  return static_cast<int>(table.pools.size()) - 1;
}

int branch_of(const std::vector<int>& fifos, int fifo) {
  return static_cast<int>(std::find(fifos.begin(), fifos.end(), fifo) - fifos.begin());
}

// Producer's pool, then each consumer's.
void split(DeviceLowering& lowering, FifoTable& table, int index) {
  const ObjectFifo& fifo = table.fifos[static_cast<size_t>(index)];
  const bool listed = fifo.depths.size() > 1;
  FifoPool producer;
  producer.name = fifo.name;
  producer.tile = fifo.producer;
  producer.fifo = index;
  producer.depth = listed || !fifo.initial_values.empty()
                       ? fifo.depths[0]
                       : fifo_depth(lowering, fifo, fifo.producer, fifo.depths[0]);
  if (fifo.link_as_output >= 0) {
    producer.link = fifo.link_as_output;
    producer.branch = branch_of(table.links[static_cast<size_t>(producer.link)].outputs, index);
  }
  add_pool(table, std::move(producer));
  for (size_t i = 0; i < fifo.consumers.size(); ++i) {
    FifoPool consumer;
    consumer.name =
        fifo.consumers.size() == 1 ? fifo.name + "_cons" : fmt::format("{}_{}_cons", fifo.name, i);
    consumer.tile = fifo.consumers[i];
    consumer.fifo = index;
    consumer.consumer = static_cast<int>(i);
    consumer.depth =
        listed ? fifo.depths[i + 1] : fifo_depth(lowering, fifo, consumer.tile, fifo.depths[0]);
    if (fifo.link_as_input >= 0 &&
        table.links[static_cast<size_t>(fifo.link_as_input)].tile == consumer.tile) {
      consumer.link = fifo.link_as_input;
      consumer.branch = branch_of(table.links[static_cast<size_t>(consumer.link)].inputs, index);
    }
    add_pool(table, std::move(consumer));
  }
}

// Which FIFO's objects a link stores: the bigger side; the input when the output is padded.
int owning_fifo(const FifoTable& table, const FifoLink& link) {
  const int input = link.inputs[0];
  const int output = link.outputs[0];
  if (link.is_join()) return output;
  if (link.is_distribute()) return input;
  const ObjectFifo& in = table.fifos[static_cast<size_t>(input)];
  const ObjectFifo& out = table.fifos[static_cast<size_t>(output)];
  if (!out.initial_values.empty()) return output;
  if (in.element.element_count() >= out.element.element_count() || !out.padding.empty())
    return input;
  return output;
}

void create_storage(DeviceLowering& lowering, FifoTable& table) {
  for (size_t i = 0; i < table.pools.size(); ++i) {
    FifoPool& pool = table.pools[i];
    if (lowering.kind(pool.tile) == TileKind::kShim) continue;
    if (pool.link >= 0) {
      FifoLink& link = table.links[static_cast<size_t>(pool.link)];
      if (owning_fifo(table, link) != pool.fifo) continue;
      link.owner_pool = static_cast<int>(i);
    }
    create_buffers(lowering, table.fifos[static_cast<size_t>(pool.fifo)], pool);
    create_locks(lowering, table, pool);
  }
}

// First free channel of the tile and direction; pools with buffers on a neighbour choose first, as
// only the first channels reach there.
void assign_channels(DeviceLowering& lowering, FifoTable& table) {
  std::map<std::pair<TileCoordinate, DmaDirection>, std::set<int>> used;
  for (const DmaChain& chain : lowering.chains)
    used[{chain.tile, chain.direction}].insert(chain.channel);
  const auto crosses = [&](const FifoPool& pool) {
    if (pool.link < 0) return pool.crosses_tiles;
    const int owner = table.links[static_cast<size_t>(pool.link)].owner_pool;
    return owner >= 0 && table.pools[static_cast<size_t>(owner)].crosses_tiles;
  };
  for (const bool crossing : {true, false}) {
    for (FifoPool& pool : table.pools) {
      if (crosses(pool) != crossing) continue;
      const DmaDirection direction = pool.consumer < 0 ? DmaDirection::kMM2S : DmaDirection::kS2MM;
      const TileGeometry& limits = lowering.limits(pool.tile);
      const uint32_t count = crossing ? limits.neighbour_channels : limits.channels;
      auto& taken = used[{pool.tile, direction}];
      int channel = 0;
      while (taken.contains(channel)) ++channel;
      if (channel >= static_cast<int>(count))
        lowering.fail(table.fifos[static_cast<size_t>(pool.fifo)].operation->location,
                      fmt::format("number of {} DMA channel exceeded: tile {} has {} {} channels",
                                  direction == DmaDirection::kS2MM ? "input" : "output",
                                  to_text(pool.tile), count, to_text(direction)));
      taken.insert(channel);
      pool.channel = channel;
    }
  }
}

void connect(DeviceLowering& lowering, FifoTable& table) {
  const FifoPool* producer = nullptr;
  for (size_t i = 0; i < table.pools.size(); ++i) {
    const FifoPool& pool = table.pools[i];
    const ObjectFifo& fifo = table.fifos[static_cast<size_t>(pool.fifo)];
    const DmaDirection direction = pool.consumer < 0 ? DmaDirection::kMM2S : DmaDirection::kS2MM;
    if (pool.consumer < 0) {
      producer = &pool;
    } else {
      lowering.out.routes.push_back({{producer->tile, PortKind::kDma, producer->channel},
                                     {pool.tile, PortKind::kDma, pool.channel},
                                     -1,
                                     false,
                                     fifo.operation->location});
    }
    if (lowering.kind(pool.tile) == TileKind::kShim)
      lowering.out.shim_allocations.push_back(
          {fifo.name + "_shim_alloc", pool.tile, direction, pool.channel});
    else
      lowering.chains.push_back(make_fifo_chain(lowering, table, static_cast<int>(i)));
  }
}

FifoEnd make_end(const std::string& name, bool produce, const FifoPool& pool, int units) {
  FifoEnd end;
  end.name = name;
  end.produce = produce;
  end.buffers = pool.buffers;
  end.lock_units = units;
  if (!pool.locks.empty()) {
    end.acquire_lock = produce ? pool.locks[0].first : pool.locks[0].second;
    end.release_lock = produce ? pool.locks[0].second : pool.locks[0].first;
  }
  return end;
}

// What cores may acquire: ends on core tiles that are not part of a link there.
void publish_ends(DeviceLowering& lowering, const FifoTable& table) {
  for (const FifoPool& pool : table.pools) {
    const ObjectFifo& fifo = table.fifos[static_cast<size_t>(pool.fifo)];
    auto& ends = lowering.fifo_ends[fifo.name];
    if (pool.link >= 0 || pool.buffers.empty()) continue;
    const bool produce = pool.consumer < 0;
    ends.push_back({pool.tile,
                    make_end(fifo.name, produce, pool, produce ? fifo.repeat_count.value_or(1) : 1),
                    fifo.element});
  }
}

}  // namespace

void lower_object_fifos(DeviceLowering& lowering) {
  FifoTable table = read_object_fifos(lowering);
  for (size_t i = 0; i < table.fifos.size(); ++i) {
    const ObjectFifo& fifo = table.fifos[i];
    if (needs_dma(lowering, fifo)) {
      // A linked FIFO may have one, which then saves a copy; the data are the same without.
      if (fifo.delegate && fifo.link_as_input < 0 && fifo.link_as_output < 0)
        lowering.fail(fifo.operation->location,
                      fmt::format("'@{}' travels by DMA, so its memory cannot be allocated to tile "
                                  "{}",
                                  fifo.name, to_text(*fifo.delegate)));
      split(lowering, table, static_cast<int>(i));
      continue;
    }
    FifoPool pool;
    pool.name = fifo.name;
    pool.tile = shared_home(lowering, fifo);
    pool.fifo = static_cast<int>(i);
    pool.depth = fifo.depths[0];
    create_buffers(lowering, fifo, pool);
    create_locks(lowering, table, pool);
    lowering.fifo_ends[fifo.name] = {
        {fifo.producer, make_end(fifo.name, true, pool, 1), fifo.element},
        {fifo.consumers[0], make_end(fifo.name, false, pool, 1), fifo.element}};
  }
  create_storage(lowering, table);
  assign_channels(lowering, table);
  connect(lowering, table);
  publish_ends(lowering, table);
}

}  // namespace tandem::npu

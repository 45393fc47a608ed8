// DMA channels: tasks, descriptors, locks, and the memory side of a transfer; see array.h.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "npu/emulator/array.h"

namespace tandem::npu {

using State = DmaChannel::State;

std::string Array::channel_name(const DmaChannel& channel) const {
  if (channel.end != DmaChannel::End::kDma)
    return fmt::format("the {} port of tile {}",
                       channel.end == DmaChannel::End::kCore ? "core's stream" : "control",
                       to_text(channel.tile));
  return fmt::format("{} channel {} of tile {}", to_text(channel.direction), channel.index,
                     to_text(channel.tile));
}

void Array::wake_channel(int index) {
  DmaChannel& channel = channels_[static_cast<size_t>(index)];
  if (channel.state == State::kIdle) {
    if (!channel.queue.empty()) start_next_task(index);
  } else if (channel.state == State::kStarting || channel.state == State::kLock) {
    take_lock(index);
  }
}

// Shim tasks pay for the way to DRAM; the first ones of a channel more.
Cycles Array::task_overhead(const DmaChannel& channel) const {
  Cycles overhead = timing_.channel_start + timing_.memory_latency;
  if (geometry_->kind_of_row(static_cast<uint32_t>(channel.tile.row)) != TileKind::kShim)
    return overhead;
  const auto started = static_cast<double>(channel.tasks_started);
  if (channel.direction == DmaDirection::kMM2S)
    return overhead + timing_.shim_read_task +
           timing_.shim_read_cold * std::pow(timing_.shim_cold_decay, started);
  return overhead + timing_.shim_write_task + (started == 0 ? timing_.shim_write_cold : 0);
}

void Array::start_next_task(int index) {
  DmaChannel& channel = channels_[static_cast<size_t>(index)];
  channel.task = channel.queue.front();
  channel.queue.pop_front();
  channel.has_task = true;
  channel.repeats_left = channel.task.repeat_count;
  channel.descriptor_id = channel.task.descriptor;
  const Cycles overhead = task_overhead(channel);
  ++channel.tasks_started;
  begin_descriptor(index, overhead);
}

void Array::begin_descriptor(int index, Cycles delay) {
  DmaChannel& channel = channels_[static_cast<size_t>(index)];
  TileState& tile = tile_at(channel.tile);
  if (channel.descriptor_id >= static_cast<int>(tile.descriptors.size()))
    fail(channel.task.location,
         fmt::format("{} goes on to descriptor {}, which tile {} lacks", channel_name(channel),
                     channel.descriptor_id, to_text(channel.tile)));
  DescriptorState& state = tile.descriptors[static_cast<size_t>(channel.descriptor_id)];
  channel.descriptor = decode_descriptor(tile.kind, state.words);
  channel.descriptor.location = state.location;
  if (!channel.descriptor.valid || channel.descriptor.length == 0)
    fail(channel.task.location, fmt::format("{} starts descriptor {}, which is not configured",
                                            channel_name(channel), channel.descriptor_id));
  ++state.users;
  const BufferDescriptor& d = channel.descriptor;
  const uint64_t turn = (d.iteration_current + state.iteration) % d.iteration_size;
  channel.base = d.address + turn * d.iteration_stride * 4;
  channel.contiguous = contiguous_bytes(d);
  channel.position = 0;
  channel.state = State::kStarting;
  schedule({AgentKind::kChannel, index},
           now_ + delay + timing_.descriptor_setup + timing_.lock_operation);
}

void Array::take_lock(int index) {
  DmaChannel& channel = channels_[static_cast<size_t>(index)];
  const BufferDescriptor& d = channel.descriptor;
  channel.state = State::kLock;
  if (d.acquire_enabled && !acquire(dma_lock(channel, d.acquire_lock), std::abs(d.acquire_value),
                                    d.acquire_value < 0, {AgentKind::kChannel, index}))
    return;
  enter_streaming(index);
}

void Array::enter_streaming(int index) {
  DmaChannel& channel = channels_[static_cast<size_t>(index)];
  channel.state = State::kStreaming;
  if (channel.direction == DmaDirection::kS2MM) {
    pump_sources(index);
    return;
  }
  if (channel.descriptor.packet_enabled) {
    // A circuit carries the header as data; a packet route drops it unless told otherwise.
    const auto& routed = channel.packets[channel.descriptor.packet_id];
    bool keep = routed.empty();
    for (const StreamTarget& target : routed) keep = keep || target.keep_header;
    channel.header_pending = keep;
  }
  pump(index);
}

void Array::finish_descriptor(int index) {
  DmaChannel& channel = channels_[static_cast<size_t>(index)];
  const BufferDescriptor& d = channel.descriptor;
  DescriptorState& state =
      tile_at(channel.tile).descriptors[static_cast<size_t>(channel.descriptor_id)];
  --state.users;
  state.iteration = (state.iteration + 1) % d.iteration_size;
  const bool releases = d.release_value != 0;
  const LockRef lock = releases ? dma_lock(channel, d.release_lock) : LockRef{};
  const int value = d.release_value;
  const SourceLocation location = d.location;
  if (d.use_next) {
    channel.descriptor_id = d.next;
    begin_descriptor(index, timing_.descriptor_chain);
  } else if (channel.repeats_left > 0) {
    --channel.repeats_left;
    channel.descriptor_id = channel.task.descriptor;
    begin_descriptor(index, timing_.descriptor_chain);
  } else {
    finish_task(index);
  }
  if (releases) release(lock, value, location);
}

void Array::finish_task(int index) {
  DmaChannel& channel = channels_[static_cast<size_t>(index)];
  --tile_at(channel.tile).descriptors[static_cast<size_t>(channel.task.descriptor)].users;
  channel.has_task = false;
  channel.state = State::kIdle;
  if (channel.task.issue_token) {
    ++channel.tokens;
    if (controller_waiting_) schedule({AgentKind::kController, 0}, now_);
  }
  if (!channel.queue.empty()) start_next_task(index);
}

// ---- memory side ----

// The tile whose memory an address of this channel's DMA means, and the byte in it.
TileState& Array::memory_of(const DmaChannel& channel, uint64_t address, uint64_t size,
                            uint64_t& offset) {
  TileState* tile = find_tile(channel.tile);
  offset = address;
  if (tile->kind == TileKind::kMem) {
    const int window = static_cast<int>(address / kMemTileWindow) - 1;
    offset = address % kMemTileWindow;
    tile = window > 1 ? nullptr : find_tile({channel.tile.column + window, channel.tile.row});
    if (tile == nullptr && window < 0) {
      // Written from registers without the window's offset; npu1's runtime tasks do that too.
      warn(channel.descriptor.location,
           fmt::format("an address of the mem tile {} is in its west neighbour's window, where "
                       "there is none; taken as the tile's own memory",
                       to_text(channel.tile)));
      tile = find_tile(channel.tile);
    }
  }
  if (tile == nullptr || offset + size > tile->memory.size())
    fail(channel.descriptor.location,
         fmt::format("{} reaches byte {} of a memory of {}", channel_name(channel), offset + size,
                     tile == nullptr ? 0 : tile->memory.size()));
  return *tile;
}

namespace {

// The part of a host buffer a shim descriptor means.
std::span<std::byte> host_bytes(std::span<HostBuffer> buffers, uint64_t address, uint64_t size) {
  const int argument = host_argument(address);
  const uint64_t offset = host_offset(address);
  if (argument < 0 || argument >= static_cast<int>(buffers.size())) return {};
  const std::span<std::byte> bytes = buffers[static_cast<size_t>(argument)].bytes;
  if (offset + size > bytes.size()) return {};
  return bytes.subspan(offset, size);
}

}  // namespace

void Array::gather(DmaChannel& channel, uint32_t position, std::span<std::byte> bytes) {
  const bool shim = channel.tile.row == 0;
  uint32_t words = static_cast<uint32_t>(bytes.size() / 4);
  std::byte* out = bytes.data();
  while (words > 0) {
    const AddressRun run = run_at(channel.descriptor, position, words);
    const uint64_t size = uint64_t{run.words} * 4;
    if (run.padding) {
      std::memset(out, 0, size);
    } else if (shim) {
      const auto source = host_bytes(buffers_, channel.base + run.offset, size);
      if (source.empty())
        fail(channel.descriptor.location,
             fmt::format("{} reads {} bytes at byte {} of argument {}, beyond its end",
                         channel_name(channel), size, host_offset(channel.base + run.offset),
                         host_argument(channel.base)));
      std::memcpy(out, source.data(), size);
    } else {
      uint64_t offset = 0;
      const TileState& tile = memory_of(channel, channel.base + run.offset, size, offset);
      check_written(tile, offset, size, channel.descriptor.location, channel_name(channel));
      std::memcpy(out, tile.memory.data() + offset, size);
    }
    out += size;
    position += run.words;
    words -= run.words;
  }
}

void Array::scatter(DmaChannel& channel, uint32_t position, std::span<const std::byte> bytes) {
  const bool shim = channel.tile.row == 0;
  uint32_t words = static_cast<uint32_t>(bytes.size() / 4);
  const std::byte* in = bytes.data();
  while (words > 0) {
    const AddressRun run = run_at(channel.descriptor, position, words);
    const uint64_t size = uint64_t{run.words} * 4;
    if (shim) {
      const auto target = host_bytes(buffers_, channel.base + run.offset, size);
      if (target.empty())
        fail(channel.descriptor.location,
             fmt::format("{} writes {} bytes at byte {} of argument {}, beyond its end",
                         channel_name(channel), size, host_offset(channel.base + run.offset),
                         host_argument(channel.base)));
      std::memcpy(target.data(), in, size);
    } else {
      uint64_t offset = 0;
      TileState& tile = memory_of(channel, channel.base + run.offset, size, offset);
      std::memcpy(tile.memory.data() + offset, in, size);
      mark_written(tile, offset, size);
    }
    in += size;
    position += run.words;
    words -= run.words;
  }
}

}  // namespace tandem::npu

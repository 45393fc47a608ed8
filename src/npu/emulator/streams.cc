// Transfers over the streams: who sends to whom, how much at a time, how fast; see array.h.
// A transfer moves as many bytes as its source has and all its targets take, so the number of
// events follows the descriptors, not the words.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "npu/emulator/array.h"

namespace tandem::npu {

using State = DmaChannel::State;

int Array::current_packet(const DmaChannel& channel) const {
  return channel.descriptor.packet_enabled ? channel.descriptor.packet_id : -1;
}

const std::vector<StreamTarget>& Array::targets(const DmaChannel& channel, int packet_id) const {
  if (packet_id < 0) return channel.circuit;
  const auto& routed = channel.packets[static_cast<size_t>(packet_id)];
  return routed.empty() ? channel.circuit : routed;
}

bool Array::targets_ready(const std::vector<StreamTarget>& targets, int source,
                          uint32_t& room) const {
  for (const StreamTarget& entry : targets) {
    const DmaChannel& target = channels_[static_cast<size_t>(entry.channel)];
    if (target.state != State::kStreaming || target.busy) return false;
    if (target.owner >= 0 && target.owner != source) return false;
    room = std::min(room, (target.descriptor.length - target.position) * 4);
  }
  return true;
}

// Moves what the source has, if its targets take it; else fills the stream's FIFOs.
void Array::pump(int index) {
  DmaChannel& source = channels_[static_cast<size_t>(index)];
  if (source.busy && !source.prefilling) return;
  if (source.prefilling) settle_prefill(index);
  const bool streaming = source.state == State::kStreaming;
  if (!streaming && source.fifo.size == 0) return;
  const int packet = current_packet(source);
  StreamFifo& fifo = source.fifo;
  const auto& list = targets(source, fifo.size > 0 ? fifo.packet_id : packet);
  if (list.empty()) return;
  // A packet waits until the one before it has left the FIFO.
  const bool joins = streaming && (fifo.size == 0 ||
                                   (fifo.packet_id == packet && (packet < 0 || !fifo.ends_packet)));
  if (joins && source.header_pending) {
    source.header_pending = false;
    const uint32_t header = static_cast<uint32_t>(source.descriptor.packet_id) |
                            static_cast<uint32_t>(source.descriptor.packet_type) << 12 |
                            static_cast<uint32_t>(source.tile.row) << 16 |
                            static_cast<uint32_t>(source.tile.column) << 21;
    // Bit 31 makes the number of ones odd.
    const uint32_t word = header | (__builtin_popcount(header) % 2 == 0 ? 0x80000000u : 0u);
    const auto* bytes = reinterpret_cast<const std::byte*>(&word);
    if (options_.move_data) fifo.bytes.insert(fifo.bytes.end(), bytes, bytes + 4);
    fifo.size += 4;
    fifo.packet_id = packet;
    fifo.ends_packet = false;
  }
  const uint32_t remaining = joins ? (source.descriptor.length - source.position) * 4 : 0;
  uint32_t room = fifo.size + std::min(remaining, UINT32_MAX - fifo.size);
  if (targets_ready(list, index, room)) {
    if (room > 0) start_transfer(index, room, std::min(room, fifo.size));
  } else if (remaining > 0 && fifo.size < timing_.stream_fifo_bytes) {
    start_prefill(index, std::min(remaining, timing_.stream_fifo_bytes - fifo.size));
  }
}

void Array::pump_sources(int index) {
  // A copy: pumping may change who owns the target, never its sources.
  const DmaChannel& target = channels_[static_cast<size_t>(index)];
  for (const int source : target.sources) pump(source);
}

void Array::start_transfer(int index, uint32_t bytes, uint32_t from_fifo) {
  DmaChannel& source = channels_[static_cast<size_t>(index)];
  const int packet = source.fifo.size > 0 ? source.fifo.packet_id : current_packet(source);
  source.busy = true;
  source.prefilling = false;
  source.moving = bytes;
  source.moving_fifo = from_fifo;
  source.bytes_left = bytes;
  source.began = source.updated = now_;
  source.shares_dram = source.tile.row == 0;
  for (const StreamTarget& entry : targets(source, packet)) {
    DmaChannel& target = channels_[static_cast<size_t>(entry.channel)];
    target.busy = true;
    if (packet >= 0) target.owner = index;
    source.shares_dram = source.shares_dram || target.tile.row == 0;
  }
  if (source.shares_dram) {
    sharing_.insert(index);
    share_dram();
    return;
  }
  source.rate = timing_.stream_bytes_per_cycle;
  schedule_transfer_end(source, index);
}

void Array::start_prefill(int index, uint32_t bytes) {
  DmaChannel& source = channels_[static_cast<size_t>(index)];
  source.busy = true;
  source.prefilling = true;
  source.moving = bytes;
  source.moving_fifo = 0;
  source.bytes_left = bytes;
  source.shares_dram = false;
  source.began = source.updated = now_;
  source.rate = source.tile.row == 0 ? channel_rate(source) : timing_.stream_bytes_per_cycle;
  schedule_transfer_end(source, index);
}

// Ends a prefill with what has arrived so far.
void Array::settle_prefill(int index) {
  DmaChannel& source = channels_[static_cast<size_t>(index)];
  const double moved = (now_ - source.began) * source.rate;
  const uint32_t bytes = std::min(source.moving, static_cast<uint32_t>(moved + 1e-6) / 4 * 4);
  ++source.transfer_generation;  // its end no longer happens
  source.busy = false;
  source.prefilling = false;
  if (bytes == 0) return;
  StreamFifo& fifo = source.fifo;
  if (options_.move_data) {
    const size_t old = fifo.bytes.size();
    fifo.bytes.resize(old + bytes);
    gather(source, source.position, std::span(fifo.bytes).subspan(old, bytes));
  }
  fifo.packet_id = current_packet(source);
  fifo.size += bytes;
  source.position += bytes / 4;
  source.total_bytes += bytes;
  source.busy_cycles += now_ - source.began;
  if (source.tile.row == 0) host_read_ += bytes;
  fifo.ends_packet =
      source.position == source.descriptor.length && !source.descriptor.suppress_last;
  if (source.position == source.descriptor.length) finish_descriptor(index);
}

// ---- ends ----

void Array::deliver(DmaChannel& source, const std::vector<StreamTarget>& list) {
  StreamFifo& fifo = source.fifo;
  if (options_.move_data) {
    scratch_.resize(source.moving);
    std::copy_n(fifo.bytes.begin(), source.moving_fifo, scratch_.begin());
    fifo.bytes.erase(fifo.bytes.begin(), fifo.bytes.begin() + source.moving_fifo);
    gather(source, source.position, std::span(scratch_).subspan(source.moving_fifo));
    for (const StreamTarget& entry : list) {
      DmaChannel& target = channels_[static_cast<size_t>(entry.channel)];
      switch (target.end) {
        case DmaChannel::End::kDma: scatter(target, target.position, scratch_); break;
        case DmaChannel::End::kControl: receive_control(target, scratch_); break;
        case DmaChannel::End::kCore:
          target.fifo.bytes.insert(target.fifo.bytes.end(), scratch_.begin(), scratch_.end());
      }
    }
  }
  fifo.size -= source.moving_fifo;
}

void Array::finish_transfer(int index) {
  DmaChannel& source = channels_[static_cast<size_t>(index)];
  if (source.prefilling) {
    settle_prefill(index);
    pump(index);
    return;
  }
  const int packet = source.fifo.size > 0 ? source.fifo.packet_id : current_packet(source);
  const std::vector<StreamTarget>& list = targets(source, packet);
  deliver(source, list);
  const uint32_t from_memory = source.moving - source.moving_fifo;
  source.position += from_memory / 4;
  source.total_bytes += from_memory;
  source.busy_cycles += now_ - source.began;
  if (source.tile.row == 0) host_read_ += from_memory;
  source.busy = false;
  if (sharing_.erase(index) > 0) share_dram();
  if (trace_.enabled())
    trace_.add(channel_name(source), fmt::format("{} bytes", source.moving), source.began, now_);
  const bool sent_all = source.state == State::kStreaming &&
                        source.position == source.descriptor.length && source.fifo.size == 0;
  const bool packet_over =
      packet >= 0 && (from_memory > 0 ? sent_all && !source.descriptor.suppress_last
                                      : source.fifo.size == 0 && source.fifo.ends_packet);
  for (const StreamTarget& entry : list) {
    DmaChannel& target = channels_[static_cast<size_t>(entry.channel)];
    target.busy = false;
    if (target.end != DmaChannel::End::kControl) target.position += source.moving / 4;
    target.total_bytes += source.moving;
    target.busy_cycles += now_ - source.began;
    if (target.tile.row == 0 && target.end == DmaChannel::End::kDma) host_written_ += source.moving;
    if (packet_over) target.owner = -1;
  }
  if (from_memory > 0 && sent_all) finish_descriptor(index);
  for (const StreamTarget& entry : list) {
    const DmaChannel& target = channels_[static_cast<size_t>(entry.channel)];
    if (target.end == DmaChannel::End::kDma && target.state == State::kStreaming &&
        target.position == target.descriptor.length)
      finish_descriptor(entry.channel);
    wake_port(entry.channel);
  }
  wake_port(index);
  pump(index);
  for (const StreamTarget& entry : list) pump_sources(entry.channel);
}

// ---- bandwidth ----

// What the channel alone would reach, bytes per cycle. Each further run of a read costs the DRAM a
// fixed number of bytes' time.
double Array::channel_rate(const DmaChannel& channel) const {
  double rate = timing_.shim_bytes_per_cycle * timing_.shim_efficiency;
  if (channel.tile.row != 0 || channel.contiguous == 0) return rate;
  const double total = 4.0 * channel.descriptor.length;
  const double runs = total / static_cast<double>(channel.contiguous);
  return rate * total / (total + (runs - 1) * timing_.scattered_read_overhead_bytes);
}

// Recomputes the rates of all transfers with DRAM: reads share among themselves, writes among
// themselves, as measured when both ran together.
void Array::share_dram() {
  double demand[2] = {0, 0};
  for (const int index : sharing_) {
    DmaChannel& channel = channels_[static_cast<size_t>(index)];
    channel.bytes_left -= channel.rate * (now_ - channel.updated);
    channel.updated = now_;
    channel.rate = channel_rate(channel);
    demand[channel.tile.row == 0 ? 0 : 1] += channel.rate;
  }
  const double dram = timing_.dram_bytes_per_second / timing_.clock_hz;
  const double power = timing_.dram_sharing_power;
  double factor[2] = {1, 1};
  for (int i = 0; i < 2; ++i)
    if (demand[i] > 0) factor[i] = std::pow(1 + std::pow(demand[i] / dram, power), -1 / power);
  for (const int index : sharing_) {
    DmaChannel& channel = channels_[static_cast<size_t>(index)];
    channel.rate *= factor[channel.tile.row == 0 ? 0 : 1];
    schedule_transfer_end(channel, index);
  }
}

void Array::schedule_transfer_end(DmaChannel& channel, int index) {
  const double left = std::max(0.0, channel.bytes_left);
  schedule({AgentKind::kTransfer, index}, channel.updated + left / channel.rate);
}

}  // namespace tandem::npu

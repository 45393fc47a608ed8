// The state of one tile: memory with a mark per written word, locks, descriptors, registers; and of
// a DMA channel. Plain data; array.h moves it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "npu/aie_text/design.h"
#include "npu/emulator/event_queue.h"

namespace tandem::npu {

struct LockState {
  int value = 0;
  std::vector<AgentId> waiters;
};

struct DescriptorState {
  std::array<uint32_t, 8> words{};
  SourceLocation location;  // of the text or instruction that wrote it last
  uint32_t iteration = 0;
  int users = 0;  // queued or running tasks that begin here, and the descriptor being executed
};

struct TileState {
  TileCoordinate tile;
  TileKind kind = TileKind::kCore;
  std::vector<std::byte> memory;
  std::vector<uint8_t> written;  // one mark per 32-bit word
  std::vector<LockState> locks;
  std::vector<DescriptorState> descriptors;
  int first_channel = 0;  // into Array's channels: S2MM of the tile, then MM2S
  std::map<uint32_t, uint32_t> other_registers;
};

// A task on a channel's queue: the chain that begins at a descriptor, some times over.
struct ChannelTask {
  int descriptor = 0;
  int repeat_count = 0;
  bool issue_token = false;
  SourceLocation location;
};

// One destination of a stream.
struct StreamTarget {
  int channel = -1;  // an S2MM channel
  bool keep_header = false;
};

// Words a source has already put on its way: the stream's own FIFOs.
struct StreamFifo {
  std::vector<std::byte> bytes;  // content when data is moved
  uint32_t size = 0;             // bytes
  int packet_id = -1;            // whose route they take; -1: the circuit
  bool ends_packet = false;      // the last byte here ends the packet
};

struct DmaChannel {
  enum class State : uint8_t {
    kIdle,       // nothing queued
    kStarting,   // an event will begin the descriptor or take its lock
    kLock,       // waits for its acquire
    kStreaming,  // has data to send or room to fill
  };

  TileCoordinate tile;
  DmaDirection direction = DmaDirection::kS2MM;
  int index = 0;
  State state = State::kIdle;
  std::deque<ChannelTask> queue;
  ChannelTask task;
  bool has_task = false;
  int repeats_left = 0;
  int descriptor_id = 0;
  BufferDescriptor descriptor;
  uint64_t base = 0;        // address with the iteration added
  uint32_t position = 0;    // words of the descriptor already moved at the memory's side
  uint64_t contiguous = 0;  // bytes per run, for the DRAM's efficiency
  uint64_t tasks_started = 0;
  int tokens = 0;
  uint64_t generation = 0;
  uint64_t transfer_generation = 0;

  // What a stream meets here: the tile's DMA; its control port, where packets write and read
  // registers; its core, by way of `fifo` in either direction.
  enum class End : uint8_t { kDma, kControl, kCore };
  End end = End::kDma;
  std::vector<uint32_t> control_words;  // of a packet not complete yet

  // Stream side.
  std::vector<StreamTarget> circuit;                  // MM2S
  std::array<std::vector<StreamTarget>, 32> packets;  // MM2S, by packet id
  std::vector<int> sources;                           // S2MM: channels routed to it
  StreamFifo fifo;                                    // MM2S; S2MM of a core: bytes only
  bool header_pending = false;                        // MM2S: the packet header is still to send
  int owner = -1;                                     // S2MM: the source whose packet arrives
  bool busy = false;                                  // part of a transfer in flight

  // The transfer in flight, at its source.
  uint32_t moving = 0;       // bytes
  uint32_t moving_fifo = 0;  // of these from the FIFO
  bool prefilling = false;   // into the FIFO rather than to the targets
  bool shares_dram = false;
  double bytes_left = 0;
  double rate = 0;  // bytes per cycle
  Cycles updated = 0;
  Cycles began = 0;

  Cycles busy_cycles = 0;
  uint64_t total_bytes = 0;
};

}  // namespace tandem::npu

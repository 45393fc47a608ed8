// Object FIFOs and links as written, and the pools they become: one per end that has storage.
// Internal to the lowering of object FIFOs.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "npu/aie_text/lowering.h"

namespace tandem::npu {

struct ObjectFifo {
  const mlir::Operation* operation = nullptr;
  std::string name;
  TileCoordinate producer;
  std::vector<TileCoordinate> consumers;
  std::vector<int> depths;  // one, or producer's then each consumer's
  mlir::Type element;
  std::vector<TextDimension> to_stream;
  std::vector<std::vector<TextDimension>> from_stream;  // per consumer
  std::vector<TextPadding> padding;
  std::vector<std::vector<std::byte>> initial_values;
  std::optional<int> repeat_count;
  std::optional<int> iteration_count;
  bool via_dma = false;
  bool synchronised = true;
  std::optional<TileCoordinate> delegate;  // aie.objectfifo.allocate
  int link_as_input = -1;
  int link_as_output = -1;
};

struct FifoLink {
  std::vector<int> inputs;  // FIFOs
  std::vector<int> outputs;
  std::vector<int64_t> input_offsets;  // elements of the output's object (join)
  std::vector<int64_t> output_offsets;
  std::optional<TileCoordinate> tile;  // the tile the link is on
  int owner_pool = -1;                 // whose buffers all its pools share
  SourceLocation location;

  bool is_join() const { return inputs.size() > 1; }
  bool is_distribute() const { return outputs.size() > 1; }
};

// One end of a FIFO that has a DMA channel, or the whole of a FIFO in shared memory.
struct FifoPool {
  std::string name;
  TileCoordinate tile;
  int fifo = -1;
  int consumer = -1;  // -1: the producer's end
  int depth = 0;
  int link = -1;   // the link it is part of
  int branch = 0;  // its place among the link's inputs or outputs
  std::vector<int> buffers;
  std::vector<std::pair<int, int>> locks;  // producer's and consumer's lock, one pair per branch
  bool crosses_tiles = false;
  int channel = -1;
};

struct FifoTable {
  std::vector<ObjectFifo> fifos;
  std::vector<FifoLink> links;
  std::vector<FifoPool> pools;
};

// Reads and checks the operations; fills fifos and links.
FifoTable read_object_fifos(DeviceLowering& lowering);

// Elements a core end needs: one more than it acquires at once.
int fifo_depth(const DeviceLowering& lowering, const ObjectFifo& fifo, TileCoordinate tile,
               int declared);

// The descriptor ring of a pool's channel.
DmaChain make_fifo_chain(const DeviceLowering& lowering, const FifoTable& table, int pool);

// Can a core (or a mem tile's DMA) at `user` reach the memory of `memory`?
bool shares_memory(const DeviceLowering& lowering, TileCoordinate user, TileCoordinate memory);

}  // namespace tandem::npu

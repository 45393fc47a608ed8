// Limits that concern a whole device rather than one operation; the others are checked where the
// operation is lowered.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "npu/aie_text/lowering.h"

namespace tandem::npu {
namespace {

// A destination port that circuits share, or that mixes a circuit with packets, has no meaning;
// packet routes may share ports.
void verify_routes(const DeviceLowering& lowering) {
  std::map<StreamPort, const Route*> circuit_at;
  for (const Route& route : lowering.out.routes) {
    if (route.packet_id >= 0) continue;
    const auto [place, fresh] = circuit_at.emplace(route.destination, &route);
    if (!fresh)
      lowering.fail(route.location,
                    fmt::format("tile {} already receives the flow of line {} on this port",
                                to_text(route.destination.tile), place->second->location.line));
  }
  for (const Route& route : lowering.out.routes) {
    if (route.packet_id < 0) continue;
    const auto circuit = circuit_at.find(route.destination);
    if (circuit != circuit_at.end())
      lowering.fail(route.location,
                    fmt::format("tile {} receives a circuit and packets on the same port",
                                to_text(route.destination.tile)));
  }
}

// One direction of one channel runs one program; the same start twice is a queue of two tasks and
// at most what the queue holds.
void verify_starts(const DeviceLowering& lowering) {
  std::map<std::tuple<TileCoordinate, DmaDirection, int>, uint32_t> count;
  for (const ChannelStart& start : lowering.out.starts) {
    const uint32_t tasks = ++count[{start.tile, start.direction, start.channel}];
    // The task being executed has left the queue.
    if (tasks > lowering.geometry.queue_depth + 1)
      lowering.fail(start.location,
                    fmt::format("{} channel {} of tile {} is started more often than its queue of "
                                "{} holds",
                                to_text(start.direction), start.channel, to_text(start.tile),
                                lowering.geometry.queue_depth));
  }
}

void verify_core_reach(const DeviceLowering& lowering) {
  for (const CoreDecl& core : lowering.out.cores) {
    const auto check = [&](TileCoordinate tile, SourceLocation location, const std::string& what) {
      const int east = tile.column - core.tile.column;
      const int north = tile.row - core.tile.row;
      const bool reached = lowering.kind(tile) == TileKind::kCore &&
                           ((east == 0 && north >= -1 && north <= 1) || (east == -1 && north == 0));
      if (!reached)
        lowering.fail(location, fmt::format("the core of tile {} cannot reach {} of tile {}",
                                            to_text(core.tile), what, to_text(tile)));
    };
    for (const Instruction& instruction : core.program.instructions) {
      if (instruction.opcode == Opcode::kLock) {
        const LockDecl& lock = lowering.out.locks[static_cast<size_t>(instruction.target)];
        check(lock.tile, instruction.location, fmt::format("lock '{}'", lock.name));
      } else if (instruction.opcode == Opcode::kReference) {
        const BufferDecl& buffer = lowering.out.buffers[static_cast<size_t>(instruction.immediate)];
        check(buffer.tile, instruction.location, fmt::format("buffer '{}'", buffer.name));
      }
    }
  }
}

}  // namespace

void verify_device(const DeviceLowering& lowering) {
  verify_routes(lowering);
  verify_starts(lowering);
  verify_core_reach(lowering);
}

}  // namespace tandem::npu

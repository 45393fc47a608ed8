// When nothing can happen any more: who waits for whom, as a cycle where there is one; see array.h.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "npu/emulator/array.h"

namespace tandem::npu {

using State = DmaChannel::State;

std::string Array::agent_name(AgentId agent) const {
  switch (agent.kind) {
    case AgentKind::kController: return "the runtime sequence";
    case AgentKind::kCore:
      return fmt::format("the core of tile {}",
                         to_text(cores_[static_cast<size_t>(agent.index)].tile));
    default: return channel_name(channels_[static_cast<size_t>(agent.index)]);
  }
}

// Of a core that waits for its cascade: whether it writes.
bool Array::waits_to_put(const CoreState& core) const {
  return core.cascade_target >= 0 &&
         cores_[static_cast<size_t>(core.cascade_target)].cascade_words.size() >= kCascadeDepth;
}

std::string Array::describe_wait(AgentId agent) const {
  const auto lock_text = [&](TileCoordinate tile, int id, int wanted, bool greater_equal) {
    const int value = tiles_.at(tile).locks[static_cast<size_t>(id)].value;
    std::string name = fmt::format("{}", id);
    for (const LockDecl& lock : device().locks)
      if (lock.tile == tile && lock.id == id && !lock.name.empty())
        name = fmt::format("{} '{}'", id, lock.name);
    return fmt::format("waits for lock {} of tile {} to be {}{} (it is {})", name, to_text(tile),
                       greater_equal ? "at least " : "", wanted, value);
  };
  if (agent.kind == AgentKind::kController) {
    const ControllerInstruction& instruction = sequence_[next_instruction_];
    return fmt::format("waits on line {} for a token of {} channel {} of tile {}",
                       instruction.location.line, to_text(instruction.direction),
                       instruction.channel, to_text(instruction.tile));
  }
  if (agent.kind == AgentKind::kCore) {
    const CoreState& core = cores_[static_cast<size_t>(agent.index)];
    if (core.ended) return "has ended";
    if (core.waits_for_cascade)
      return fmt::format("on line {} waits {}",
                         core.declaration->program.instructions[core.pc].location.line,
                         waits_to_put(core) ? "for room on its cascade" : "for its cascade's data");
    if (core.waiting_port >= 0)
      return fmt::format(
          "on line {} waits for {} on its stream port",
          core.declaration->program.instructions[core.pc].location.line,
          channels_[static_cast<size_t>(core.waiting_port)].direction == DmaDirection::kMM2S
              ? "room"
              : "data");
    if (core.waiting_lock < 0) return "computes";
    const LockDecl& lock = device().locks[static_cast<size_t>(core.waiting_lock)];
    const Instruction& instruction = core.declaration->program.instructions[core.pc];
    int wanted = static_cast<int>(instruction.immediate);
    bool greater_equal = true;
    if (instruction.opcode == Opcode::kLock)
      greater_equal =
          static_cast<LockAction>(instruction.function) == LockAction::kAcquireGreaterEqual;
    else
      wanted =
          (wanted - core.fifos[static_cast<size_t>(instruction.target)].held) *
          core.declaration->program.fifo_ends[static_cast<size_t>(instruction.target)].lock_units;
    return fmt::format("on line {} {}", instruction.location.line,
                       lock_text(lock.tile, lock.id, wanted, greater_equal));
  }
  const DmaChannel& channel = channels_[static_cast<size_t>(agent.index)];
  const int line = channel.descriptor.location.line;
  if (channel.state == State::kIdle) return "has no task";
  if (channel.state == State::kLock) {
    const int number = channel.descriptor.acquire_lock;
    TileCoordinate tile = channel.tile;
    int id = number;
    if (tiles_.at(tile).kind == TileKind::kMem) {
      tile.column += number / kMemTileLocks - 1;
      id = number % kMemTileLocks;
    }
    return fmt::format("with the descriptor of line {} {}", line,
                       lock_text(tile, id, std::abs(channel.descriptor.acquire_value),
                                 channel.descriptor.acquire_value < 0));
  }
  const uint32_t left = (channel.descriptor.length - channel.position) * 4;
  return fmt::format("with the descriptor of line {} waits {} {} more bytes", line,
                     channel.direction == DmaDirection::kS2MM ? "to receive" : "to send", left);
}

// Agents whose program or descriptors release a lock.
std::vector<AgentId> Array::lock_providers(const TileState& tile, int id) const {
  std::vector<AgentId> providers;
  for (size_t i = 0; i < cores_.size(); ++i) {
    const CoreProgram& program = cores_[i].declaration->program;
    const auto means = [&](int lock) {
      if (lock < 0) return false;
      const LockDecl& declaration = device().locks[static_cast<size_t>(lock)];
      return declaration.tile == tile.tile && declaration.id == id;
    };
    const bool releases = std::any_of(
        program.instructions.begin(), program.instructions.end(),
        [&](const Instruction& instruction) {
          return (instruction.opcode == Opcode::kLock &&
                  static_cast<LockAction>(instruction.function) == LockAction::kRelease &&
                  means(instruction.target)) ||
                 (instruction.opcode == Opcode::kFifoRelease &&
                  means(program.fifo_ends[static_cast<size_t>(instruction.target)].release_lock));
        });
    if (releases) providers.push_back({AgentKind::kCore, static_cast<int>(i)});
  }
  for (size_t i = 0; i < channels_.size(); ++i) {
    const DmaChannel& channel = channels_[i];
    if (!channel.has_task) continue;
    // The descriptors the running task's chain passes through.
    const TileState& own = tiles_.at(channel.tile);
    int descriptor = channel.task.descriptor;
    for (size_t steps = 0; steps <= own.descriptors.size(); ++steps) {
      const BufferDescriptor d =
          decode_descriptor(own.kind, own.descriptors[static_cast<size_t>(descriptor)].words);
      TileCoordinate where = channel.tile;
      int number = d.release_lock;
      if (own.kind == TileKind::kMem) {
        where.column += number / kMemTileLocks - 1;
        number %= kMemTileLocks;
      }
      if (d.release_value != 0 && where == tile.tile && number == id) {
        providers.push_back({AgentKind::kChannel, static_cast<int>(i)});
        break;
      }
      if (!d.use_next || d.next >= static_cast<int>(own.descriptors.size())) break;
      descriptor = d.next;
    }
  }
  return providers;
}

std::vector<AgentId> Array::blockers(AgentId agent) const {
  if (agent.kind == AgentKind::kController) {
    const ControllerInstruction& instruction = sequence_[next_instruction_];
    for (size_t i = 0; i < channels_.size(); ++i)
      if (channels_[i].tile == instruction.tile &&
          channels_[i].direction == instruction.direction &&
          channels_[i].index == instruction.channel)
        return {{AgentKind::kChannel, static_cast<int>(i)}};
    return {};
  }
  if (agent.kind == AgentKind::kCore) {
    const CoreState& core = cores_[static_cast<size_t>(agent.index)];
    if (core.waits_for_cascade)
      return {{AgentKind::kCore, waits_to_put(core) ? core.cascade_target : core.cascade_source}};
    if (core.waiting_port >= 0) return stream_partners(core.waiting_port);
    if (core.waiting_lock < 0) return {};
    const LockDecl& lock = device().locks[static_cast<size_t>(core.waiting_lock)];
    return lock_providers(tiles_.at(lock.tile), lock.id);
  }
  const DmaChannel& channel = channels_[static_cast<size_t>(agent.index)];
  if (channel.state == State::kLock) {
    TileCoordinate tile = channel.tile;
    int id = channel.descriptor.acquire_lock;
    if (tiles_.at(tile).kind == TileKind::kMem) {
      tile.column += id / kMemTileLocks - 1;
      id %= kMemTileLocks;
    }
    return lock_providers(tiles_.at(tile), id);
  }
  if (channel.state != State::kStreaming) return {};
  return stream_partners(agent.index);
}

// Those at the other ends of a channel's stream.
std::vector<AgentId> Array::stream_partners(int index) const {
  const DmaChannel& channel = channels_[static_cast<size_t>(index)];
  std::vector<AgentId> others;
  if (channel.direction == DmaDirection::kS2MM) {
    for (const int source : channel.sources) others.push_back(agent_of(source));
  } else {
    for (const StreamTarget& target : targets(channel, current_packet(channel)))
      others.push_back(agent_of(target.channel));
  }
  return others;
}

// Follows the first unvisited blocker from the runtime sequence on; the chain ends in a cycle or in
// someone who will never act.
void Array::report_deadlock() {
  std::vector<AgentId> path{{AgentKind::kController, 0}};
  std::string text;
  for (;;) {
    const AgentId agent = path.back();
    text += fmt::format("{}{} {}", path.size() == 1 ? "" : ", ", agent_name(agent),
                        describe_wait(agent));
    const std::vector<AgentId> next = blockers(agent);
    if (next.empty()) {
      const bool waits_for_lock =
          agent.kind == AgentKind::kCore
              ? cores_[static_cast<size_t>(agent.index)].waiting_lock >= 0
              : agent.kind == AgentKind::kChannel &&
                    channels_[static_cast<size_t>(agent.index)].state == State::kLock;
      if (waits_for_lock) text += ", and nothing that runs releases it";
      if (agent.kind == AgentKind::kChannel &&
          channels_[static_cast<size_t>(agent.index)].state == State::kStreaming)
        text += ", and no flow leads there";
      break;
    }
    const auto fresh = std::find_if(next.begin(), next.end(), [&](const AgentId& candidate) {
      return std::find(path.begin(), path.end(), candidate) == path.end();
    });
    if (fresh == next.end()) {
      text += fmt::format(", which closes the cycle at {}", agent_name(next.front()));
      break;
    }
    path.push_back(*fresh);
  }
  throw Error(ErrorCode::kTimeout,
              at(sequence_[next_instruction_].location, fmt::format("deadlock: {}", text)));
}

}  // namespace tandem::npu

// The array controller: the runtime sequence, one instruction after another; see array.h.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "npu/emulator/array.h"

namespace tandem::npu {

using Kind = ControllerInstruction::Kind;

// Too small a buffer is an error only where a transfer passes its end: declared types often say
// more than a sequence moves.
void Array::check_buffers(std::span<HostBuffer> buffers) {
  if (buffers.size() < design_.arguments.size())
    throw Error(ErrorCode::kUsage, fmt::format("the design takes {} buffers, {} are given",
                                               design_.arguments.size(), buffers.size()));
  for (size_t i = 0; i < design_.arguments.size() && options_.move_data; ++i)
    if (buffers[i].bytes.size() < design_.arguments[i].size)
      warn({}, fmt::format("argument {} ('%{}') is declared with {} bytes, {} are given", i,
                           design_.arguments[i].name, design_.arguments[i].size,
                           buffers[i].bytes.size()));
}

void Array::close_phase(const std::string& name) {
  const auto cycles = static_cast<uint64_t>(std::llround(now_ - phase_began_));
  phase_began_ = now_;
  if (cycles == 0) return;
  for (PhaseTime& phase : phases_) {
    if (phase.name != name) continue;
    phase.cycles += cycles;
    return;
  }
  phases_.push_back({name, cycles});
}

// True when every channel the instruction waits for had a token, which is then taken.
bool Array::take_tokens(const ControllerInstruction& instruction) {
  std::vector<DmaChannel*> waited;
  for (int column = 0; column < instruction.column_count; ++column)
    for (int row = 0; row < instruction.row_count; ++row)
      waited.push_back(&channel_at({instruction.tile.column + column, instruction.tile.row + row},
                                   instruction.direction, instruction.channel));
  if (!std::all_of(waited.begin(), waited.end(),
                   [](const DmaChannel* channel) { return channel->tokens > 0; }))
    return false;
  for (DmaChannel* channel : waited) --channel->tokens;
  return true;
}

// Executes one instruction other than a wait; returns what it costs.
Cycles Array::execute(const ControllerInstruction& instruction) {
  switch (instruction.kind) {
    case Kind::kWrite32: {
      const TileState* tile = find_tile(tile_of_address(instruction.address));
      const bool queue = tile != nullptr && name_register(geometry_->tile(tile->kind), tile->kind,
                                                          offset_of_address(instruction.address))
                                                    .kind == RegisterName::Kind::kChannelQueue;
      write_register(instruction.address, instruction.value, instruction.location);
      if (!queue) return timing_.write32;
      const bool first = !any_push_;
      any_push_ = true;
      return first ? timing_.queue_push_first : timing_.queue_push;
    }
    case Kind::kMaskWrite32: {
      const uint32_t old = read_register(instruction.address, instruction.location);
      write_register(instruction.address,
                     (old & ~instruction.mask) | (instruction.value & instruction.mask),
                     instruction.location);
      return timing_.mask_write32;
    }
    case Kind::kBlockWrite:
      for (size_t i = 0; i < instruction.words.size(); ++i)
        write_register(instruction.address + static_cast<uint32_t>(i) * 4, instruction.words[i],
                       instruction.location);
      return timing_.block_write_base +
             timing_.block_write_word * static_cast<Cycles>(instruction.words.size());
    case Kind::kAddressPatch: {
      if (instruction.argument < 0 || instruction.argument >= static_cast<int>(buffers_.size()))
        fail(instruction.location, fmt::format("argument {} is not among the {} buffers",
                                               instruction.argument, buffers_.size()));
      const uint64_t address = host_address(instruction.argument, instruction.addend);
      write_register(instruction.address, static_cast<uint32_t>(address), instruction.location);
      // The upper bits share their word with the packet fields.
      const uint32_t high = instruction.address + 4;
      const uint32_t old = read_register(high, instruction.location);
      write_register(high, (old & 0xFFFF0000u) | static_cast<uint32_t>(address >> 32),
                     instruction.location);
      return timing_.address_patch;
    }
    case Kind::kLoadDevice: {
      // The device that was loaded to start with is there already.
      if (instruction.device == device_ && !any_push_) return 0;
      load_device(instruction.device);
      return timing_.reconfigure_seconds * timing_.clock_hz;
    }
    case Kind::kPreempt:
    case Kind::kSync: return timing_.sync;
  }
  return 0;
}

void Array::wake_controller() {
  if (controller_done_) return;
  if (next_instruction_ >= sequence_.size()) {
    controller_done_ = true;
    close_phase("instructions");
    end_ = now_;
    return;
  }
  const ControllerInstruction& instruction = sequence_[next_instruction_];
  if (instruction.kind == Kind::kSync) {
    if (!controller_waiting_) close_phase("instructions");
    controller_waiting_ = !take_tokens(instruction);
    if (controller_waiting_) return;
    close_phase(fmt::format("wait {} {} {}", to_text(instruction.tile),
                            to_text(instruction.direction), instruction.channel));
  }
  ++next_instruction_;
  const Cycles cost = execute(instruction);
  controller_busy_ += cost;
  schedule({AgentKind::kController, 0}, now_ + cost);
}

// A transfer to the host that nobody waited for is still under way.
bool Array::host_writes_pending() const {
  return std::any_of(channels_.begin(), channels_.end(), [](const DmaChannel& channel) {
    return channel.tile.row == 0 && channel.direction == DmaDirection::kS2MM &&
           (channel.has_task || !channel.queue.empty());
  });
}

}  // namespace tandem::npu

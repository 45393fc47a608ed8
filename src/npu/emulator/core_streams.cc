// A core's own stream ports: words it puts on a stream and takes from one, each through a FIFO of a
// few words; see array.h. Circuits only: a core that builds packets is not modelled.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "npu/emulator/arithmetic.h"
#include "npu/emulator/array.h"

namespace tandem::npu {

bool Array::step_stream(CoreState& core, const Instruction& instruction) {
  const bool put = instruction.opcode == Opcode::kStreamPut;
  DmaChannel& port = core_port(core.tile, put ? DmaDirection::kMM2S : DmaDirection::kS2MM);
  if (put ? port.circuit.empty() : port.sources.empty())
    fail(instruction.location, fmt::format("no flow {} the stream port of the core of tile {}",
                                           put ? "starts at" : "leads to", to_text(core.tile)));
  const auto index = static_cast<int>(&port - channels_.data());
  const bool ready = put ? port.fifo.size < kCoreStreamWords * 4 : port.position > 0;
  core.waiting_port = ready ? -1 : index;
  if (!ready) return false;
  int64_t& value =
      core.registers[static_cast<size_t>(put ? instruction.a : instruction.destination)];
  std::array<std::byte, 4> word{};
  if (put) {
    store_scalar(word.data(), value, instruction.type);
    if (options_.move_data) port.fifo.bytes.insert(port.fifo.bytes.end(), word.begin(), word.end());
    port.fifo.size += 4;
    pump(index);
    return true;
  }
  if (options_.move_data) {
    std::copy_n(port.fifo.bytes.begin(), 4, word.begin());
    port.fifo.bytes.erase(port.fifo.bytes.begin(), port.fifo.bytes.begin() + 4);
  }
  value = load_scalar(word.data(), instruction.type);
  --port.position;
  pump_sources(index);
  return true;
}

// After words have moved: the core at this end may go on.
void Array::wake_port(int index) {
  if (channels_[static_cast<size_t>(index)].end != DmaChannel::End::kCore) return;
  for (size_t i = 0; i < cores_.size(); ++i)
    if (cores_[i].waiting_port == index) schedule({AgentKind::kCore, static_cast<int>(i)}, now_);
}

// Who acts at a stream's end.
AgentId Array::agent_of(int index) const {
  const DmaChannel& channel = channels_[static_cast<size_t>(index)];
  for (size_t i = 0; channel.end == DmaChannel::End::kCore && i < cores_.size(); ++i)
    if (cores_[i].tile == channel.tile) return {AgentKind::kCore, static_cast<int>(i)};
  return {AgentKind::kChannel, index};
}

}  // namespace tandem::npu

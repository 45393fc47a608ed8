// Control packets: words that arrive at a tile's control port write and read its registers; see
// array.h. Layout of the first word (AMD AM020; mlir-aie, AIECtrlPacketToDma.cpp):
//   [31] parity  [28:24] packet id of the answer  [23:22] operation  [21:20] words - 1  [19:0]
//   address
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cstring>

#include "npu/emulator/array.h"

namespace tandem::npu {

void Array::receive_control(DmaChannel& port, std::span<const std::byte> bytes) {
  for (size_t at = 0; at + 4 <= bytes.size(); at += 4) {
    uint32_t word = 0;
    std::memcpy(&word, bytes.data() + at, 4);
    port.control_words.push_back(word);
    const uint32_t header = port.control_words[0];
    const size_t words = ((header >> 20) & 3) + 1;
    const bool reads = ((header >> 22) & 3) == 1;
    if (!reads && port.control_words.size() < words + 1) continue;
    execute_control(port, words);
    port.control_words.clear();
  }
}

void Array::execute_control(DmaChannel& port, size_t words) {
  const uint32_t header = port.control_words[0];
  const uint32_t address = array_address(port.tile, header & 0xFFFFF);
  const bool reads = ((header >> 22) & 3) == 1;
  if (!reads) {
    for (size_t i = 0; i < words; ++i)
      write_register(address + static_cast<uint32_t>(i) * 4, port.control_words[i + 1], {});
    return;
  }
  DmaChannel& answer = control_port(port.tile, DmaDirection::kMM2S);
  for (size_t i = 0; i < words; ++i) {
    const uint32_t value = read_register(address + static_cast<uint32_t>(i) * 4, {});
    const auto* raw = reinterpret_cast<const std::byte*>(&value);
    answer.fifo.bytes.insert(answer.fifo.bytes.end(), raw, raw + 4);
  }
  answer.fifo.size += static_cast<uint32_t>(words) * 4;
  answer.fifo.packet_id = static_cast<int>((header >> 24) & 0x1F);
  answer.fifo.ends_packet = true;
  pump(static_cast<int>(&answer - channels_.data()));
}

}  // namespace tandem::npu

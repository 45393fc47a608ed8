// For the emulator's tests: pieces of designs as text, and one call that runs them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "npu/emulator/emulator.h"

namespace tandem::npu {

inline constexpr const char* kTiles = R"(
    %shim = aie.tile(0, 0)
    %mem = aie.tile(0, 1)
    %core = aie.tile(0, 2)
)";

inline std::string device_text(const std::string& body, const std::string& device = "npu1") {
  return "module {\n  aie.device(" + device + ") {\n" + body + "\n  }\n}\n";
}

// Runs a text over 32-bit words, one vector per argument; returns the result.
inline EmulationResult run(const std::string& text, std::vector<std::vector<int32_t>>& arguments,
                           const EmulatorOptions& options = {}) {
  const Design design = parse_design(text, {"t.mlir", "", ""});
  std::vector<HostBuffer> buffers;
  for (auto& words : arguments)
    buffers.push_back({std::as_writable_bytes(std::span(words)), words.size() * 4});
  return emulate(design, options, buffers);
}

inline std::string run_error(const std::string& text, std::vector<std::vector<int32_t>> arguments) {
  try {
    run(text, arguments);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

inline std::vector<int32_t> counting(int32_t first, size_t count) {
  std::vector<int32_t> words(count);
  std::iota(words.begin(), words.end(), first);
  return words;
}

// One linear transfer in and one out, then a wait.
inline std::string sequence_text(size_t in, size_t out, const std::string& in_name = "in") {
  return fmt::format(R"(
    aie.runtime_sequence(%a : memref<{0}xi32>, %b : memref<{1}xi32>) {{
      aiex.npu.dma_memcpy_nd(%a[0, 0, 0, 0][1, 1, 1, {0}][0, 0, 0, 1]) {{metadata = @{2}, id = 0 : i64}} : memref<{0}xi32>
      aiex.npu.dma_memcpy_nd(%b[0, 0, 0, 0][1, 1, 1, {1}][0, 0, 0, 1]) {{metadata = @out, id = 1 : i64}} : memref<{1}xi32>
      aiex.npu.dma_wait {{symbol = @out}}
    }})",
                     in, out, in_name);
}

// One core that turns an object of 16 words into another: `body` works on %x and %y.
inline std::string one_core(const std::string& body, const std::string& functions = "") {
  return device_text(functions + std::string(kTiles) + R"(
    aie.objectfifo @in(%shim, {%core}, 1 : i32) : !aie.objectfifo<memref<16xi32>>
    aie.objectfifo @out(%core, {%shim}, 1 : i32) : !aie.objectfifo<memref<16xi32>>
    aie.core(%core) {
      %c0 = arith.constant 0 : index
      %a = aie.objectfifo.acquire @in(Consume, 1) : !aie.objectfifosubview<memref<16xi32>>
      %x = aie.objectfifo.subview.access %a[0] : !aie.objectfifosubview<memref<16xi32>> -> memref<16xi32>
      %b = aie.objectfifo.acquire @out(Produce, 1) : !aie.objectfifosubview<memref<16xi32>>
      %y = aie.objectfifo.subview.access %b[0] : !aie.objectfifosubview<memref<16xi32>> -> memref<16xi32>
)" + body + R"(
      aie.objectfifo.release @in(Consume, 1)
      aie.objectfifo.release @out(Produce, 1)
      aie.end
    })" + sequence_text(16, 16));
}

// What one_core() makes of 1, 2, .. 16.
inline std::vector<int32_t> run_core(const std::string& text, const EmulatorOptions& options = {}) {
  std::vector<std::vector<int32_t>> arguments{counting(1, 16), std::vector<int32_t>(16)};
  run(text, arguments, options);
  return arguments[1];
}

}  // namespace tandem::npu

// Feeds arbitrary text to the AIE dialect's parser and, when it is a design, runs it without data
// within tight limits. Anything but a tandem::Error is a bug.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "npu/emulator/emulator.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tandem;
  using namespace tandem::npu;
  try {
    const Design design =
        parse_design({reinterpret_cast<const char*>(data), size}, {"fuzz.mlir", "npu1", ""});
    EmulatorOptions options;
    options.move_data = false;
    options.cycle_limit = 1'000'000;
    options.wall_seconds_limit = 2;
    std::vector<HostBuffer> buffers;
    for (const HostArgument& argument : design.arguments) buffers.push_back({{}, argument.size});
    emulate(design, options, buffers);
  } catch (const Error&) {
  }
  return 0;
}

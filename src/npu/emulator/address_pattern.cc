// See address_pattern.h.
// SPDX-License-Identifier: Apache-2.0
#include "npu/emulator/address_pattern.h"

#include <algorithm>

namespace tandem::npu {

AddressRun run_at(const BufferDescriptor& d, uint32_t position, uint32_t limit) {
  // Split the position into an index per dimension; padding widens the inner three.
  std::array<uint64_t, 4> index{};
  uint64_t rest = position;
  for (size_t i = 0; i < 4; ++i) {
    const uint64_t size = d.dimensions[i].size;
    if (size == 0 || i == 3) {
      index[i] = rest;
      rest = 0;
      break;
    }
    const uint64_t padded = size + (i < 3 ? d.pad_before[i] + d.pad_after[i] : 0);
    index[i] = rest % padded;
    rest /= padded;
  }
  AddressRun run;
  const uint64_t size0 = d.dimensions[0].size;
  const uint64_t row_end =
      size0 == 0 ? uint64_t{position} + limit : size0 + d.pad_before[0] + d.pad_after[0];
  bool outer_padding = false;
  uint64_t words = 0;
  for (size_t i = 1; i < 4; ++i) {
    const uint64_t before = i < 3 ? d.pad_before[i] : 0;
    const uint64_t size = d.dimensions[i].size;
    outer_padding = outer_padding || index[i] < before || (size != 0 && index[i] >= before + size);
    words += (index[i] - before) * d.dimensions[i].stride;
  }
  const uint64_t before = d.pad_before[0];
  uint64_t available = 0;
  if (outer_padding || (size0 != 0 && index[0] >= before + size0)) {
    run.padding = true;
    available = row_end - index[0];
  } else if (index[0] < before) {
    run.padding = true;
    available = before - index[0];
  } else {
    words += (index[0] - before) * d.dimensions[0].stride;
    run.offset = words * 4;
    available = size0 == 0 ? limit : before + size0 - index[0];
    if (d.dimensions[0].stride != 1) available = 1;
  }
  run.words = static_cast<uint32_t>(std::min<uint64_t>(available, limit));
  return run;
}

uint64_t contiguous_bytes(const BufferDescriptor& d) {
  uint64_t run = 1;
  for (size_t i = 0; i < 4; ++i) {
    const BdDimension& dimension = d.dimensions[i];
    if (dimension.size == 1) continue;
    if (dimension.stride != run) break;
    if (dimension.size == 0) return uint64_t{d.length} * 4;
    run *= dimension.size;
  }
  return std::min<uint64_t>(run, d.length) * 4;
}

}  // namespace tandem::npu

// From an aie.dma_bd as written, in elements, to the fields of the registers, in words, with the
// limits of the tile's DMA.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "npu/aie_text/lowering.h"

namespace tandem::npu {
namespace {

class DescriptorMaker {
 public:
  DescriptorMaker(const DeviceLowering& lowering, const DmaChain& chain, const DmaBlock& block)
      : lowering_(lowering), chain_(chain), block_(block), limits_(lowering.limits(chain.tile)) {}

  BufferDescriptor make() {
    descriptor_.valid = true;
    descriptor_.location = block_.location;
    descriptor_.length = length();
    set_dimensions();
    set_padding();
    descriptor_.address = address();
    set_locks();
    if (block_.packet) {
      descriptor_.packet_enabled = true;
      descriptor_.packet_type = static_cast<uint8_t>(block_.packet->first);
      descriptor_.packet_id = static_cast<uint8_t>(block_.packet->second);
    }
    return descriptor_;
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    lowering_.fail(block_.location, message);
  }

  // Elements as 32-bit words.
  int64_t words(int64_t elements, const char* what) const {
    const int64_t bits = elements * block_.element_bits;
    if (bits % 32 != 0)
      fail(fmt::format("{} of {} elements of {} bits is not a multiple of 4 bytes", what, elements,
                       block_.element_bits));
    return bits / 32;
  }

  uint32_t length() const {
    const int64_t count = words(block_.length, "a length");
    if (count < 1 || count > int64_t{limits_.max_length})
      fail(fmt::format("a length of {} words does not fit the descriptors of tile {} (1 to {})",
                       count, to_text(chain_.tile), limits_.max_length));
    return static_cast<uint32_t>(count);
  }

  // Stride of the innermost dimension, in words: narrow and wide elements are contiguous.
  int64_t inner_stride(const TextDimension& inner) const {
    if (block_.element_bits == 32) return inner.stride;
    if (inner.stride != 1 && inner.size > 1)
      fail(fmt::format("the innermost stride must be 1 for elements of {} bits, not {}",
                       block_.element_bits, inner.stride));
    return 1;
  }

  void set_dimensions() {
    const size_t count = block_.dimensions.size();
    if (count > limits_.dimensions)
      fail(fmt::format("the DMA of tile {} takes at most {} dimensions, not {}",
                       to_text(chain_.tile), limits_.dimensions, count));
    int64_t last = block_.offset;
    int64_t inner = 1;  // elements of the dimensions inside, up to the length
    for (size_t i = 0; i < count; ++i) {
      const TextDimension& dimension = block_.dimensions[count - 1 - i];
      if (dimension.size < 1) fail("a dimension's size must be at least 1");
      if (dimension.stride < 1 && dimension.size > 1)
        fail(fmt::format("a stride must be at least 1, not {}", dimension.stride));
      // The length may end the pattern before its outer dimensions do.
      const bool padded = !block_.padding.empty();
      const int64_t turns =
          padded ? dimension.size : std::min(dimension.size, (block_.length + inner - 1) / inner);
      last += (turns - 1) * dimension.stride;
      inner = std::min(inner * dimension.size, block_.length);
      const int64_t size = i == 0 ? words(dimension.size, "the innermost size") : dimension.size;
      int64_t stride = 1;
      if (i == 0)
        stride = inner_stride(dimension);
      else if (dimension.size > 1)
        stride = words(dimension.stride, "a stride");
      const bool has_size_field = i + 1 < limits_.dimensions || i < 2;
      // A lone contiguous dimension needs no wrap: the length alone says where it ends.
      const bool linear = count == 1 && stride == 1;
      if (has_size_field && !linear && size > int64_t{limits_.max_wrap})
        fail(fmt::format("a size of {} exceeds the {} that tile {} can wrap at", size,
                         limits_.max_wrap, to_text(chain_.tile)));
      if (stride > int64_t{limits_.max_stride})
        fail(fmt::format("a stride of {} words exceeds the {} of tile {}", stride,
                         limits_.max_stride, to_text(chain_.tile)));
      descriptor_.dimensions[i].size =
          linear || i + 1 == limits_.dimensions ? 0 : static_cast<uint32_t>(size);
      descriptor_.dimensions[i].stride = static_cast<uint32_t>(stride);
    }
    if (count == 0) last += block_.length - 1;
    if (block_.buffer >= 0 && last >= block_.buffer_elements)
      fail(fmt::format("the pattern reaches element {} of a buffer of {}", last,
                       block_.buffer_elements));
  }

  void set_padding() {
    if (block_.padding.empty()) return;
    if (lowering_.kind(chain_.tile) != TileKind::kMem || chain_.direction != DmaDirection::kMM2S)
      fail("padding is only possible on an MM2S channel of a mem tile");
    const size_t count = block_.padding.size();
    if (count != block_.dimensions.size() || count > 3)
      fail(fmt::format("{} paddings for {} dimensions: one each, at most 3", count,
                       block_.dimensions.size()));
    int64_t padded = 1;
    for (size_t i = 0; i < count && padded <= block_.length; ++i)
      padded *= block_.padding[i].before + block_.dimensions[i].size + block_.padding[i].after;
    if (padded > block_.length)
      fail(fmt::format("the padded data exceeds the length of {} elements", block_.length));
    if (block_.pad_value != 0) fail("only zero padding is supported");
    static constexpr uint32_t kMaxPad[] = {63, 31, 15};
    for (size_t i = 0; i < count; ++i) {
      const TextPadding& padding = block_.padding[count - 1 - i];
      for (const bool before : {true, false}) {
        const int64_t amount = before ? padding.before : padding.after;
        const int64_t field = i == 0 ? words(amount, "the innermost padding") : amount;
        if (field < 0 || field > int64_t{kMaxPad[i]})
          fail(fmt::format("a padding of {} in dimension {} exceeds {}", field, i, kMaxPad[i]));
        (before ? descriptor_.pad_before : descriptor_.pad_after)[i] = static_cast<uint32_t>(field);
      }
      // With padding a wrap is always needed, also for a lone dimension.
      if (descriptor_.dimensions[i].size == 0) {
        const TextDimension& dimension = block_.dimensions[block_.dimensions.size() - 1 - i];
        descriptor_.dimensions[i].size = static_cast<uint32_t>(
            i == 0 ? words(dimension.size, "the innermost size") : dimension.size);
      }
    }
  }

  uint64_t address() const {
    const int64_t bits = block_.offset * block_.element_bits;
    if (bits % 32 != 0)
      fail(fmt::format("an offset of {} elements of {} bits is not a multiple of 4 bytes",
                       block_.offset, block_.element_bits));
    const auto bytes = static_cast<uint64_t>(bits / 8);
    if (block_.buffer < 0)
      return host_address(block_.argument, static_cast<uint64_t>(block_.argument_offset) + bytes);
    const BufferDecl& buffer = lowering_.out.buffers[static_cast<size_t>(block_.buffer)];
    check_reach(buffer.tile, "buffer", buffer.name);
    return bytes + dma_address(lowering_, chain_.tile, buffer, block_.location);
  }

  // The last channels of a mem tile work on their own tile only.
  void check_reach(TileCoordinate tile, const char* what, const std::string& name) const {
    if (tile != chain_.tile && lowering_.kind(chain_.tile) == TileKind::kMem &&
        chain_.channel >= static_cast<int>(limits_.neighbour_channels))
      fail(
          fmt::format("channel {} of tile {} cannot reach {} '{}' of tile {}; channels 0 to {} can",
                      chain_.channel, to_text(chain_.tile), what, name, to_text(tile),
                      limits_.neighbour_channels - 1));
  }

  int lock_id(const LockUse& use) const {
    const LockDecl& lock = lowering_.out.locks[static_cast<size_t>(use.lock)];
    check_reach(lock.tile, "lock", lock.name);
    return dma_lock_id(lowering_, chain_.tile, lock, block_.location);
  }

  void set_locks() {
    if (block_.acquire.lock >= 0) {
      descriptor_.acquire_enabled = true;
      descriptor_.acquire_lock = lock_id(block_.acquire);
      descriptor_.acquire_value =
          block_.acquire.greater_equal ? -block_.acquire.value : block_.acquire.value;
    }
    if (block_.release.lock >= 0) {
      descriptor_.release_lock = lock_id(block_.release);
      descriptor_.release_value = block_.release.value;
    }
  }

  const DeviceLowering& lowering_;
  const DmaChain& chain_;
  const DmaBlock& block_;
  const TileGeometry& limits_;
  BufferDescriptor descriptor_;
};

}  // namespace

BufferDescriptor make_descriptor(const DeviceLowering& lowering, const DmaChain& chain,
                                 const DmaBlock& block) {
  return DescriptorMaker(lowering, chain, block).make();
}

}  // namespace tandem::npu

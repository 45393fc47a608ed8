// Runtime sequences: dma_memcpy_nd and DMA tasks; see sequence_lowering.h.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "npu/aie_text/sequence_lowering.h"

namespace tandem::npu {

using mlir::Attribute;

namespace {

// Four innermost-first sizes and strides of a runtime transfer; the fourth is the iteration.
struct RuntimePattern {
  std::array<int64_t, 4> sizes{1, 1, 1, 1};
  std::array<int64_t, 4> strides{1, 0, 0, 0};

  // Says nothing but "this many elements in a row".
  bool is_linear() const {
    return sizes[1] == 1 && sizes[2] == 1 && strides[0] == 1 && strides[1] == 0 && strides[2] == 0;
  }
};

}  // namespace

const ShimAllocation& SequenceLowering::allocation(const Operation& operation,
                                                   std::string_view key) {
  const std::string name = text_of(device(), operation, key);
  const ShimAllocation* found = find_shim_allocation(device().out, name);
  if (found == nullptr) found = find_shim_allocation(device().out, name + "_shim_alloc");
  if (found == nullptr)
    fail(operation,
         fmt::format("'@{}' names no shim allocation and no FIFO with a shim end", name));
  return *found;
}

void SequenceLowering::check_host_bounds(const Operation& operation, int argument,
                                         uint64_t last_byte) {
  const HostArgument& host = design_.arguments[static_cast<size_t>(argument)];
  if (host.size != 0 && last_byte >= host.size)
    device().warn(operation.location,
                  fmt::format("the transfer reaches byte {} of argument '%{}' declared with {}",
                              last_byte, host.name, host.size));
}

namespace {

// The pattern as dimensions of a block, outermost first, its iteration apart.
void apply_pattern(const RuntimePattern& pattern, DmaBlock& block) {
  block.length = pattern.sizes[0] * pattern.sizes[1] * pattern.sizes[2];
  if (pattern.is_linear()) return;
  for (size_t i = 3; i-- > 0;) {
    const bool unused = pattern.sizes[i] == 1 && i > 0;
    block.dimensions.push_back({pattern.sizes[i], unused ? 1 : pattern.strides[i]});
  }
}

// Iteration in words; a stride of 0 repeats the same transfer.
void apply_iteration(const DeviceLowering& device, const RuntimePattern& pattern,
                     const DmaBlock& block, SourceLocation location, const TileGeometry& limits,
                     BufferDescriptor& descriptor) {
  if (pattern.sizes[3] <= 1 || pattern.strides[3] == 0) return;
  const int64_t bits = pattern.strides[3] * block.element_bits;
  if (bits % 32 != 0)
    device.fail(location, fmt::format("stride 3 of {} elements is not a multiple of 4 bytes",
                                      pattern.strides[3]));
  if (pattern.strides[3] < 0 || bits / 32 > int64_t{limits.max_stride})
    device.fail(location, fmt::format("stride 3 of {} words is not from 0 to {}", bits / 32,
                                      limits.max_stride));
  descriptor.iteration_size = static_cast<uint32_t>(pattern.sizes[3]);
  descriptor.iteration_stride = static_cast<uint32_t>(bits / 32);
}

}  // namespace

namespace {

// Whether the products a transfer's numbers enter stay far from the limits of 64 bits.
bool is_sensible(const std::vector<int64_t>& offsets, const std::vector<int64_t>& sizes,
                 const std::vector<int64_t>& strides) {
  constexpr double kLimit = 0x1p50;
  double length = 1;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const auto stride = static_cast<double>(strides[i]);
    length *= static_cast<double>(sizes[i]);
    for (const double value : {stride, static_cast<double>(offsets[i]) * stride,
                               static_cast<double>(sizes[i]) * stride, length})
      if (!(std::abs(value) < kLimit)) return false;
  }
  return true;
}

}  // namespace

void SequenceLowering::dma_memcpy(const Operation& operation) {
  const ShimAllocation& shim = allocation(operation, "metadata");
  const HostReference& host = host_operand(operation, 0);
  size_t operand = 1;
  const std::vector<int64_t> offsets = index_list(operation, "static_offsets", operand);
  const std::vector<int64_t> sizes = index_list(operation, "static_sizes", operand);
  const std::vector<int64_t> strides = index_list(operation, "static_strides", operand);
  if (offsets.size() != 4 || sizes.size() != 4 || strides.size() != 4)
    fail(operation, "aiex.npu.dma_memcpy_nd needs 4 offsets, 4 sizes and 4 strides");
  if (!is_sensible(offsets, sizes, strides))
    fail(operation, "the offsets, sizes and strides reach beyond any memory");

  DmaChain chain;
  chain.tile = shim.tile;
  chain.direction = shim.direction;
  chain.channel = shim.channel;
  chain.location = operation.location;
  DmaBlock block;
  block.argument = host.argument;
  block.element_bits = device().value(operation.operands[0]).type.scalar.bits;
  if (block.element_bits > 32 || block.element_bits % 8 != 0)
    fail(operation, "elements of a transfer are 8, 16 or 32 bits");
  block.location = operation.location;
  RuntimePattern pattern;
  int64_t start = 0;
  for (size_t i = 0; i < 4; ++i) {
    pattern.sizes[i] = sizes[3 - i];
    pattern.strides[i] = strides[3 - i];
    if (pattern.sizes[i] < 1) fail(operation, fmt::format("size {} must be at least 1", i));
    if (i < 3 && pattern.sizes[i] > 1 && pattern.strides[i] < 1)
      fail(operation, fmt::format("stride {} must be at least 1", i));
    // Also where the stride is never taken, as the compiler does.
    if (!(i == 0 && pattern.strides[i] == 1) && pattern.strides[i] * block.element_bits % 32 != 0)
      fail(operation,
           fmt::format("stride {} of {} elements of {} bits is not a multiple of 4 bytes", i,
                       pattern.strides[i], block.element_bits));
    start += offsets[i] * strides[i];
  }
  if (pattern.sizes[3] > int64_t{device().geometry.max_iteration})
    fail(operation,
         fmt::format("size 3 exceeds the [1:{}] range", device().geometry.max_iteration));
  const int64_t byte_offset = start * (block.element_bits / 8);
  if (byte_offset < 0) fail(operation, "the offset must not be negative");
  block.argument_offset = host.offset + byte_offset;
  apply_pattern(pattern, block);
  if (const Attribute* packet = operation.attribute("packet"))
    block.packet = packet_of(device(), *packet);
  check_burst_length(device(), operation, TileKind::kShim);
  for (const char* key : {"d0_zero_before", "d1_zero_before", "d2_zero_before", "d0_zero_after",
                          "d1_zero_after", "d2_zero_after"})
    if (integer_of(device(), operation, key, 0) != 0)
      fail(operation, "zero padding is only available on mem tiles");

  BufferDescriptor descriptor = make_descriptor(device(), chain, block);
  apply_iteration(device(), pattern, block, operation.location, device().geometry.shim, descriptor);
  int64_t last = 0;
  for (size_t i = 0; i < 4; ++i) last += (pattern.sizes[i] - 1) * pattern.strides[i];
  check_host_bounds(
      operation, host.argument,
      static_cast<uint64_t>(block.argument_offset) +
          static_cast<uint64_t>(last + 1) * static_cast<uint64_t>(block.element_bits) / 8 - 1);

  const auto id = static_cast<int>(
      integer_in(device(), operation, "id", 0, device().geometry.shim.descriptors - 1));
  const uint64_t addend = host_offset(descriptor.address);
  descriptor.address = 0;  // set by the patch
  emit_descriptor(operation, shim.tile, id, descriptor);
  ControllerInstruction& patch = emit(ControllerInstruction::Kind::kAddressPatch, operation);
  patch.address = array_address(shim.tile, descriptor_register(TileKind::kShim, id) + 4);
  patch.argument = host.argument;
  patch.addend = addend;
  chain.repeat_count = static_cast<int>(pattern.sizes[3] - 1);
  const bool token = flag_of(operation, "issue_token") || shim.direction == DmaDirection::kS2MM;
  emit_push(operation, chain, id, token);
}

// ---- tasks ----

namespace {

// Dimensions that only spell out a contiguous run, which has no limit of its own.
bool says_nothing(const std::vector<TextDimension>& dimensions) {
  if (dimensions.empty() || dimensions.back().stride != 1) return false;
  return std::all_of(dimensions.begin(), dimensions.end() - 1,
                     [](const TextDimension& dimension) { return dimension.size == 1; });
}

}  // namespace

// Follows next_bd through the region's blocks; an entry block that only jumps is skipped.
DmaChain SequenceLowering::read_task_chain(const Operation& operation, const mlir::Region& region,
                                           DmaChain chain) {
  const mlir::Block* block = &region.blocks.front();
  const bool only_jump = block->operations.size() == 1 &&
                         block->operations.front().name == "aie.next_bd" &&
                         !block->operations.front().successors.empty();
  if (only_jump) block = region.find_block(block->operations.front().successors[0].block);
  std::map<const mlir::Block*, int> index_of_block;
  int previous = -1;
  while (block != nullptr) {
    if (const auto seen = index_of_block.find(block); seen != index_of_block.end()) {
      chain.blocks[static_cast<size_t>(previous)].next = seen->second;
      break;
    }
    const int index = static_cast<int>(chain.blocks.size());
    index_of_block[block] = index;
    chain.blocks.push_back(read_dma_block(device(), chain.tile, *block, &references_));
    if (previous >= 0) chain.blocks[static_cast<size_t>(previous)].next = index;
    previous = index;
    const Operation& last = block->operations.back();
    if (last.name != "aie.next_bd" || last.successors.empty()) break;
    block = region.find_block(last.successors[0].block);
    if (block == nullptr)
      device().fail(last.location, fmt::format("there is no block '^{}' in this region",
                                               last.successors[0].block));
  }
  if (chain.blocks.empty()) fail(operation, "a DMA task needs at least one aie.dma_bd");
  for (const DmaBlock& made : chain.blocks)
    if (made.argument >= 0 && device().kind(chain.tile) != TileKind::kShim)
      device().fail(made.location,
                    "arguments of the runtime sequence can only be used on shim "
                    "tiles");
  return chain;
}

void SequenceLowering::assign_task_descriptors(const Operation& operation, DmaChain& chain) {
  std::set<int>& used = used_descriptors_[chain.tile];
  for (const DmaBlock& block : chain.blocks) {
    if (block.descriptor_id < 0) continue;
    if (!used.insert(block.descriptor_id).second)
      device().fail(block.location,
                    fmt::format("descriptor {} of tile {} is already in use; free its task with "
                                "aiex.dma_free_task to reuse it",
                                block.descriptor_id, to_text(chain.tile)));
  }
  for (DmaBlock& block : chain.blocks) {
    if (block.descriptor_id >= 0) continue;
    const int count = static_cast<int>(device().limits(chain.tile).descriptors);
    int id = 0;
    while (id < count && used.contains(id)) ++id;
    if (id == count)
      fail(operation,
           fmt::format("all {} descriptors of tile {} are in use", count, to_text(chain.tile)));
    used.insert(id);
    block.descriptor_id = id;
  }
}

void SequenceLowering::configure_task(const Operation& operation, Task task) {
  DmaChain& chain = task.chain;
  assign_task_descriptors(operation, chain);
  for (const DmaBlock& written : chain.blocks) {
    DmaBlock block = written;
    RuntimePattern pattern;
    // The outermost of four dimensions is the iteration over repeats of the task.
    const bool iterates = block.dimensions.size() == 4;
    if (iterates) {
      pattern.sizes[3] = block.dimensions[0].size;
      pattern.strides[3] = block.dimensions[0].stride;
      block.dimensions.erase(block.dimensions.begin());
    }
    uint64_t described = 1;
    for (const TextDimension& dimension : block.dimensions)
      described *= static_cast<uint64_t>(dimension.size);
    if (!block.dimensions.empty() && described != static_cast<uint64_t>(block.length))
      device().fail(block.location,
                    fmt::format("the dimensions describe {} elements, the length says {}",
                                described, block.length));
    if (says_nothing(block.dimensions)) block.dimensions.clear();
    BufferDescriptor descriptor = make_descriptor(device(), chain, block);
    if (iterates)
      apply_iteration(device(), pattern, block, block.location, device().limits(chain.tile),
                      descriptor);
    if (block.next >= 0) {
      descriptor.use_next = true;
      descriptor.next = chain.blocks[static_cast<size_t>(block.next)].descriptor_id;
    } else if (block.next_descriptor >= 0) {
      descriptor.use_next = true;
      descriptor.next = block.next_descriptor;
    }
    const bool host = block.buffer < 0;
    if (host && block.dimensions.empty())
      check_host_bounds(operation, block.argument,
                        host_offset(descriptor.address) + uint64_t{descriptor.length} * 4 - 1);
    const uint64_t addend = host ? host_offset(descriptor.address) : 0;
    if (host) descriptor.address = 0;
    emit_descriptor(operation, chain.tile, block.descriptor_id, descriptor);
    if (!host) continue;
    ControllerInstruction& patch = emit(ControllerInstruction::Kind::kAddressPatch, operation);
    patch.address =
        array_address(chain.tile, descriptor_register(TileKind::kShim, block.descriptor_id) + 4);
    patch.argument = block.argument;
    patch.addend = addend;
  }
  if (!operation.results.empty()) tasks_[operation.results[0]] = std::move(task);
}

void SequenceLowering::configure_task_region(const Operation& operation) {
  Task task;
  task.chain.location = operation.location;
  if (operation.name == "aiex.dma_configure_task_for") {
    const ShimAllocation& shim = allocation(operation, "alloc");
    task.chain.tile = shim.tile;
    task.chain.direction = shim.direction;
    task.chain.channel = shim.channel;
  } else {
    task.chain.tile = device().tile_operand(operation, 0);
    task.chain.direction = direction_of(device(), operation, "direction");
    task.chain.channel = static_cast<int>(integer_in(
        device(), operation, "channel", 0, device().limits(task.chain.tile).channels - 1));
  }
  task.chain.repeat_count =
      static_cast<int>(integer_in(device(), operation, "repeat_count", 0, 255, 0));
  task.issue_token = flag_of(operation, "issue_token");
  if (operation.regions.empty()) fail(operation, "a DMA task needs a body");
  task.chain = read_task_chain(operation, *operation.regions[0], std::move(task.chain));
  if (const Attribute* packet = operation.attribute("packet"))
    for (DmaBlock& block : task.chain.blocks)
      if (!block.packet) block.packet = packet_of(device(), *packet);
  configure_task(operation, std::move(task));
}

void SequenceLowering::start_bd_chain(const Operation& operation) {
  const std::string name = text_of(device(), operation, "symbol");
  const Operation* definition = nullptr;
  mlir::walk(*device().operation.regions[0], [&](const Operation& candidate) {
    if (candidate.name == "aie.bd_chain" && !candidate.regions.empty() &&
        text_of(device(), candidate, "sym_name") == name)
      definition = &candidate;
    return false;
  });
  if (definition == nullptr) fail(operation, fmt::format("there is no aie.bd_chain '@{}'", name));
  const bool named = operation.name == "aiex.dma_start_bd_chain_for";
  const size_t arguments =
      operation.operands.size() - (named || operation.operands.empty() ? 0 : 1);
  const mlir::Region& region = *definition->regions[0];
  const auto& parameters = region.blocks.front().arguments;
  if (parameters.size() != arguments)
    fail(operation,
         fmt::format("'@{}' takes {} arguments, not {}", name, parameters.size(), arguments));
  for (size_t i = 0; i < arguments; ++i) {
    const auto buffer = device().buffers.find(operation.operands[i]);
    const auto lock = device().locks.find(operation.operands[i]);
    if (buffer != device().buffers.end())
      device().buffers[parameters[i]] = buffer->second;
    else if (lock != device().locks.end())
      device().locks[parameters[i]] = lock->second;
    else
      references_[parameters[i]] = host_operand(operation, i);
  }
  Task task;
  task.chain.location = operation.location;
  if (named) {
    const ShimAllocation& shim = allocation(operation, "alloc");
    task.chain.tile = shim.tile;
    task.chain.direction = shim.direction;
    task.chain.channel = shim.channel;
  } else {
    task.chain.tile = device().tile_operand(operation, arguments);
    task.chain.direction = direction_of(device(), operation, "direction");
    task.chain.channel = static_cast<int>(integer_in(device(), operation, "channel", 0, 5));
  }
  task.chain.repeat_count =
      static_cast<int>(integer_in(device(), operation, "repeat_count", 0, 255, 0));
  task.issue_token = flag_of(operation, "issue_token");
  task.chain = read_task_chain(operation, region, std::move(task.chain));
  const Task started = task;
  configure_task(operation, std::move(task));
  start_task(operation, operation.results.empty() ? started : tasks_[operation.results[0]]);
}

const SequenceLowering::Task& SequenceLowering::task_operand(const Operation& operation) {
  if (!operation.operands.empty())
    if (const auto found = tasks_.find(operation.operands[0]); found != tasks_.end())
      return found->second;
  fail(operation, fmt::format("{} needs a configured task", operation.name));
}

void SequenceLowering::start_task(const Operation& operation, const Task& task) {
  emit_push(operation, task.chain,
            task.chain.blocks[static_cast<size_t>(task.chain.start)].descriptor_id,
            task.issue_token);
}

void SequenceLowering::free_task(const Task& task) {
  for (const DmaBlock& block : task.chain.blocks)
    used_descriptors_[task.chain.tile].erase(block.descriptor_id);
}

void SequenceLowering::await_task(const Operation& operation) {
  const Task& task = task_operand(operation);
  if (!task.issue_token)
    fail(operation, "cannot wait for a task that issues no token; set issue_token on it");
  emit_sync(operation, task.chain.tile, task.chain.direction, task.chain.channel);
  free_task(task);
}

bool SequenceLowering::lower_task_operation(const Operation& operation) {
  const std::string& name = operation.name;
  if (name == "aiex.npu.dma_memcpy_nd") {
    dma_memcpy(operation);
  } else if (name == "aiex.npu.dma_wait") {
    const ShimAllocation& shim = allocation(operation, "symbol");
    emit_sync(operation, shim.tile, shim.direction, shim.channel);
  } else if (name == "aiex.dma_configure_task" || name == "aiex.dma_configure_task_for") {
    configure_task_region(operation);
  } else if (name == "aiex.dma_start_bd_chain" || name == "aiex.dma_start_bd_chain_for") {
    start_bd_chain(operation);
  } else if (name == "aiex.dma_start_task") {
    start_task(operation, task_operand(operation));
  } else if (name == "aiex.dma_await_task") {
    await_task(operation);
  } else if (name == "aiex.dma_free_task") {
    free_task(task_operand(operation));
  } else {
    return false;
  }
  return true;
}

}  // namespace tandem::npu

// Runtime sequences: walking, values and register writes; see sequence_lowering.h.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cstring>

#include "npu/aie_text/sequence_lowering.h"

namespace tandem::npu {

using Kind = ControllerInstruction::Kind;
using mlir::Attribute;
using mlir::Operation;

namespace {

bool is_sequence(const Operation& operation) {
  return operation.name == "aie.runtime_sequence" || operation.name == "aiex.runtime_sequence";
}

const Operation* find_sequence(const DeviceLowering& device, std::string_view name) {
  const Operation* found = nullptr;
  mlir::walk(*device.operation.regions[0], [&](const Operation& operation) {
    if (found == nullptr && is_sequence(operation) &&
        (name.empty() || text_of(device, operation, "sym_name", "sequence") == name))
      found = &operation;
    return false;
  });
  return found;
}

}  // namespace

ControllerInstruction& SequenceLowering::emit(Kind kind, const Operation& operation) {
  ControllerInstruction instruction;
  instruction.kind = kind;
  instruction.location = operation.location;
  design_.sequence.push_back(std::move(instruction));
  if (design_.sequence.size() > 10'000'000) fail(operation, "the sequence is too long");
  return design_.sequence.back();
}

void SequenceLowering::lower_main(const Operation& sequence) {
  if (sequence.regions.empty()) fail(sequence, "a runtime sequence needs a body");
  const mlir::Block& block = sequence.regions[0]->blocks.front();
  for (const mlir::ValueId argument : block.arguments) {
    const mlir::Value& value = device().value(argument);
    const int64_t size = value.type.kind == mlir::Type::Kind::kMemref ? value.type.byte_count() : 0;
    references_[argument] = {static_cast<int>(design_.arguments.size()), 0};
    design_.arguments.push_back({value.name, size > 0 ? static_cast<uint64_t>(size) : 0});
  }
  lower_block(block);
}

void SequenceLowering::lower_block(const mlir::Block& block) {
  for (const Operation& operation : block.operations) lower_operation(operation);
}

void SequenceLowering::lower_operation(const Operation& operation) {
  if (lower_value_operation(operation) || lower_register_operation(operation) ||
      lower_task_operation(operation))
    return;
  device().diagnostics.unsupported(
      operation.location, fmt::format("{} is not supported in a runtime sequence", operation.name));
}

// ---- values ----

bool SequenceLowering::lower_value_operation(const Operation& operation) {
  const std::string& name = operation.name;
  if (name == "arith.constant" || name == "memref.get_global" || name == "aie.end") return true;
  const bool subview = name == "memref.subview";
  const bool reinterpret = name == "memref.reinterpret_cast";
  if (!subview && !reinterpret && name != "memref.cast" && name != "memref.assume_alignment" &&
      name != "memref.collapse_shape" && name != "memref.expand_shape")
    return false;
  HostReference reference = host_operand(operation, 0);
  if (subview || reinterpret) {
    const mlir::Type& source = device().value(operation.operands[0]).type;
    size_t operand = 1;
    const std::vector<int64_t> offsets = index_list(operation, "static_offsets", operand);
    int64_t stride = 1;
    int64_t elements = 0;
    for (size_t i = offsets.size(); i-- > 0;) {
      elements += offsets[i] * stride;
      if (subview && i < source.shape.size()) stride *= source.shape[i];
    }
    if (elements < 0) fail(operation, "offsets must not be negative");
    // A reinterpret_cast's offset is that of its source when the source is a subview.
    if (subview) reference.offset += elements * source.scalar.bits / 8;
  }
  if (!operation.results.empty()) references_[operation.results[0]] = reference;
  return true;
}

const HostReference& SequenceLowering::host_operand(const Operation& operation, size_t index) {
  if (index < operation.operands.size())
    if (const auto found = references_.find(operation.operands[index]); found != references_.end())
      return found->second;
  fail(operation, fmt::format("operand {} of {} must be an argument of the runtime sequence", index,
                              operation.name));
}

int64_t SequenceLowering::constant_operand(const Operation& operation, mlir::ValueId value) {
  const Operation* definition = device().value(value).definition;
  if (definition != nullptr && definition->name == "arith.constant")
    if (const Attribute* number = definition->attribute("value");
        number != nullptr && number->kind == Attribute::Kind::kInteger)
      return number->integer;
  fail(operation, fmt::format("'%{}' must be an integer constant", device().value(value).name));
}

std::vector<int64_t> SequenceLowering::index_list(const Operation& operation, std::string_view key,
                                                  size_t& operand) {
  std::vector<int64_t> numbers;
  const Attribute* list = operation.attribute(key);
  if (list == nullptr) fail(operation, fmt::format("{} needs '{}'", operation.name, key));
  for (const Attribute& item : list->items) {
    // The generic form marks a dynamic entry with the smallest integer.
    const bool dynamic = item.kind == Attribute::Kind::kWord || item.integer == INT64_MIN;
    if (dynamic && operand >= operation.operands.size())
      fail(operation, fmt::format("{} has too few operands", operation.name));
    numbers.push_back(dynamic ? constant_operand(operation, operation.operands[operand++])
                              : item.integer);
  }
  return numbers;
}

// ---- registers ----

TileCoordinate SequenceLowering::tile_attributes(const Operation& operation) {
  const int64_t columns = device().out.columns;
  const TileCoordinate tile{
      static_cast<int>(integer_in(device(), operation, "column", 0, columns - 1)),
      static_cast<int>(integer_in(device(), operation, "row", 0, device().geometry.rows - 1))};
  return tile;
}

// With a buffer the address counts its 32-bit words; with column and row it is inside that tile;
// otherwise it is absolute.
uint32_t SequenceLowering::target_address(const Operation& operation) {
  const auto address =
      static_cast<uint32_t>(integer_in(device(), operation, "address", 0, UINT32_MAX));
  if (operation.attribute("buffer") != nullptr) {
    const std::string name = text_of(device(), operation, "buffer");
    const BufferDecl* buffer = find_buffer(device().out, name);
    if (buffer == nullptr) fail(operation, fmt::format("there is no buffer '@{}'", name));
    if (uint64_t{address} * 4 >= buffer->size)
      fail(operation,
           fmt::format("word {} is beyond the {} bytes of '@{}'", address, buffer->size, name));
    return array_address(buffer->tile, buffer->address + address * 4);
  }
  if (operation.attribute("column") != nullptr && operation.attribute("row") != nullptr)
    return array_address(tile_attributes(operation), address & 0xFFFFF);
  return address;
}

void SequenceLowering::write32(const Operation& operation) {
  const bool masked = operation.name == "aiex.npu.maskwrite32";
  const uint32_t address = target_address(operation);
  const auto value = integer_in(device(), operation, "value", INT32_MIN, UINT32_MAX);
  const auto mask = masked ? integer_in(device(), operation, "mask", INT32_MIN, UINT32_MAX) : 0;
  ControllerInstruction& instruction =
      emit(masked ? Kind::kMaskWrite32 : Kind::kWrite32, operation);
  instruction.address = address;
  instruction.value = static_cast<uint32_t>(value);
  instruction.mask = static_cast<uint32_t>(mask);
}

void SequenceLowering::block_write(const Operation& operation) {
  if (operation.operands.empty()) fail(operation, "aiex.npu.blockwrite needs its data");
  const Operation* definition = device().value(operation.operands[0]).definition;
  if (definition == nullptr || definition->name != "memref.get_global")
    fail(operation, "the data of aiex.npu.blockwrite must be a memref.get_global");
  const std::string name = text_of(device(), *definition, "name");
  const auto global = device().globals.find(name);
  if (global == device().globals.end())
    fail(operation, fmt::format("there is no memref.global '@{}'", name));
  const Attribute* value = global->second->attribute("initial_value");
  const Attribute* type = global->second->attribute("type");
  if (value == nullptr || type == nullptr)
    fail(operation, fmt::format("'@{}' has no initial value", name));
  const std::vector<std::byte> bytes = dense_bytes(device(), *value, type->type);
  std::vector<uint32_t> words(bytes.size() / 4);
  std::memcpy(words.data(), bytes.data(), words.size() * 4);
  const uint32_t address = target_address(operation);
  ControllerInstruction& instruction = emit(Kind::kBlockWrite, operation);
  instruction.address = address;
  instruction.words = std::move(words);
}

void SequenceLowering::runtime_parameter(const Operation& operation) {
  const std::string name = text_of(device(), operation, "buffer");
  const BufferDecl* buffer = find_buffer(device().out, name);
  if (buffer == nullptr) fail(operation, fmt::format("there is no buffer '@{}'", name));
  const int64_t index = integer_in(device(), operation, "index", 0, buffer->size / 4 - 1);
  const int64_t value = integer_in(device(), operation, "value", INT32_MIN, UINT32_MAX);
  ControllerInstruction& instruction = emit(Kind::kWrite32, operation);
  instruction.address =
      array_address(buffer->tile, buffer->address + static_cast<uint32_t>(index) * 4);
  instruction.value = static_cast<uint32_t>(value);
}

// What the registers of a descriptor hold; strides and the iteration's size are minus one.
void SequenceLowering::check_descriptor_fields(const Operation& operation,
                                               const TileGeometry& limits) {
  const auto check = [&](const std::string& key, int64_t high) {
    integer_in(device(), operation, key, 0, high, 0);
  };
  // A linear transfer's only size is its length.
  const bool linear = integer_of(device(), operation, "d1_size", 0) <= 1 &&
                      integer_of(device(), operation, "iteration_size", 0) == 0;
  check("buffer_length", limits.max_length);
  if (!linear) check("d0_size", limits.max_wrap);
  check("d1_size", limits.max_wrap);
  for (const char* key : {"d0_stride", "d1_stride", "d2_stride", "iteration_stride"})
    check(key, int64_t{limits.max_stride} - 1);
  check("iteration_size", int64_t{device().geometry.max_iteration} - 1);
  check("packet_id", 31);
  check("packet_type", 7);
  check("next_bd", int64_t{limits.descriptors} - 1);
  if (&limits == &device().geometry.shim && integer_of(device(), operation, "d2_size", 0) != 0)
    fail(operation, "'d2_size' is for mem tiles; a shim's third dimension takes what is left");
}

// The attributes are the registers' values: strides and the iteration's size already minus one,
// addresses of array tiles in words.
void SequenceLowering::write_descriptor(const Operation& operation) {
  const TileCoordinate tile = tile_attributes(operation);
  const TileKind kind = device().kind(tile);
  const auto field = [&](std::string_view key) {
    return integer_in(device(), operation, key, INT32_MIN, UINT32_MAX, 0);
  };
  const auto word = [&](std::string_view key) { return static_cast<uint32_t>(field(key)); };
  check_descriptor_fields(operation, device().limits(tile));
  check_burst_length(device(), operation, kind);
  BufferDescriptor d;
  d.valid = field("valid_bd") != 0;
  d.length = word("buffer_length");
  d.address = uint64_t{word("buffer_offset")} * (kind == TileKind::kShim ? 1 : 4);
  for (size_t i = 0; i < 3; ++i) {
    d.dimensions[i] = {word(fmt::format("d{}_size", i)), word(fmt::format("d{}_stride", i)) + 1};
    d.pad_before[i] = word(fmt::format("d{}_zero_before", i));
    d.pad_after[i] = word(fmt::format("d{}_zero_after", i));
    if (kind != TileKind::kMem && (d.pad_before[i] != 0 || d.pad_after[i] != 0))
      fail(operation, "zero padding is only available on mem tiles");
  }
  d.dimensions[2].size = 0;  // the operation does not write this field
  d.iteration_size = word("iteration_size") + 1;
  d.iteration_stride = word("iteration_stride") + 1;
  d.iteration_current = word("iteration_current");
  d.packet_enabled = field("enable_packet") != 0;
  d.packet_id = static_cast<uint8_t>(field("packet_id"));
  d.packet_type = static_cast<uint8_t>(field("packet_type"));
  d.acquire_enabled = field("lock_acq_enable") != 0;
  d.acquire_lock = static_cast<int>(field("lock_acq_id"));
  d.acquire_value = static_cast<int>(field("lock_acq_val"));
  d.release_lock = static_cast<int>(field("lock_rel_id"));
  d.release_value = static_cast<int>(field("lock_rel_val"));
  d.use_next = field("use_next_bd") != 0;
  d.next = static_cast<int>(field("next_bd"));
  const int64_t id =
      integer_in(device(), operation, "bd_id", 0, device().limits(tile).descriptors - 1);
  emit_descriptor(operation, tile, static_cast<int>(id), d);
}

void SequenceLowering::emit_descriptor(const Operation& operation, TileCoordinate tile, int id,
                                       const BufferDescriptor& descriptor) {
  const TileKind kind = device().kind(tile);
  ControllerInstruction& instruction = emit(Kind::kBlockWrite, operation);
  instruction.address = array_address(tile, descriptor_register(kind, id));
  instruction.words = encode_descriptor(kind, descriptor);
}

void SequenceLowering::address_patch(const Operation& operation) {
  const int64_t index = integer_in(device(), operation, "arg_idx", 0, 31);
  // An index beyond the declared arguments is a buffer only the host program knows of (a trace).
  while (index >= static_cast<int64_t>(design_.arguments.size())) design_.arguments.push_back({});
  const auto addend = integer_in(device(), operation, "arg_plus", 0, int64_t{1} << 35);
  const auto address = integer_in(device(), operation, "addr", 0, UINT32_MAX);
  ControllerInstruction& instruction = emit(Kind::kAddressPatch, operation);
  instruction.address = static_cast<uint32_t>(address);
  instruction.argument = static_cast<int>(index);
  instruction.addend = static_cast<uint64_t>(addend);
}

void SequenceLowering::push_queue(const Operation& operation) {
  DmaChain channel;
  channel.tile = tile_attributes(operation);
  channel.direction = direction_of(device(), operation, "direction");
  channel.channel = static_cast<int>(
      integer_in(device(), operation, "channel", 0, device().limits(channel.tile).channels - 1));
  channel.repeat_count =
      static_cast<int>(integer_in(device(), operation, "repeat_count", 0, 255, 0));
  const auto id =
      integer_in(device(), operation, "bd_id", 0, device().limits(channel.tile).descriptors - 1);
  emit_push(operation, channel, static_cast<int>(id), flag_of(operation, "issue_token"));
}

// The controller id goes to the channel's control register, then the task to its queue.
void SequenceLowering::emit_push(const Operation& operation, const DmaChain& channel,
                                 int descriptor, bool issue_token) {
  const TileKind kind = device().kind(channel.tile);
  const uint32_t control = channel_control_register(kind, channel.direction, channel.channel);
  const auto id = device().controller_ids.find(channel.tile);
  if (issue_token && id != device().controller_ids.end()) {
    ControllerInstruction& instruction = emit(Kind::kMaskWrite32, operation);
    instruction.address = array_address(channel.tile, control);
    instruction.value = static_cast<uint32_t>(id->second) << 8;
    instruction.mask = 0x1F00;
  }
  if (descriptor > 15)
    device().warn(operation.location,
                  fmt::format("mlir-aie cuts descriptor {} to {} when it pushes it on a queue",
                              descriptor, descriptor & 15));
  ControllerInstruction& instruction = emit(Kind::kWrite32, operation);
  instruction.address = array_address(channel.tile, control + 4);
  instruction.value = static_cast<uint32_t>(descriptor & 15) |
                      static_cast<uint32_t>(channel.repeat_count & 0xFF) << 16 |
                      (issue_token ? 0x80000000u : 0u);
}

void SequenceLowering::emit_sync(const Operation& operation, TileCoordinate tile,
                                 DmaDirection direction, int channel) {
  ControllerInstruction& instruction = emit(Kind::kSync, operation);
  instruction.tile = tile;
  instruction.direction = direction;
  instruction.channel = channel;
}

void SequenceLowering::sync(const Operation& operation) {
  const TileCoordinate tile = tile_attributes(operation);
  const auto direction = integer_in(device(), operation, "direction", 0, 1);
  const auto channel =
      integer_in(device(), operation, "channel", 0, device().limits(tile).channels - 1);
  const auto columns = integer_in(device(), operation, "column_num", 1, 255, 1);
  const auto rows = integer_in(device(), operation, "row_num", 1, 255, 1);
  emit_sync(operation, tile, static_cast<DmaDirection>(direction), static_cast<int>(channel));
  design_.sequence.back().column_count = static_cast<int>(columns);
  design_.sequence.back().row_count = static_cast<int>(rows);
}

void SequenceLowering::set_lock(const Operation& operation) {
  const LockDecl& lock =
      device().out.locks[static_cast<size_t>(device().lock_operand(operation, 0))];
  const auto value = integer_in(device(), operation, "value", 0, kMaxLockValue);
  ControllerInstruction& instruction = emit(Kind::kWrite32, operation);
  instruction.address = array_address(lock.tile, lock_register(device().kind(lock.tile), lock.id));
  instruction.value = static_cast<uint32_t>(value);
}

// Taken as the write it causes; the packet's way to the tile is the compiler's choice.
void SequenceLowering::control_packet(const Operation& operation) {
  constexpr int64_t kRead = 1;
  if (integer_in(device(), operation, "opcode", 0, 3) == kRead)
    device().diagnostics.unsupported(operation.location,
                                     "an aiex.control_packet that reads registers; write the "
                                     "packet into a buffer and send it with a DMA task");
  const Attribute* data = operation.attribute("data");
  if (data == nullptr || data->items.empty() || data->items.size() > 4)
    fail(operation, "aiex.control_packet needs one to four words of data");
  const auto address =
      static_cast<uint32_t>(integer_in(device(), operation, "address", 0, UINT32_MAX));
  ControllerInstruction& instruction = emit(Kind::kBlockWrite, operation);
  instruction.address = address;
  for (const Attribute& word : data->items)
    instruction.words.push_back(static_cast<uint32_t>(word.integer));
}

void SequenceLowering::load_device(const Operation& operation) {
  // Without a device_ref it names the image the context was opened with.
  if (operation.attribute("device_ref") == nullptr) return;
  const std::string name = text_of(device(), operation, "device_ref");
  for (size_t i = 0; i < devices_.size(); ++i) {
    if (devices_[i].out.name != name) continue;
    emit(Kind::kLoadDevice, operation).device = static_cast<int>(i);
    return;
  }
  fail(operation, fmt::format("there is no aie.device '@{}'", name));
}

void SequenceLowering::configure(const Operation& operation) {
  const std::string name = text_of(device(), operation, "symbol");
  for (size_t i = 0; i < devices_.size(); ++i) {
    if (devices_[i].out.name != name) continue;
    if (devices_[i].out.generation != device().out.generation ||
        devices_[i].out.columns != device().out.columns)
      fail(operation, fmt::format("device '@{}' is another array than this one", name));
    emit(Kind::kLoadDevice, operation).device = static_cast<int>(i);
    const size_t outer = device_;
    device_ = i;
    if (!operation.regions.empty()) lower_block(operation.regions[0]->blocks.front());
    device_ = outer;
    return;
  }
  fail(operation, fmt::format("there is no aie.device '@{}'", name));
}

void SequenceLowering::run(const Operation& operation) {
  const std::string name = text_of(device(), operation, "runtime_sequence_symbol");
  const Operation* sequence = find_sequence(device(), name);
  if (sequence == nullptr || sequence->regions.empty())
    fail(operation,
         fmt::format("device '@{}' has no runtime sequence '@{}'", device().out.name, name));
  if (++depth_ > 16) fail(operation, "runtime sequences run each other deeper than 16 levels");
  const mlir::Block& block = sequence->regions[0]->blocks.front();
  if (block.arguments.size() != operation.operands.size())
    fail(operation, fmt::format("'@{}' takes {} arguments, not {}", name, block.arguments.size(),
                                operation.operands.size()));
  for (size_t i = 0; i < operation.operands.size(); ++i) {
    const mlir::Type& given = device().value(operation.operands[i]).type;
    const mlir::Type& wanted = device().value(block.arguments[i]).type;
    if (given.shape != wanted.shape || given.scalar != wanted.scalar)
      fail(operation, fmt::format("argument {} of '@{}' is of another type", i, name));
    references_[block.arguments[i]] = host_operand(operation, i);
  }
  lower_block(block);
  --depth_;
}

bool SequenceLowering::lower_register_operation(const Operation& operation) {
  const std::string& name = operation.name;
  if (name == "aiex.npu.write32" || name == "aiex.npu.maskwrite32")
    write32(operation);
  else if (name == "aiex.npu.blockwrite")
    block_write(operation);
  else if (name == "aiex.npu.rtp_write")
    runtime_parameter(operation);
  else if (name == "aiex.npu.writebd")
    write_descriptor(operation);
  else if (name == "aiex.npu.address_patch")
    address_patch(operation);
  else if (name == "aiex.npu.push_queue")
    push_queue(operation);
  else if (name == "aiex.npu.sync")
    sync(operation);
  else if (name == "aiex.npu.preempt")
    emit(Kind::kPreempt, operation);
  else if (name == "aiex.npu.load_pdi")
    load_device(operation);
  else if (name == "aiex.set_lock")
    set_lock(operation);
  else if (name == "aiex.control_packet")
    control_packet(operation);
  else if (name == "aie.trace.start_config")
    device().warn(operation.location, "the array's trace units are not modelled: no trace");
  else if (name == "aiex.configure")
    configure(operation);
  else if (name == "aiex.run")
    run(operation);
  else
    return false;
  return true;
}

void lower_sequence(std::vector<DeviceLowering>& devices, size_t main, std::string_view name,
                    Design& design) {
  const Operation* sequence = find_sequence(devices[main], name);
  if (sequence == nullptr) {
    if (name.empty()) return;
    devices[main].fail(devices[main].operation.location,
                       fmt::format("there is no runtime sequence '@{}'", name));
  }
  design.sequence_name = text_of(devices[main], *sequence, "sym_name", "sequence");
  SequenceLowering(devices, main, design).lower_main(*sequence);
}

}  // namespace tandem::npu

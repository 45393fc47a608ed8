// Loading a device, memory, locks and registers; see array.h.
// SPDX-License-Identifier: Apache-2.0
#include "npu/emulator/array.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace tandem::npu {

Array::Array(const Design& design, const EmulatorOptions& options)
    : design_(design),
      options_(options),
      timing_(options.timing),
      trace_(options.record_trace, options.timing.clock_hz) {
  load_device(design.main_device);
}

// ---- loading ----

// Installs a configuration. Memory that already exists keeps its content, as on the array.
void Array::load_device(int device) {
  device_ = device;
  const DeviceDesign& design = this->device();
  geometry_ = &geometry_of(design.generation);
  columns_ = std::max(columns_, design.columns);
  for (int column = 0; column < columns_; ++column) {
    for (int row = 0; row < static_cast<int>(geometry_->rows); ++row) {
      TileState& tile = tiles_[{column, row}];
      tile.tile = {column, row};
      tile.kind = geometry_->kind_of_row(static_cast<uint32_t>(row));
      const TileGeometry& limits = geometry_->tile(tile.kind);
      tile.memory.resize(limits.memory);
      tile.written.resize(limits.memory / 4);
      tile.locks.assign(limits.locks, LockState{});
      tile.descriptors.assign(limits.descriptors, DescriptorState{});
      tile.other_registers.clear();
    }
  }
  for (const BufferDecl& buffer : design.buffers) {
    if (buffer.initial_value.empty()) continue;
    TileState& tile = tile_at(buffer.tile);
    std::memcpy(tile.memory.data() + buffer.address, buffer.initial_value.data(),
                buffer.initial_value.size());
    mark_written(tile, buffer.address, buffer.initial_value.size());
  }
  for (const LockDecl& lock : design.locks)
    tile_at(lock.tile).locks[static_cast<size_t>(lock.id)].value = lock.initial_value;
  for (const BufferDescriptorSlot& slot : design.descriptors) {
    TileState& tile = tile_at(slot.tile);
    DescriptorState& state = tile.descriptors[static_cast<size_t>(slot.id)];
    const std::vector<uint32_t> words = encode_descriptor(tile.kind, slot.descriptor);
    std::copy(words.begin(), words.end(), state.words.begin());
    state.location = slot.descriptor.location;
  }
  load_channels();
  load_routes();
  load_cores();
}

void Array::load_channels() {
  channels_.clear();
  sharing_.clear();
  for (auto& [coordinate, tile] : tiles_) {
    tile.first_channel = static_cast<int>(channels_.size());
    const auto count = static_cast<int>(geometry_->tile(tile.kind).channels);
    for (const DmaDirection direction : {DmaDirection::kS2MM, DmaDirection::kMM2S}) {
      for (int index = 0; index < count; ++index) {
        DmaChannel& channel = channels_.emplace_back();
        channel.tile = coordinate;
        channel.direction = direction;
        channel.index = index;
      }
    }
    for (const DmaChannel::End end : {DmaChannel::End::kControl, DmaChannel::End::kCore}) {
      for (const DmaDirection direction : {DmaDirection::kS2MM, DmaDirection::kMM2S}) {
        DmaChannel& port = channels_.emplace_back();
        port.tile = coordinate;
        port.direction = direction;
        port.end = end;
        if (direction == DmaDirection::kMM2S) continue;
        port.state = DmaChannel::State::kStreaming;  // takes what comes, a core's while it has room
        port.descriptor.length = end == DmaChannel::End::kCore ? kCoreStreamWords : UINT32_MAX / 4;
      }
    }
  }
  for (const ChannelStart& start : device().starts) {
    DmaChannel& channel = channel_at(start.tile, start.direction, start.channel);
    channel.queue.push_back({start.first_descriptor, start.repeat_count, false, start.location});
    ++tile_at(start.tile).descriptors[static_cast<size_t>(start.first_descriptor)].users;
    const int index = static_cast<int>(&channel - channels_.data());
    if (channel.queue.size() == 1) schedule({AgentKind::kChannel, index}, now_);
  }
}

void Array::load_routes() {
  for (const Route& route : device().routes) {
    if (route.source.kind == PortKind::kTrace || route.destination.kind == PortKind::kSouth)
      continue;  // traces are not produced, completion tokens reach the controller by themselves
    const auto carries = [](PortKind kind) {
      return kind == PortKind::kDma || kind == PortKind::kTileControl || kind == PortKind::kCore;
    };
    if (!carries(route.source.kind) || !carries(route.destination.kind)) {
      warn(route.location, "this route joins ports of switches and carries nothing");
      continue;
    }
    DmaChannel& source = stream_end(route.source, DmaDirection::kMM2S);
    DmaChannel& target = stream_end(route.destination, DmaDirection::kS2MM);
    const StreamTarget entry{static_cast<int>(&target - channels_.data()),
                             route.keep_packet_header};
    if (route.packet_id < 0)
      source.circuit.push_back(entry);
    else
      source.packets[static_cast<size_t>(route.packet_id)].push_back(entry);
    const int index = static_cast<int>(&source - channels_.data());
    if (std::find(target.sources.begin(), target.sources.end(), index) == target.sources.end())
      target.sources.push_back(index);
  }
}

void Array::load_cores() {
  cores_.clear();
  for (const CoreDecl& declaration : device().cores) {
    CoreState& core = cores_.emplace_back();
    core.declaration = &declaration;
    core.tile = declaration.tile;
    core.registers.assign(static_cast<size_t>(declaration.program.register_count), 0);
    core.fifos.assign(declaration.program.fifo_ends.size(), {});
    core.local_time = now_;
    schedule({AgentKind::kCore, static_cast<int>(cores_.size()) - 1}, now_);
  }
  const auto core_at = [this](TileCoordinate tile) {
    for (size_t i = 0; i < cores_.size(); ++i)
      if (cores_[i].tile == tile) return static_cast<int>(i);
    return -1;
  };
  for (const CascadeRoute& route : device().cascades) {
    const int source = core_at(route.source);
    const int target = core_at(route.destination);
    if (source < 0 || target < 0) continue;
    cores_[static_cast<size_t>(source)].cascade_target = target;
    cores_[static_cast<size_t>(target)].cascade_source = source;
  }
}

TileState* Array::find_tile(TileCoordinate tile) {
  const auto found = tiles_.find(tile);
  return found == tiles_.end() ? nullptr : &found->second;
}

TileState& Array::tile_at(TileCoordinate tile) {
  TileState* found = find_tile(tile);
  if (found == nullptr)
    throw Error(ErrorCode::kInvalidFile, fmt::format("{}: there is no tile {} in {} columns",
                                                     design_.source_name, to_text(tile), columns_));
  return *found;
}

DmaChannel& Array::channel_at(TileCoordinate tile, DmaDirection direction, int index) {
  const TileState& state = tile_at(tile);
  const auto count = static_cast<int>(geometry_->tile(state.kind).channels);
  if (index < 0 || index >= count)
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("{}: tile {} has no {} channel {}", design_.source_name, to_text(tile),
                            to_text(direction), index));
  const int channel = state.first_channel + (direction == DmaDirection::kMM2S ? count : 0) + index;
  return channels_[static_cast<size_t>(channel)];
}

// The two ends of a tile's control port follow its DMA channels.
DmaChannel& Array::control_port(TileCoordinate tile, DmaDirection direction) {
  const TileState& state = tile_at(tile);
  const auto count = static_cast<int>(geometry_->tile(state.kind).channels);
  const int channel = state.first_channel + 2 * count + (direction == DmaDirection::kMM2S ? 1 : 0);
  return channels_[static_cast<size_t>(channel)];
}

// And those two the ends of its core's stream port.
DmaChannel& Array::core_port(TileCoordinate tile, DmaDirection direction) {
  return *(&control_port(tile, direction) + 2);
}

DmaChannel& Array::stream_end(const StreamPort& port, DmaDirection direction) {
  if (port.kind == PortKind::kTileControl) return control_port(port.tile, direction);
  if (port.kind == PortKind::kCore) return core_port(port.tile, direction);
  return channel_at(port.tile, direction, port.index);
}

// ---- messages ----

std::string Array::at(SourceLocation location, const std::string& message) const {
  if (location.line == 0) return fmt::format("{}: {}", design_.source_name, message);
  return fmt::format("{}:{}:{}: {}", design_.source_name, location.line, location.column, message);
}

void Array::fail(SourceLocation location, const std::string& message) const {
  throw Error(ErrorCode::kInvalidFile, at(location, message));
}

void Array::warn(SourceLocation location, const std::string& message) {
  if (options_.stop_at_warning) fail(location, message);
  std::string text = at(location, message);
  if (known_warnings_.size() < 1000 && known_warnings_.insert(text).second)
    warnings_.push_back(std::move(text));
}

// ---- memory ----

void Array::mark_written(TileState& tile, uint64_t offset, uint64_t size) {
  if (size == 0) return;
  std::memset(tile.written.data() + offset / 4, 1, (offset + size + 3) / 4 - offset / 4);
}

void Array::check_written(const TileState& tile, uint64_t offset, uint64_t size,
                          SourceLocation location, const std::string& reader) {
  if (!options_.track_unwritten || !options_.move_data || size == 0) return;
  const uint8_t* first = tile.written.data() + offset / 4;
  const size_t words = (offset + size + 3) / 4 - offset / 4;
  const void* unwritten = std::memchr(first, 0, words);
  if (unwritten == nullptr) return;
  const auto word =
      static_cast<uint64_t>(static_cast<const uint8_t*>(unwritten) - tile.written.data());
  std::string where = fmt::format("byte {}", word * 4);
  for (const BufferDecl& buffer : device().buffers)
    if (buffer.tile == tile.tile && word * 4 >= buffer.address &&
        word * 4 < buffer.address + buffer.size)
      where = fmt::format("byte {} of buffer '{}'", word * 4 - buffer.address, buffer.name);
  warn(location, fmt::format("{} reads {} of tile {}, which nobody has written", reader, where,
                             to_text(tile.tile)));
}

// ---- locks ----

Array::LockRef Array::device_lock(int index) {
  const LockDecl& lock = device().locks[static_cast<size_t>(index)];
  return {&tile_at(lock.tile), lock.id};
}

// A mem tile's DMA numbers the locks of its west neighbour, its own and its east neighbour's.
Array::LockRef Array::dma_lock(const DmaChannel& channel, int number) {
  TileState& own = tile_at(channel.tile);
  if (own.kind != TileKind::kMem) return {&own, number};
  const int window = number / kMemTileLocks - 1;
  TileState* tile = find_tile({channel.tile.column + window, channel.tile.row});
  if (tile == nullptr || window > 1)
    fail(channel.descriptor.location,
         fmt::format("lock number {} of the DMA of tile {} belongs to no mem tile", number,
                     to_text(channel.tile)));
  return {tile, number % kMemTileLocks};
}

bool Array::acquire(LockRef lock, int value, bool greater_equal, AgentId agent) {
  LockState& state = lock.tile->locks[static_cast<size_t>(lock.id)];
  if (greater_equal ? state.value >= value : state.value == value) {
    state.value -= value;
    return true;
  }
  if (std::find(state.waiters.begin(), state.waiters.end(), agent) == state.waiters.end())
    state.waiters.push_back(agent);
  return false;
}

void Array::set_lock(LockRef lock, int value, SourceLocation location) {
  if (value > static_cast<int>(kMaxLockValue))
    fail(location, fmt::format("lock {} of tile {} would be released to {}, more than the {} it "
                               "counts to",
                               lock.id, to_text(lock.tile->tile), value, kMaxLockValue));
  LockState& state = lock.tile->locks[static_cast<size_t>(lock.id)];
  state.value = value;
  const std::vector<AgentId> waiters = std::move(state.waiters);
  state.waiters.clear();
  for (const AgentId& agent : waiters) schedule(agent, now_);
}

void Array::release(LockRef lock, int value, SourceLocation location) {
  set_lock(lock, lock.tile->locks[static_cast<size_t>(lock.id)].value + value, location);
}

// ---- registers ----

void Array::write_register(uint32_t address, uint32_t value, SourceLocation location) {
  TileState* tile = find_tile(tile_of_address(address));
  if (tile == nullptr)
    fail(location, fmt::format("register address 0x{:X} is in tile {}, outside the array", address,
                               to_text(tile_of_address(address))));
  const uint32_t offset = offset_of_address(address);
  const RegisterName name = name_register(geometry_->tile(tile->kind), tile->kind, offset);
  switch (name.kind) {
    case RegisterName::Kind::kMemory:
      std::memcpy(tile->memory.data() + (offset & ~3u), &value, 4);
      mark_written(*tile, offset & ~3u, 4);
      return;
    case RegisterName::Kind::kDescriptor:
      write_descriptor_word(*tile, name.id, name.word, value, location);
      return;
    case RegisterName::Kind::kChannelQueue:
      push_task(*tile, name.direction, name.id, value, location);
      return;
    case RegisterName::Kind::kLock:
      set_lock({tile, name.id}, static_cast<int>(value & 0x3F), location);
      return;
    case RegisterName::Kind::kChannelControl:
    case RegisterName::Kind::kOther: tile->other_registers[offset] = value; return;
  }
}

uint32_t Array::read_register(uint32_t address, SourceLocation location) {
  TileState* tile = find_tile(tile_of_address(address));
  if (tile == nullptr)
    fail(location, fmt::format("register address 0x{:X} is outside the array", address));
  const uint32_t offset = offset_of_address(address);
  const RegisterName name = name_register(geometry_->tile(tile->kind), tile->kind, offset);
  uint32_t value = 0;
  if (name.kind == RegisterName::Kind::kMemory)
    std::memcpy(&value, tile->memory.data() + (offset & ~3u), 4);
  else if (name.kind == RegisterName::Kind::kLock)
    value = static_cast<uint32_t>(tile->locks[static_cast<size_t>(name.id)].value);
  else if (name.kind == RegisterName::Kind::kDescriptor)
    value = tile->descriptors[static_cast<size_t>(name.id)].words[name.word];
  else if (const auto found = tile->other_registers.find(offset);
           found != tile->other_registers.end())
    value = found->second;
  return value;
}

void Array::write_descriptor_word(TileState& tile, int id, uint32_t word, uint32_t value,
                                  SourceLocation location) {
  DescriptorState& state = tile.descriptors[static_cast<size_t>(id)];
  if (state.users > 0)
    warn(location, fmt::format("descriptor {} of tile {} is rewritten while a task still uses it; "
                               "wait for its token first",
                               id, to_text(tile.tile)));
  state.words[word] = value;
  state.location = location;
  state.iteration = 0;
}

void Array::push_task(TileState& tile, DmaDirection direction, int index, uint32_t value,
                      SourceLocation location) {
  DmaChannel& channel = channel_at(tile.tile, direction, index);
  if (channel.queue.size() >= geometry_->queue_depth) {
    warn(location, fmt::format("the queue of {} is full ({} tasks): the array drops this one",
                               channel_name(channel), geometry_->queue_depth));
    return;
  }
  ChannelTask task;
  task.descriptor = static_cast<int>(value & 0x3F);
  task.repeat_count = static_cast<int>((value >> 16) & 0xFF);
  task.issue_token = (value >> 31) != 0;
  task.location = location;
  if (task.descriptor >= static_cast<int>(tile.descriptors.size()))
    fail(location,
         fmt::format("tile {} has no descriptor {}", to_text(tile.tile), task.descriptor));
  ++tile.descriptors[static_cast<size_t>(task.descriptor)].users;
  channel.queue.push_back(task);
  if (channel.state == DmaChannel::State::kIdle)
    schedule({AgentKind::kChannel, static_cast<int>(&channel - channels_.data())}, now_);
}

}  // namespace tandem::npu

// The state shared by the passes that make a DeviceDesign from the tree of one aie.device: names
// resolved so far and DMA programs before their descriptors have numbers. Internal to this folder.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "npu/aie_text/design.h"
#include "npu/aie_text/ir.h"
#include "npu/aie_text/registers.h"

namespace tandem::npu {

// Throws kInvalidFile as "file:line:column: message".
class Diagnostics {
 public:
  explicit Diagnostics(const std::string& source_name) : source_name_(source_name) {}
  [[noreturn]] void fail(SourceLocation location, std::string_view message) const;
  [[noreturn]] void unsupported(SourceLocation location, std::string_view message) const;
  std::string at(SourceLocation location, std::string_view message) const;

 private:
  std::string source_name_;
};

struct LockUse {
  int lock = -1;  // into DeviceDesign::locks; -1: none
  int value = 1;
  bool greater_equal = false;
};

struct TextDimension {
  int64_t size = 1;
  int64_t stride = 1;
};
struct TextPadding {
  int64_t before = 0;
  int64_t after = 0;
};

// One descriptor as written: elements, outermost dimension first, no number yet.
struct DmaBlock {
  int buffer = -1;    // into DeviceDesign::buffers; -1: a host argument
  int argument = -1;  // host argument, with argument_offset bytes added
  int64_t argument_offset = 0;
  int64_t offset = 0;  // elements
  int64_t length = 0;  // elements
  int element_bits = 32;
  int64_t buffer_elements = -1;  // for bounds; -1: unknown
  std::vector<TextDimension> dimensions;
  std::vector<TextPadding> padding;
  int64_t pad_value = 0;
  LockUse acquire;
  LockUse release;
  std::optional<std::pair<int, int>> packet;  // type, id
  int descriptor_id = -1;
  int next = -1;             // block of the same chain; -1: ends
  int next_descriptor = -1;  // next_bd_id as written
  SourceLocation location;
};

struct DmaChain {
  TileCoordinate tile;
  DmaDirection direction = DmaDirection::kS2MM;
  int channel = 0;
  int repeat_count = 0;
  int start = 0;  // block
  std::vector<DmaBlock> blocks;
  SourceLocation location;
};

// A FIFO's two or more ends after lowering, for acquire and release in cores.
struct LoweredFifoEnd {
  TileCoordinate tile;
  FifoEnd end;
  mlir::Type element;
};

struct DeviceLowering {
  const mlir::Module& module;
  const mlir::Operation& operation;  // the aie.device
  const Geometry& geometry;
  const Diagnostics& diagnostics;
  DeviceDesign& out;
  std::vector<std::string>& warnings;

  std::map<mlir::ValueId, TileCoordinate> tiles;
  std::map<mlir::ValueId, int> buffers;
  std::map<mlir::ValueId, int> locks;
  std::map<std::string, int> buffer_names;
  std::map<TileCoordinate, int> controller_ids;
  std::map<std::string, const mlir::Operation*> globals;
  std::map<std::string, std::vector<LoweredFifoEnd>> fifo_ends;  // by FIFO name
  std::vector<DmaChain> chains;
  // What place_core_storage makes, by the core's tile and the global's name or the alloca's result.
  std::map<std::pair<TileCoordinate, std::string>, int> core_globals;
  std::map<std::pair<TileCoordinate, mlir::ValueId>, int> core_variables;

  const mlir::Value& value(mlir::ValueId id) const {
    return module.values[static_cast<size_t>(id)];
  }
  [[noreturn]] void fail(SourceLocation location, std::string_view message) const {
    diagnostics.fail(location, message);
  }
  void warn(SourceLocation location, std::string_view message) const {
    warnings.push_back(diagnostics.at(location, message));
  }

  TileKind kind(TileCoordinate tile) const {
    return geometry.kind_of_row(static_cast<uint32_t>(tile.row));
  }
  const TileGeometry& limits(TileCoordinate tile) const { return geometry.tile(kind(tile)); }

  // An operand that must be a tile, a buffer, a lock.
  TileCoordinate tile_operand(const mlir::Operation& operation, size_t index) const;
  int buffer_operand(const mlir::Operation& operation, size_t index) const;
  int lock_operand(const mlir::Operation& operation, size_t index) const;
  int add_buffer(BufferDecl buffer);
  int add_lock(LockDecl lock);
};

// ---- attributes of operations, checked ----

// An integer attribute, or the default when absent (an absent one without a default is an error).
int64_t integer_of(const DeviceLowering& lowering, const mlir::Operation& operation,
                   std::string_view key, std::optional<int64_t> fallback = std::nullopt);
int64_t integer_in(const DeviceLowering& lowering, const mlir::Operation& operation,
                   std::string_view key, int64_t low, int64_t high,
                   std::optional<int64_t> fallback = std::nullopt);
bool flag_of(const mlir::Operation& operation, std::string_view key, bool fallback = false);
std::string text_of(const DeviceLowering& lowering, const mlir::Operation& operation,
                    std::string_view key, std::optional<std::string> fallback = std::nullopt);
DmaDirection direction_of(const DeviceLowering& lowering, const mlir::Operation& operation,
                          std::string_view key);
// Numbers of a dense value as bytes of `type`, repeated when it is a splat.
// A number written as a value of a float type: with a point, or as its bits in hexadecimal.
double real_of(const DeviceLowering& lowering, const mlir::Attribute& number,
               const ScalarType& type);
std::vector<std::byte> dense_bytes(const DeviceLowering& lowering, const mlir::Attribute& dense,
                                   const mlir::Type& type);
std::vector<TextDimension> dimensions_of(const DeviceLowering& lowering,
                                         const mlir::Attribute* list);
std::vector<TextPadding> padding_of(const DeviceLowering& lowering, const mlir::Attribute* list);

// ---- passes, in order ----

void lower_declarations(DeviceLowering& lowering);  // tiles, buffers, locks, routes, kernels
void lower_switches(DeviceLowering& lowering);      // routes of text that was routed already
void lower_object_fifos(DeviceLowering& lowering);
void lower_dma_programs(DeviceLowering& lowering);
void place_core_storage(DeviceLowering& lowering);  // constants and stack variables of cores
void assign_resources(DeviceLowering& lowering);    // lock ids, buffer addresses, descriptor ids
void lower_cores(DeviceLowering& lowering);
void verify_device(const DeviceLowering& lowering);

// Calls visit(operation, declaration) for every aie.core with a body.
template <typename Visit>
void for_each_core(DeviceLowering& lowering, Visit&& visit) {
  size_t next = 0;
  mlir::walk(*lowering.operation.regions[0], [&](const mlir::Operation& operation) {
    if (operation.name != "aie.core") return false;
    CoreDecl& core = lowering.out.cores[next++];
    if (!operation.regions.empty()) visit(operation, core);
    return false;
  });
}

// The func.func of that name with a body, or nullptr.
const mlir::Operation* find_function(const DeviceLowering& lowering, std::string_view name);

// One aie.dma_bd with its block's locks, as written. `arguments`: host arguments by value.
struct HostReference {
  int argument = 0;
  int64_t offset = 0;  // bytes
};
using HostReferences = std::map<mlir::ValueId, HostReference>;
// {type, id} of a packet attribute.
std::pair<int, int> packet_of(const DeviceLowering& lowering, const mlir::Attribute& packet);
void check_burst_length(const DeviceLowering& lowering, const mlir::Operation& operation,
                        TileKind kind);
DmaBlock read_dma_block(DeviceLowering& lowering, TileCoordinate tile, const mlir::Block& block,
                        const HostReferences* arguments);

// The registers' fields of a block. Descriptor ids and addresses must be assigned.
BufferDescriptor make_descriptor(const DeviceLowering& lowering, const DmaChain& chain,
                                 const DmaBlock& block);
// Addresses as the tile's DMA sees them: plus the window of a mem tile.
uint64_t dma_address(const DeviceLowering& lowering, TileCoordinate tile, const BufferDecl& buffer,
                     SourceLocation location);
int dma_lock_id(const DeviceLowering& lowering, TileCoordinate tile, const LockDecl& lock,
                SourceLocation location);

// The runtime sequence of one device as instructions; `devices` are all, for aiex.configure.
void lower_sequence(std::vector<DeviceLowering>& devices, size_t main, std::string_view name,
                    Design& design);

}  // namespace tandem::npu

// What a design is after its text has been parsed and lowered: tiles, buffers, locks, buffer
// descriptors, routes, core programs and the controller's instructions. FIFO-level text and lowered
// text both end here, so the emulator and the transaction encoder know one form only.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "npu/aie_text/core_program.h"
#include "npu/aie_text/source_location.h"
#include "npu/geometry.h"

namespace tandem::npu {

enum class DmaDirection : uint8_t { kS2MM = 0, kMM2S = 1 };

struct TileCoordinate {
  int column = 0;
  int row = 0;
  friend bool operator==(const TileCoordinate&, const TileCoordinate&) = default;
  friend auto operator<=>(const TileCoordinate&, const TileCoordinate&) = default;
};

struct BufferDecl {
  std::string name;  // symbol, or the SSA name when the text gives no symbol
  TileCoordinate tile;
  uint32_t address = 0;                  // bytes from the start of the tile's data memory
  uint32_t size = 0;                     // bytes
  int mem_bank = -1;                     // as the text asks, -1 when it does not
  bool placed = false;                   // address given by the text or by the allocator
  std::vector<std::byte> initial_value;  // empty: none
  SourceLocation location;
};

struct LockDecl {
  std::string name;
  TileCoordinate tile;
  int id = -1;
  int initial_value = 0;
  SourceLocation location;
};

// One dimension of a DMA address pattern, outermost first where several are listed. Units are
// 32-bit words; size 0 means "not wrapped": the dimension takes all that the length leaves.
struct BdDimension {
  uint32_t size = 0;
  uint32_t stride = 1;
  friend bool operator==(const BdDimension&, const BdDimension&) = default;
};

// A buffer descriptor with the fields of the registers, strides as true values (not minus 1).
struct BufferDescriptor {
  bool valid = false;
  uint32_t length = 0;   // 32-bit words sent or received, padding included
  uint64_t address = 0;  // bytes: tile memory, mem-tile window, or host address (see host_address)
  std::array<BdDimension, 4> dimensions{};  // [0] innermost; default: linear
  std::array<uint32_t, 3> pad_before{};     // words of d0, rows of d1, planes of d2
  std::array<uint32_t, 3> pad_after{};
  uint32_t iteration_size = 1;    // wraps after this many executions
  uint32_t iteration_stride = 0;  // words added per execution
  uint32_t iteration_current = 0;
  bool packet_enabled = false;
  uint8_t packet_id = 0;
  uint8_t packet_type = 0;
  bool acquire_enabled = false;
  int acquire_lock = 0;   // as the DMA of that tile numbers locks (mem tile: own = 64..127)
  int acquire_value = 0;  // negative: greater-or-equal of the magnitude; else equality
  int release_lock = 0;
  int release_value = 0;  // 0: no release
  bool use_next = false;
  int next = 0;
  bool suppress_last = false;  // no TLAST at the end
  SourceLocation location;
};

struct BufferDescriptorSlot {
  TileCoordinate tile;
  int id = 0;
  BufferDescriptor descriptor;
};

// A task on a channel's queue when the array starts.
struct ChannelStart {
  TileCoordinate tile;
  DmaDirection direction = DmaDirection::kS2MM;
  int channel = 0;
  int first_descriptor = 0;
  int repeat_count = 0;  // executions minus one
  SourceLocation location;
};

enum class PortKind : uint8_t { kDma, kCore, kTileControl, kTrace, kSouth, kNorth, kEast, kWest };

struct StreamPort {
  TileCoordinate tile;
  PortKind kind = PortKind::kDma;
  int index = 0;
  friend bool operator==(const StreamPort&, const StreamPort&) = default;
  friend auto operator<=>(const StreamPort&, const StreamPort&) = default;
};

// A circuit (packet_id < 0: everything the source sends) or a packet route.
struct Route {
  StreamPort source;
  StreamPort destination;
  int packet_id = -1;
  bool keep_packet_header = false;
  SourceLocation location;
};

struct CascadeRoute {
  TileCoordinate source;
  TileCoordinate destination;
  SourceLocation location;
};

// A name the runtime sequence uses for a shim channel.
struct ShimAllocation {
  std::string name;
  TileCoordinate tile;
  DmaDirection direction = DmaDirection::kMM2S;
  int channel = 0;
};

struct CoreDecl {
  TileCoordinate tile;
  int stack_size = 0x400;
  CoreProgram program;
  SourceLocation location;
};

// The configuration that one load of the array installs.
struct DeviceDesign {
  std::string name;
  Generation generation{};
  int columns = 0;
  std::vector<TileCoordinate> tiles;
  std::vector<BufferDecl> buffers;
  std::vector<LockDecl> locks;
  std::vector<BufferDescriptorSlot> descriptors;
  std::vector<ChannelStart> starts;
  std::vector<Route> routes;
  std::vector<CascadeRoute> cascades;
  std::vector<ShimAllocation> shim_allocations;
  std::vector<CoreDecl> cores;
  std::map<std::string, KernelDecl> kernels;  // func.func private
};

// The array controller's instructions; addresses hold column and row:
// (column << 25) | (row << 20) | offset in the tile.
struct ControllerInstruction {
  enum class Kind : uint8_t {
    kWrite32,       // [address] = value
    kMaskWrite32,   // [address] = ([address] & ~mask) | (value & mask)
    kBlockWrite,    // [address ...] = words
    kAddressPatch,  // descriptor word at address and the next = host address of argument + addend
    kSync,          // wait for a completion token of a channel
    kLoadDevice,    // install another device's configuration (device)
    kPreempt,       // no effect on one context
  };
  Kind kind = Kind::kWrite32;
  uint32_t address = 0;
  uint32_t value = 0;
  uint32_t mask = 0;
  std::vector<uint32_t> words;
  int argument = 0;     // kAddressPatch
  uint64_t addend = 0;  // kAddressPatch, bytes
  TileCoordinate tile;  // kSync
  DmaDirection direction = DmaDirection::kS2MM;
  int channel = 0;
  int column_count = 1;
  int row_count = 1;
  int device = 0;  // kLoadDevice: index into Design::devices
  SourceLocation location;
};

// A host buffer the sequence expects, by position.
struct HostArgument {
  std::string name;
  uint64_t size = 0;  // bytes
};

struct Design {
  std::string source_name;  // for messages, usually a file name
  std::vector<DeviceDesign> devices;
  int main_device = 0;
  std::string sequence_name;
  std::vector<HostArgument> arguments;
  std::vector<ControllerInstruction> sequence;
  std::vector<std::string> warnings;  // "file:line:column: text"
};

struct ParseOptions {
  std::string source_name = "design.mlir";
  std::string device;    // replaces the placeholder NPUDEVICE; also overrides nothing else
  std::string sequence;  // which runtime sequence; empty: the main device's first
};

// Parses, verifies against the geometry and lowers. Throws kInvalidFile with
// "file:line:column: what was expected", kUnsupported for valid text outside the subset.
Design parse_design(std::string_view text, const ParseOptions& options = {});

// Helpers every user of a Design shares.
const BufferDecl* find_buffer(const DeviceDesign& device, std::string_view name);
const ShimAllocation* find_shim_allocation(const DeviceDesign& device, std::string_view name);

// "(2, 1)" as the dialect writes a tile.
std::string to_text(TileCoordinate tile);
std::string_view to_text(DmaDirection direction);

}  // namespace tandem::npu

// Writes AIE-dialect text: tiles, object FIFOs, kernels, cores and the runtime sequence, counting
// what each takes of its tiles on the way.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "npu/designs/budget.h"
#include "npu/designs/designs.h"
#include "npu/geometry.h"

namespace tandem::npu {

// An object FIFO as the text declares it. Layouts are lists of <size, stride>, outermost first.
struct FifoText {
  std::string name;
  TileIndex producer;
  std::vector<TileIndex> consumers;
  uint32_t depth = 2;
  std::string memref;       // "memref<4352xi8>"
  std::string to_stream;    // layout at the producer, "[<size = 4, stride = 8>, ..]", or empty
  std::string from_stream;  // the same at the consumers
};

// A shim transfer of the sequence: `length` elements from `offset`, linear or by at most four
// dimensions, outermost first; the fourth steps from one repetition to the next.
struct TransferText {
  struct Dimension {
    uint64_t size, stride;  // elements
  };
  std::string argument, memref, fifo;
  uint64_t offset = 0, length = 0;
  std::vector<Dimension> dimensions;
  uint32_t repetitions = 1;
  bool awaited = false;
};

class DesignWriter {
 public:
  DesignWriter(const Geometry& geometry, uint32_t columns)
      : budget_(geometry), geometry_(geometry), columns_(columns) {}

  // A line of the device's body; `depth` counts from there.
  template <typename... Args>
  void line(int depth, fmt::format_string<Args...> format, Args&&... args) {
    body_ += std::string(static_cast<size_t>(4 + 2 * depth), ' ');
    body_ += fmt::format(format, std::forward<Args>(args)...);
    body_ += '\n';
  }

  void declare_tiles();
  // func.func private, provided by an object file.
  void declare_kernel(std::string_view symbol, std::string_view arguments, std::string_view object);
  void declare_fifo(const FifoText& fifo);
  // Offsets in elements of the larger object; empty for a link of one FIFO to one.
  void link(const std::vector<std::string>& from, const std::vector<std::string>& to,
            const std::vector<uint64_t>& offsets);
  // An element acquired from a FIFO, named %element; released with release().
  void acquire(int depth, std::string_view fifo, bool produce, std::string_view memref,
               std::string_view element);
  void release(int depth, std::string_view fifo, bool produce);
  void begin_core(TileIndex tile, const std::set<uint64_t>& constants);
  void end_core();
  // Opens `scf.for %name = 0 to count`; count must be among the core's constants.
  void begin_loop(int depth, std::string_view name, uint64_t count);
  void end_loop(int depth) { line(depth, "}}"); }
  // The loop a core stays in from one run of the sequence to the next.
  void begin_endless_loop(int depth);
  void end_endless_loop(int depth);
  // Configures and starts a transfer on the shim the FIFO ends at; gives the task's name.
  std::string transfer(TileIndex tile, const TransferText& transfer);
  void await(const std::string& task);
  // A task known to be over gives its descriptor back.
  void free(const std::string& task);

  Budget& budget() { return budget_; }
  // The whole text: title and budget as comments, then the module.
  EmittedDesign finish(std::string_view title, std::string_view sequence);

 private:
  std::string body_;
  Budget budget_;
  const Geometry& geometry_;
  uint32_t columns_;
  uint32_t task_count_ = 0;
  std::map<std::string, TileIndex> open_tasks_;  // those that hold a descriptor
};

// Names of values: "%core_0_2", "%mem_1", "%shim_3".
std::string tile_name(const Geometry& geometry, TileIndex tile);
std::string memref_of(uint64_t count, std::string_view type);

}  // namespace tandem::npu

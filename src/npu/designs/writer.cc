// The text forms of writer.h.
// SPDX-License-Identifier: Apache-2.0
#include "npu/designs/writer.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace tandem::npu {
namespace {

std::string symbols(const std::vector<std::string>& names) {
  return fmt::format("[@{}]", fmt::join(names, ", @"));
}

}  // namespace

std::string tile_name(const Geometry& geometry, TileIndex tile) {
  switch (geometry.kind_of_row(tile.row)) {
    case TileKind::kShim: return fmt::format("%shim_{}", tile.column);
    case TileKind::kMem: return fmt::format("%mem_{}", tile.column);
    case TileKind::kCore: break;
  }
  return fmt::format("%core_{}_{}", tile.column, tile.row);
}

std::string memref_of(uint64_t count, std::string_view type) {
  return fmt::format("memref<{}x{}>", count, type);
}

void DesignWriter::declare_tiles() {
  for (uint32_t column = 0; column < columns_; ++column)
    for (uint32_t row = 0; row < geometry_.rows; ++row)
      line(0, "{} = aie.tile({}, {})", tile_name(geometry_, {column, row}), column, row);
}

void DesignWriter::declare_kernel(std::string_view symbol, std::string_view arguments,
                                  std::string_view object) {
  line(0, "func.func private @{}({}) attributes {{link_with = \"{}\"}}", symbol, arguments, object);
}

void DesignWriter::declare_fifo(const FifoText& fifo) {
  std::vector<std::string> consumers;
  for (const TileIndex tile : fifo.consumers) consumers.push_back(tile_name(geometry_, tile));
  if (!fifo.from_stream.empty())
    for (std::string& consumer : consumers) consumer += " dimensionsFromStream " + fifo.from_stream;
  const std::string layout =
      fifo.to_stream.empty() ? "" : fmt::format(" dimensionsToStream {}", fifo.to_stream);
  line(0, "aie.objectfifo @{}({}{}, {{{}}}, {} : i32) : !aie.objectfifo<{}>", fifo.name,
       tile_name(geometry_, fifo.producer), layout, fmt::join(consumers, ", "), fifo.depth,
       fifo.memref);
}

void DesignWriter::link(const std::vector<std::string>& from, const std::vector<std::string>& to,
                        const std::vector<uint64_t>& offsets) {
  const std::string list = fmt::format("[{}]", fmt::join(offsets, ", "));
  line(0, "aie.objectfifo.link {} -> {} ({} {})", symbols(from), symbols(to),
       from.size() > 1 ? list : "[]", to.size() > 1 ? list : "[]");
}

void DesignWriter::acquire(int depth, std::string_view fifo, bool produce, std::string_view memref,
                           std::string_view element) {
  line(depth, "%{}_view = aie.objectfifo.acquire @{} ({}, 1) : !aie.objectfifosubview<{}>", element,
       fifo, produce ? "Produce" : "Consume", memref);
  line(depth,
       "%{0} = aie.objectfifo.subview.access %{0}_view[0] : !aie.objectfifosubview<{1}> -> {1}",
       element, memref);
}

void DesignWriter::release(int depth, std::string_view fifo, bool produce) {
  line(depth, "aie.objectfifo.release @{} ({}, 1)", fifo, produce ? "Produce" : "Consume");
}

void DesignWriter::begin_core(TileIndex tile, const std::set<uint64_t>& constants) {
  budget_.at(tile).memory += geometry_.default_stack;
  line(0, "aie.core({}) {{", tile_name(geometry_, tile));
  for (const uint64_t value : constants) line(1, "%c{0} = arith.constant {0} : index", value);
}

void DesignWriter::end_core() {
  line(1, "aie.end");
  // Counters in place of unrolled loops: trip counts need not be multiples of FIFO depths.
  line(0, "}} {{dynamic_objfifo_lowering = true}}");
}

void DesignWriter::begin_loop(int depth, std::string_view name, uint64_t count) {
  line(depth, "scf.for %{} = %c0 to %c{} step %c1 {{", name, count);
}

void DesignWriter::begin_endless_loop(int depth) {
  line(depth, "scf.while : () -> () {{");
  line(depth + 1, "%forever = arith.constant true");
  line(depth + 1, "scf.condition(%forever)");
  line(depth, "}} do {{");
}

void DesignWriter::end_endless_loop(int depth) {
  line(depth + 1, "scf.yield");
  line(depth, "}}");
}

std::string DesignWriter::transfer(TileIndex tile, const TransferText& t) {
  std::string task = fmt::format("%task_{}", task_count_++);
  open_tasks_[task] = tile;
  uint64_t open = 0;
  for (const auto& [name, place] : open_tasks_) open += place == tile;
  uint64_t& descriptors = budget_.at(tile).descriptors;
  descriptors = std::max(descriptors, open);

  std::vector<std::string> dimensions, attributes;
  for (const auto& [size, stride] : t.dimensions)
    dimensions.push_back(fmt::format("<size = {}, stride = {}>", size, stride));
  const std::string layout =
      dimensions.empty() ? "" : fmt::format(", [{}]", fmt::join(dimensions, ", "));
  if (t.awaited) attributes.push_back("issue_token = true");
  if (t.repetitions > 1)
    attributes.push_back(fmt::format("repeat_count = {} : i32", t.repetitions - 1));
  line(1, "{} = aiex.dma_configure_task_for @{} {{", task, t.fifo);
  line(2, "aie.dma_bd(%{} : {}, {}, {}{})", t.argument, t.memref, t.offset, t.length, layout);
  line(2, "aie.end");
  line(1, "}}{}", attributes.empty() ? "" : fmt::format(" {{{}}}", fmt::join(attributes, ", ")));
  line(1, "aiex.dma_start_task({})", task);
  return task;
}

void DesignWriter::await(const std::string& task) {
  line(1, "aiex.dma_await_task({})", task);
  open_tasks_.erase(task);
}

void DesignWriter::free(const std::string& task) {
  line(1, "aiex.dma_free_task({})", task);
  open_tasks_.erase(task);
}

EmittedDesign DesignWriter::finish(std::string_view title, std::string_view sequence) {
  EmittedDesign design;
  design.budget = budget_.lines();
  design.sequence = std::string(sequence);
  const std::string device = columns_ == geometry_.columns
                                 ? std::string(geometry_.name)
                                 : fmt::format("{}_{}col", geometry_.name, columns_);
  design.text = fmt::format("{}//\n{}module {{\n  aie.device({}) {{\n{}  }}\n}}\n", title,
                            to_comment(design.budget), device, body_);
  return design;
}

}  // namespace tandem::npu

// Makes the controller's instructions from a runtime sequence. Internal to lower_sequence:
// lower_sequence.cc walks and writes registers, sequence_tasks.cc moves data.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "npu/aie_text/lowering.h"

namespace tandem::npu {

class SequenceLowering {
 public:
  SequenceLowering(std::vector<DeviceLowering>& devices, size_t main, Design& design)
      : devices_(devices), device_(main), design_(design) {}

  // The host arguments are the sequence's own.
  void lower_main(const mlir::Operation& sequence);

 private:
  using Operation = mlir::Operation;

  // A configured DMA task: its chain, with descriptor ids, and how it is started.
  struct Task {
    DmaChain chain;
    bool issue_token = false;
  };

  DeviceLowering& device() { return devices_[device_]; }
  [[noreturn]] void fail(const Operation& operation, const std::string& message) {
    device().fail(operation.location, message);
  }

  void lower_block(const mlir::Block& block);
  void lower_operation(const Operation& operation);
  bool lower_register_operation(const Operation& operation);
  bool lower_task_operation(const Operation& operation);
  bool lower_value_operation(const Operation& operation);

  ControllerInstruction& emit(ControllerInstruction::Kind kind, const Operation& operation);
  uint32_t target_address(const Operation& operation);
  void write32(const Operation& operation);
  void block_write(const Operation& operation);
  void runtime_parameter(const Operation& operation);
  void write_descriptor(const Operation& operation);
  void check_descriptor_fields(const Operation& operation, const TileGeometry& limits);
  void address_patch(const Operation& operation);
  void push_queue(const Operation& operation);
  void sync(const Operation& operation);
  void set_lock(const Operation& operation);
  void control_packet(const Operation& operation);
  void load_device(const Operation& operation);
  void configure(const Operation& operation);
  void run(const Operation& operation);
  TileCoordinate tile_attributes(const Operation& operation);

  // Registers common to memcpys and tasks.
  void emit_descriptor(const Operation& operation, TileCoordinate tile, int id,
                       const BufferDescriptor& descriptor);
  void emit_push(const Operation& operation, const DmaChain& channel, int descriptor,
                 bool issue_token);
  void emit_sync(const Operation& operation, TileCoordinate tile, DmaDirection direction,
                 int channel);

  // Data.
  const HostReference& host_operand(const Operation& operation, size_t index);
  int64_t constant_operand(const Operation& operation, mlir::ValueId value);
  std::vector<int64_t> index_list(const Operation& operation, std::string_view key,
                                  size_t& operand);
  const ShimAllocation& allocation(const Operation& operation, std::string_view key);
  void dma_memcpy(const Operation& operation);
  void configure_task(const Operation& operation, Task task);
  void configure_task_region(const Operation& operation);
  void start_bd_chain(const Operation& operation);
  void start_task(const Operation& operation, const Task& task);
  void await_task(const Operation& operation);
  void free_task(const Task& task);
  const Task& task_operand(const Operation& operation);
  DmaChain read_task_chain(const Operation& operation, const mlir::Region& region, DmaChain chain);
  void assign_task_descriptors(const Operation& operation, DmaChain& chain);
  void check_host_bounds(const Operation& operation, int argument, uint64_t last_byte);

  std::vector<DeviceLowering>& devices_;
  size_t device_;
  Design& design_;
  HostReferences references_;
  std::map<mlir::ValueId, Task> tasks_;
  std::map<TileCoordinate, std::set<int>> used_descriptors_;
  int depth_ = 0;
};

}  // namespace tandem::npu

// Makes a CoreProgram from a core's region. Internal to lower_cores; split over core_compiler.cc
// (values, control flow, the array's operations) and core_arithmetic.cc (arith, memref, affine).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "npu/aie_text/lowering.h"

namespace tandem::npu {

class CoreCompiler {
 public:
  CoreCompiler(const DeviceLowering& lowering, TileCoordinate tile)
      : lowering_(lowering), tile_(tile) {}

  CoreProgram compile(const mlir::Region& body);

 private:
  using Operation = mlir::Operation;

  struct BlockPlace {
    int first_instruction = -1;
    std::vector<int> argument_registers;
  };
  // A jump whose block is not placed yet.
  struct Fixup {
    int instruction;
    std::string label;
  };

  // Registers and instructions.
  int new_register() { return program_.register_count++; }
  Instruction& emit(Opcode opcode, const Operation& operation);
  int here() const { return static_cast<int>(program_.instructions.size()); }
  int constant(int64_t value, const Operation& operation);
  int register_of(mlir::ValueId value, const Operation& user);
  int define(const Operation& operation, size_t result = 0);
  void move(int destination, int source, const Operation& operation);
  void parallel_move(const std::vector<int>& destinations, const std::vector<int>& sources,
                     const Operation& operation);
  const mlir::Type& type_of(mlir::ValueId value) const { return lowering_.value(value).type; }
  ScalarType scalar_of(mlir::ValueId value, const Operation& user) const;
  [[noreturn]] void fail(const Operation& operation, const std::string& message) const {
    lowering_.fail(operation.location, message);
  }

  // Values of the device used inside: references and constants, set up first.
  void emit_prologue(const mlir::Region& body);
  void emit_outer_value(mlir::ValueId value, const Operation& user);

  // Control flow.
  void compile_region(const mlir::Region& region);
  void compile_operations(const mlir::Block& block);
  void compile_operation(const Operation& operation);
  bool compile_control(const Operation& operation);
  void compile_for(const Operation& operation);
  void compile_affine_for(const Operation& operation);
  void compile_counted_loop(const Operation& operation, int lower, int upper, int step,
                            size_t first_initial);
  void compile_if(const Operation& operation);
  void compile_while(const Operation& operation);
  void compile_branch(const Operation& operation);
  void compile_call(const Operation& operation);
  void inline_function(const Operation& call, const Operation& function);
  std::vector<int> yielded_registers(const mlir::Region& region, std::string_view terminator,
                                     size_t first);

  // The array.
  bool compile_array_operation(const Operation& operation);
  int fifo_end(const Operation& operation);
  void compile_use_lock(const Operation& operation);

  // core_arithmetic.cc; false when the operation is not of that kind.
  bool compile_arithmetic(const Operation& operation);
  bool compile_memory(const Operation& operation);
  void compile_constant(const Operation& operation);
  void compile_binary(const Operation& operation, BinaryOp function);
  void compile_compare(const Operation& operation);
  void compile_convert(const Operation& operation, ConvertOp function);
  int affine_expression(const mlir::Attribute& tree, const Operation& operation);
  int element_address(const Operation& operation, mlir::ValueId memref,
                      const std::vector<int>& indices);
  int offset_address(const Operation& operation, int base, const mlir::Type& source,
                     const std::vector<int>& offsets);
  std::vector<int> mixed_registers(const Operation& operation, std::string_view key,
                                   size_t& operand);
  std::vector<int64_t> strides_of(const mlir::Type& type) const;
  void check_in_core_memory(const mlir::Type& type, const Operation& operation) const;

  const DeviceLowering& lowering_;
  TileCoordinate tile_;
  CoreProgram program_;
  std::map<mlir::ValueId, int> registers_;
  std::map<mlir::ValueId, int> subviews_;                        // value -> FIFO end
  std::map<std::string, int> fifo_end_of_name_;                  // "name/P" or "name/C"
  std::vector<std::map<std::string, BlockPlace>> block_places_;  // of the regions being compiled
  std::vector<std::vector<Fixup>> fixups_;
  int inline_depth_ = 0;
};

}  // namespace tandem::npu

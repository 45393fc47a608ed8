// Makes a CoreProgram from a core's region. Internal to lower_cores; split over core_compiler.cc
// (values, control flow), core_calls.cc (functions, the array's operations), core_arithmetic.cc
// (arith, math, index, affine), core_memory.cc (memref), core_vectors.cc (vector, cascade) and
// core_vector_shapes.cc.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "npu/aie_text/lowering.h"

namespace tandem::npu {

class CoreCompiler {
 public:
  CoreCompiler(const DeviceLowering& lowering, TileCoordinate tile)
      : lowering_(lowering), tile_(tile) {}

  CoreProgram compile(const mlir::Operation& core);

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
  int new_register() { return new_registers(1); }
  int new_registers(int count) { return (program_.register_count += count) - count; }
  // A vector has as many registers as lanes, anything else one.
  int lanes_of(mlir::ValueId value) const;
  void append_registers(std::vector<int>& list, int first, mlir::ValueId value) const;
  int define_argument(mlir::ValueId argument);
  Instruction& emit(Opcode opcode, const Operation& operation);
  int here() const { return static_cast<int>(program_.instructions.size()); }
  int emit_immediate(Opcode opcode, int64_t value, const Operation& operation);  // its register
  int constant(int64_t value, const Operation& operation);
  int register_of(mlir::ValueId value, const Operation& user);
  int define(const Operation& operation, size_t result = 0);
  std::vector<int> define_results(const Operation& operation);
  void move(int destination, int source, const Operation& operation);
  // Of the lane of a vector operation: all but the first are free.
  Instruction& emit_lane(Opcode opcode, const Operation& operation, int lane);
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
  int reference(int buffer, const Operation& user);  // a register with the buffer's address

  // Control flow.
  void compile_region(const mlir::Region& region);
  void compile_conditional_region(const mlir::Region& region);
  void compile_operations(const mlir::Block& block);
  void compile_operation(const Operation& operation);
  bool compile_control(const Operation& operation);
  void compile_for(const Operation& operation);
  void compile_affine_for(const Operation& operation);
  void compile_counted_loop(const Operation& operation, int lower, int upper, int step,
                            size_t first_initial);
  // variable = lower; while variable < upper: body, variable += step
  void count(int variable, int lower, int upper, int step, const Operation& operation,
             const std::function<void()>& body);
  void compile_if(const Operation& operation);
  void compile_index_switch(const Operation& operation);
  void compile_while(const Operation& operation);
  void compile_branch(const Operation& operation);
  void compile_switch(const Operation& operation);
  void jump_to(const mlir::Successor& successor, const Operation& operation);
  // Branches that go on at the next instruction where the condition holds. The caller sets the
  // returned instruction's other_target.
  int branch_on(int condition, const Operation& operation);
  int branch_if(Predicate predicate, int a, int b, const Operation& operation);
  int branch_if_equal(int selector, int64_t value, const Operation& operation);
  void compile_call(const Operation& operation);
  void inline_function(const Operation& call, const Operation& function);
  void compile_return(const Operation& operation);
  std::vector<int> yielded_registers(const mlir::Region& region, std::string_view terminator,
                                     size_t first);

  // The array.
  bool compile_array_operation(const Operation& operation);
  int fifo_end(const Operation& operation);
  void compile_acquire(const Operation& operation);
  void compile_subview(const Operation& operation);
  int lock_of(mlir::ValueId value) const;
  void compile_use_lock(const Operation& operation);

  // The rest; false when the operation is not of that kind.
  bool compile_arithmetic(const Operation& operation);
  bool compile_memory(const Operation& operation);
  bool compile_vector(const Operation& operation);
  bool compile_cascade(const Operation& operation);
  void compile_stream(const Operation& operation);
  void compile_constant(const Operation& operation);
  void compile_binary(const Operation& operation, BinaryOp function);
  // Lanes of the result, which every operand must have.
  int equal_lanes(const Operation& operation) const;
  void compile_compare(const Operation& operation);
  void compile_convert(const Operation& operation, ConvertOp function);
  void compile_unary(const Operation& operation, UnaryOp function);
  void compile_select(const Operation& operation);
  void compile_negate(const Operation& operation);
  // `first`: the operand that is number 0 in the tree.
  int affine_expression(const mlir::Attribute& tree, const Operation& operation, size_t first = 0);
  int affine_bound(const Operation& operation, bool upper);
  void compile_access(const Operation& operation, bool store);
  void compile_copy(const Operation& operation);
  void compile_view(const Operation& operation);
  void compile_storage(const Operation& operation);
  void compile_vector_access(const Operation& operation, bool store);
  std::vector<int> transfer_axes(const Operation& operation, size_t vector_rank, size_t rank) const;
  void compile_fused_multiply(const Operation& operation);
  void compile_reduction(const Operation& operation);
  BinaryOp reduction_of(const Operation& operation, const std::string& kind) const;
  void combine(const Operation& operation, BinaryOp function, int lane, int destination, int a,
               int b);
  void compile_lane(const Operation& operation, bool insert);

  // Lanes by position (core_vector_shapes.cc).
  bool compile_vector_shape(const Operation& operation);
  void gather_lanes(const Operation& operation, const std::vector<int>& sources);
  std::vector<int64_t> slice_lanes(const Operation& operation, const std::vector<int64_t>& whole,
                                   const std::vector<int64_t>& part);
  void compile_broadcast(const Operation& operation);
  void compile_transpose(const Operation& operation);
  void compile_extract_slice(const Operation& operation);
  void compile_insert_slice(const Operation& operation);
  void compile_shuffle(const Operation& operation);
  void compile_multi_reduction(const Operation& operation);
  void compile_contract(const Operation& operation);

  // Memory.
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
  std::map<mlir::ValueId, int> subviews_;        // value -> FIFO end
  std::map<std::string, int> fifo_end_of_name_;  // "name/P" or "name/C"
  std::vector<mlir::Type> fifo_elements_;        // of program_.fifo_ends
  bool dynamic_fifos_ = false;                   // the core asks for buffers chosen at run time
  int conditional_depth_ = 0;  // of regions that run as often as the program decides
  std::vector<std::map<std::string, BlockPlace>> block_places_;  // of the regions being compiled
  std::vector<std::vector<Fixup>> fixups_;
  // A call whose function is being compiled: where its results go, the jumps to its end.
  struct Inlined {
    std::vector<int> results;
    std::vector<int> exits;
  };
  std::vector<Inlined> inlined_;
  std::map<mlir::ValueId, int> passed_locks_;  // arguments of inlined functions
};

}  // namespace tandem::npu

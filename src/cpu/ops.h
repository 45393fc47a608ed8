// The ops of op.h as stages of independent tasks, in terms of an instruction set's Kernels.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "cpu/packed_weights.h"

namespace tandem::cpu {

struct CpuWeights : Weights {
  std::vector<PackedMatrix> matrices;       // of kMatmul
  std::vector<std::vector<float>> vectors;  // of the norms
  TensorView table;                         // of kEmbed: where the file is mapped

  size_t size() const override;
};

// What a running program offers its kernels.
struct Run {
  BatchHeader* header;
  BatchRow* rows;
  uint32_t rounds;    // of the submit
  std::byte* shared;  // scratch that all threads see; a kernel's own while it runs
  std::byte* own;     // scratch of the calling thread
};

// Parts of scratch memory start on cache lines.
constexpr size_t align_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

struct ScratchSize {
  size_t shared = 0, own = 0;  // bytes
};

// An op bound to its weights. It runs in stages; a stage is a number of tasks, known once the
// batch is, that any threads may run in any order. Results do not depend on the threads.
class CpuKernel : public Kernel {
 public:
  explicit CpuKernel(const OpSpec& spec) : spec_(spec) {}

  const OpSpec& spec() const { return spec_; }
  // Aborts on arguments of the wrong shape; tells the scratch that a run with them needs.
  virtual ScratchSize bind(std::span<const TensorView> args) const = 0;
  virtual uint32_t stage_count() const { return 1; }
  virtual uint32_t task_count(const Run& run, std::span<const TensorView> args,
                              uint32_t stage) const noexcept = 0;
  // Called once by each thread that is about to take tasks of a stage.
  virtual void enter(const Run&, std::span<const TensorView>, uint32_t) const noexcept {}
  virtual void run_task(const Run& run, std::span<const TensorView> args, uint32_t stage,
                        uint32_t task) const noexcept = 0;

 protected:
  uint32_t max_rows() const { return spec_.on_outputs ? spec_.max_outputs : spec_.max_rows; }
  uint32_t row_count(const Run& run) const {
    return spec_.on_outputs ? run.header->outputs : run.header->rows;
  }

 private:
  OpSpec spec_;
};

// Aborts unless `view` has the type and at least the rows and exactly the columns.
void check_operand(const TensorView& view, DType dtype, uint32_t rows, uint32_t cols);

// `threads` only shapes the tasks. `weights` is null for ops without.
std::unique_ptr<CpuKernel> make_kernel(const OpSpec& spec, const CpuWeights* weights,
                                       const Kernels& kernels, uint32_t threads);

// The makers that make_kernel chooses from, by file.
std::unique_ptr<CpuKernel> make_row_op(const OpSpec& spec, const CpuWeights* weights,
                                       const Kernels& kernels);  // row_ops.cc
std::unique_ptr<CpuKernel> make_sampling_op(const OpSpec& spec,
                                            const Kernels& kernels);  // sampling_ops.cc
std::unique_ptr<CpuKernel> make_matmul_op(const OpSpec& spec, const CpuWeights& weights,
                                          const Kernels& kernels, uint32_t threads);
std::unique_ptr<CpuKernel> make_qk_norm_rope_op(const OpSpec& spec, const CpuWeights& weights,
                                                const Kernels& kernels);
std::unique_ptr<CpuKernel> make_attention_op(const OpSpec& spec, const Kernels& kernels);

}  // namespace tandem::cpu

// One attention projection on the array: packed weights, the loaded design, and the host's part
// around it. The array multiplies; the host does what needs the row as a whole (the norms, the
// residual) and turns f32 into int8 groups and sums back into f32.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "npu/designs/designs.h"
#include "npu/device.h"
#include "npu/int4_layout.h"
#include "npu/projection_layout.h"

namespace tandem::npu {

// The matrix of a kQkv or kAttnOut spec: y[M, outputs] = x[M, inputs] * w^T.
struct ProjectionShape {
  DesignOp op = DesignOp::kQkv;
  uint32_t inputs = 0, outputs = 0;
};
ProjectionShape projection_shape(const OpSpec& spec);

// Rows that a design takes at a time; more rows than that run in turns.
uint32_t design_rows(const OpSpec& spec);

struct ProjectionWeights final : Weights {
  Int4Layout layout;
  std::unique_ptr<Buffer> packed;
  std::vector<float> row_scales;  // per output
  std::vector<float> norm;
  PackReport report;
  size_t size() const override {
    return packed->size() + (row_scales.size() + norm.size()) * sizeof(float);
  }
};

// `file` as backend/op.h lists a projection's weights.
std::unique_ptr<ProjectionWeights> load_projection_weights(Device& device, const Int4Layout& layout,
                                                           const OpSpec& spec,
                                                           std::span<const TensorView> file);

// A design in the array, shared by all layers of its shape, with the buffers its runs reuse.
struct ProjectionDesign {
  ProjectionLayout layout;
  std::unique_ptr<LoadedDesign> loaded;
  std::unique_ptr<Buffer> activations, results;
  std::vector<float> row_scales;  // per row, of the activations
  std::vector<float> normed;      // [rows, inputs]: the input after its norm, for kQkv
  std::vector<float> sums;        // [rows, outputs]: before norm and residual, for kAttnOut
  std::array<uint32_t, 3> order = {0, 1, 2};  // argument of weights, activations, results
};

// Runs of the array and the time, split where it is spent.
struct ProjectionTimes {
  uint64_t runs = 0;
  double host_seconds = 0, device_seconds = 0;
};

class ProjectionKernel final : public tandem::Kernel {
 public:
  ProjectionKernel(const OpSpec& spec, const ProjectionWeights& weights, ProjectionDesign& design,
                   std::chrono::microseconds timeout)
      : op_(spec.op),
        phase_(spec.phase),
        epsilon_(spec.config->norm_epsilon),
        weights_(weights),
        design_(design),
        timeout_(timeout) {}

  Op op() const { return op_; }
  Phase phase() const { return phase_; }

  // Arguments as in op.h, `count` rows of them. Adds to *times. Does not allocate or throw.
  RunResult run(std::span<const TensorView> args, uint32_t count,
                ProjectionTimes* times) const noexcept;

 private:
  // Rows [first, first + count), count <= the design's rows.
  RunResult run_rows(std::span<const TensorView> args, uint32_t first, uint32_t count,
                     ProjectionTimes* times) const noexcept;
  RunResult run_array(ProjectionTimes* times) const noexcept;

  Op op_;
  Phase phase_;
  float epsilon_;
  const ProjectionWeights& weights_;
  ProjectionDesign& design_;
  std::chrono::microseconds timeout_;
};

}  // namespace tandem::npu

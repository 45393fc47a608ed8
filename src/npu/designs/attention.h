// The two attention projections, for decode and for prefill, written from one description.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "npu/designs/designs.h"
#include "npu/designs/writer.h"

namespace tandem::npu {

// The projection kernels of kernels/w4a8_aie2.cc as a design calls them.
struct ProjectionKernels {
  std::string tile;   // symbol of the multiply for the generation and scale mode
  std::string flush;  // sums to results
  int32_t shape = 0;
};
ProjectionKernels declare_projection_kernels(DesignWriter& writer, const ProjectionLayout& layout);

// %shape and %size (bytes of the sums), which the kernels take.
void write_projection_constants(DesignWriter& writer, const ProjectionLayout& layout,
                                const ProjectionKernels& kernels);

// The host buffers' types in the runtime sequence, whose first line this writes.
struct SequenceTypes {
  std::string weights, activations, results;
};
SequenceTypes begin_projection_sequence(DesignWriter& writer, const ProjectionLayout& layout,
                                        const std::string& name);

// Transfers of the results, a column each, through the FIFO that `fifo` names; the tasks to wait
// for.
std::vector<std::string> receive_results(DesignWriter& writer, const ProjectionLayout& layout,
                                         const std::string& memref,
                                         const std::function<std::string(uint32_t column)>& fifo);

EmittedDesign emit_decode(const DesignRequest& request, const ProjectionLayout& layout);
EmittedDesign emit_prefill(const DesignRequest& request, const ProjectionLayout& layout);

}  // namespace tandem::npu

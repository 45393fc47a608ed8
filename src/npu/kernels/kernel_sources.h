// The core kernels' own source text, carried in the program so that `tandem npu build` works
// wherever the program is.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>

namespace tandem::npu {

struct KernelSourceFile {
  std::string_view path;  // as other files include it: "npu/kernels/gemm_aie2.cc"
  std::string_view text;
};

std::span<const KernelSourceFile> kernel_source_files();

}  // namespace tandem::npu

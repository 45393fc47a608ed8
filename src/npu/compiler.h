// Makes artefacts of designs for the hardware: drives aiecc of the MLIR-AIE tools and the core
// compiler, and keeps what they made by the hash of what they were given.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "npu/artifact.h"

namespace tandem::npu {

// A core kernel: compiled to `object`, the name the design's text gives as link_with. It includes
// files of its own folder as "npu/kernels/NAME".
struct KernelSource {
  std::string object;  // "gemm_int4.o"
  std::filesystem::path source;
  std::vector<std::string> defines;  // "TILE_K=512"
};

struct DesignSource {
  DesignIdentity identity;
  std::string text;
  std::vector<KernelSource> kernels;
};

struct CompilerOptions {
  std::string aiecc = "aiecc";  // name on PATH or a path
  // Peano's clang++, needed for designs with kernels; empty: that of PEANO_INSTALL_DIR, the
  // variable that MLIR-AIE's set-up sets.
  std::string core_compiler;
  // Beside those of the tools' installation, where the AIE API normally is.
  std::vector<std::filesystem::path> include_folders;
  std::filesystem::path cache;  // empty: default_npu_cache()
  std::chrono::milliseconds time_limit = std::chrono::minutes(30);
};

// TANDEM_NPU_CACHE, else the user's cache folder, else kUsage.
std::filesystem::path default_npu_cache();

// A folder with the sources of this program's core kernels: unpacked below `cache` (empty:
// default_npu_cache()) under a name that follows from their content.
std::filesystem::path unpack_kernel_sources(std::filesystem::path cache = {});

struct CompileResult {
  Artifact artifact;
  std::filesystem::path folder;
  bool from_cache = false;
};

class Compiler {
 public:
  explicit Compiler(CompilerOptions options);

  // Looks in the cache, else runs the tools. Throws kUnsupported saying what to install when there
  // are none; kInvalidFile with the end of the tool's log when one fails; kTimeout.
  CompileResult compile(const DesignSource& design) const;

  // Hash of everything the tools are given, their own version included.
  std::string source_hash(const DesignSource& design) const;

 private:
  // Path and version of each tool; throws kUnsupported.
  struct Tools {
    std::filesystem::path aiecc, core_compiler;
    std::string version;
  };
  Tools find_tools(const DesignSource& design) const;
  std::string source_hash(const DesignSource& design, const Tools& tools) const;
  std::vector<std::string> kernel_command(const Tools& tools, const DesignSource& design,
                                          const KernelSource& kernel) const;
  std::vector<std::string> design_command(const Tools& tools) const;
  void run_tool(const std::vector<std::string>& command, const std::filesystem::path& folder) const;

  CompilerOptions options_;
};

}  // namespace tandem::npu

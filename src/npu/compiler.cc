// SPDX-License-Identifier: Apache-2.0
#include "npu/compiler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/env.h"
#include "base/error.h"
#include "npu/kernels/kernel_sources.h"
#include "npu/loader.h"
#include "npu/process.h"
#include "npu/sha256.h"

namespace tandem::npu {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDesignFile = "design.mlir";
constexpr const char* kPdiFile = "design.pdi";
constexpr const char* kInstructionsFile = "insts.bin";
constexpr const char* kLogFile = "build.log";
constexpr const char* kKernelFolder = "npu/kernels";
constexpr size_t kLogTail = 600;  // bytes of a tool's log that an error quotes
constexpr std::chrono::seconds kVersionLimit{30};

std::string read_file(const fs::path& path, const char* what) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw Error(ErrorCode::kNotFound, fmt::format("cannot read {} {}", what, path.string()));
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

void write_text(const fs::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  if (!file) throw Error(ErrorCode::kInternal, fmt::format("cannot write {}", path.string()));
}

// The end of a log, from the start of a line.
std::string log_tail(const fs::path& path) {
  std::string log = read_file(path, "the tool's log");
  if (log.size() > kLogTail) {
    log.erase(0, log.size() - kLogTail);
    log.erase(0, log.find('\n') + 1);
  }
  while (!log.empty() && log.back() == '\n') log.pop_back();
  return log;
}

// The headers in the folder of a kernel, names and text.
std::string headers_beside(const fs::path& source) {
  std::vector<fs::path> headers;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(source.parent_path(), error))
    if (entry.path().extension() == ".h") headers.push_back(entry.path());
  std::sort(headers.begin(), headers.end());
  std::string all;
  for (const fs::path& header : headers)
    all += header.filename().string() + '\0' + read_file(header, "the header");
  return all;
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// A folder for one build, removed at the end unless it is kept for its log.
class BuildFolder {
 public:
  explicit BuildFolder(fs::path path) : path_(std::move(path)) {
    std::error_code error;
    fs::remove_all(path_, error);
    fs::create_directories(path_, error);
    if (error)
      throw Error(ErrorCode::kInternal,
                  fmt::format("cannot create {}; set TANDEM_NPU_CACHE to a writable folder",
                              path_.string()));
  }
  ~BuildFolder() {
    std::error_code error;
    if (done_) fs::remove_all(path_, error);
  }
  BuildFolder(const BuildFolder&) = delete;
  BuildFolder& operator=(const BuildFolder&) = delete;

  const fs::path& path() const { return path_; }
  void set_done() { done_ = true; }

 private:
  fs::path path_;
  bool done_ = false;
};

std::vector<uint32_t> to_words(const std::string& bytes, const fs::path& path) {
  if (bytes.empty() || bytes.size() % sizeof(uint32_t) != 0)
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("{} made by aiecc has {} bytes, not a whole number of words",
                            path.string(), bytes.size()));
  std::vector<uint32_t> words(bytes.size() / sizeof(uint32_t));
  std::memcpy(words.data(), bytes.data(), bytes.size());
  return words;
}

}  // namespace

fs::path default_npu_cache() {
  if (const auto folder = env("TANDEM_NPU_CACHE")) return *folder;
  if (const auto folder = foreign_env("XDG_CACHE_HOME")) return fs::path(*folder) / "tandem/npu";
  if (const auto folder = foreign_env("HOME")) return fs::path(*folder) / ".cache/tandem/npu";
  throw Error(ErrorCode::kUsage, "no folder for compiled NPU designs; set TANDEM_NPU_CACHE to one");
}

fs::path unpack_kernel_sources(fs::path cache) {
  if (cache.empty()) cache = default_npu_cache();
  std::string all;
  for (const KernelSourceFile& file : kernel_source_files())
    all += fmt::format("{}\n{}", file.path, file.text);
  const fs::path root = cache / ("kernels-" + sha256_hex(all).substr(0, 16));
  for (const KernelSourceFile& file : kernel_source_files()) {
    const fs::path path = root / file.path;
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    write_text(path, std::string(file.text));
  }
  return root / kKernelFolder;
}

Compiler::Compiler(CompilerOptions options) : options_(std::move(options)) {
  if (options_.cache.empty()) options_.cache = default_npu_cache();
}

Compiler::Tools Compiler::find_tools(const DesignSource& design) const {
  Tools tools;
  const auto aiecc = find_program(options_.aiecc);
  if (!aiecc)
    throw Error(ErrorCode::kUnsupported,
                fmt::format("no `{}` found: install the MLIR-AIE tools (Xilinx/mlir-aie, with its "
                            "Peano core compiler) and put aiecc on PATH, or give its path",
                            options_.aiecc));
  tools.aiecc = *aiecc;
  if (!design.kernels.empty()) {
    std::string name = options_.core_compiler;
    if (const auto peano = foreign_env("PEANO_INSTALL_DIR"); name.empty() && peano)
      name = *peano + "/bin/clang++";
    const auto compiler = name.empty() ? std::nullopt : find_program(name);
    if (!compiler)
      throw Error(ErrorCode::kUnsupported,
                  "no core compiler: install Peano (Xilinx/llvm-aie) and give the path of its "
                  "clang++, or set PEANO_INSTALL_DIR");
    tools.core_compiler = *compiler;
  }
  std::error_code error;
  fs::create_directories(options_.cache, error);
  const fs::path log = options_.cache / "version.log";
  fs::remove(log, error);
  if (run_process({tools.aiecc.string(), "--version"}, options_.cache, log, kVersionLimit) != 0)
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{} --version fails; check the installation of the MLIR-AIE tools",
                            tools.aiecc.string()));
  tools.version = first_line(read_file(log, "the tool's version"));
  fs::remove(log, error);
  return tools;
}

std::string Compiler::source_hash(const DesignSource& design) const {
  return source_hash(design, find_tools(design));
}

std::string Compiler::source_hash(const DesignSource& design, const Tools& tools) const {
  std::string all = fmt::format("{}\n{}\n{}\n{}\n", tools.version, design_name(design.identity),
                                design.identity.tile, design.identity.columns);
  all += design.text;
  for (const KernelSource& kernel : design.kernels) {
    all += headers_beside(kernel.source);
    all += '\0' + kernel.object + '\0' + read_file(kernel.source, "the kernel");
    for (const std::string& define : kernel.defines) all += '\0' + define;
  }
  return sha256_hex(all);
}

std::vector<std::string> Compiler::kernel_command(const Tools& tools, const DesignSource& design,
                                                  const KernelSource& kernel) const {
  const bool aie2 = design.identity.generation == "npu1";
  std::vector<std::string> command = {
      tools.core_compiler.string(), "-O2", "-std=c++20", "-DNDEBUG",
      aie2 ? "--target=aie2-none-unknown-elf" : "--target=aie2p-none-unknown-elf"};
  // The kernels include each other by their path below this folder's grandparent.
  const fs::path root = fs::absolute(kernel.source).parent_path() / "../..";
  command.insert(command.end(), {"-I", root.lexically_normal().string()});
  for (const fs::path& folder : options_.include_folders)
    command.insert(command.end(), {"-I", fs::absolute(folder).string()});
  // MLIR-AIE installs the AIE API beside its programs.
  const fs::path api = tools.aiecc.parent_path().parent_path() / "include";
  if (std::error_code error; fs::exists(api / "aie_api/aie.hpp", error))
    command.insert(command.end(), {"-I", api.string()});
  for (const std::string& define : kernel.defines) command.push_back("-D" + define);
  command.insert(command.end(), {"-c", fs::absolute(kernel.source).string(), "-o", kernel.object});
  return command;
}

std::vector<std::string> Compiler::design_command(const Tools& tools) const {
  std::vector<std::string> command = {tools.aiecc.string(),
                                      "--no-aiesim",
                                      "--no-compile-host",
                                      "--no-xchesscc",
                                      "--no-xbridge",
                                      "--aie-generate-pdi",
                                      fmt::format("--pdi-name={}", kPdiFile),
                                      "--aie-generate-npu-insts",
                                      fmt::format("--npu-insts-name={}", kInstructionsFile)};
  // Peano's root is two folders above its clang++.
  if (!tools.core_compiler.empty())
    command.push_back("--peano=" + tools.core_compiler.parent_path().parent_path().string());
  command.push_back(kDesignFile);
  return command;
}

void Compiler::run_tool(const std::vector<std::string>& command, const fs::path& folder) const {
  const fs::path log = folder / kLogFile;
  const int code = run_process(command, folder, log, options_.time_limit);
  if (code != 0)
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("{} failed with exit code {}; end of {}:\n{}", command[0], code,
                            log.string(), log_tail(log)));
}

CompileResult Compiler::compile(const DesignSource& design) const {
  const Tools tools = find_tools(design);
  const std::string hash = source_hash(design, tools);
  CompileResult result;
  result.folder = options_.cache / (design_name(design.identity) + "-" + hash.substr(0, 16));
  std::error_code error;
  if (fs::exists(result.folder / "manifest.json", error)) {
    result.artifact = load_artifact(result.folder, {design.identity, hash, true});
    result.from_cache = true;
    return result;
  }
  BuildFolder build(result.folder.string() + ".build");
  write_text(build.path() / kDesignFile, design.text);
  for (const KernelSource& kernel : design.kernels)
    run_tool(kernel_command(tools, design, kernel), build.path());
  run_tool(design_command(tools), build.path());

  const std::string pdi = read_file(build.path() / kPdiFile, "what aiecc should have made,");
  const std::string words =
      read_file(build.path() / kInstructionsFile, "what aiecc should have made,");
  Artifact& artifact = result.artifact;
  artifact.configuration.resize(pdi.size());
  std::memcpy(artifact.configuration.data(), pdi.data(), pdi.size());
  artifact.instructions = to_words(words, build.path() / kInstructionsFile);
  artifact.manifest = {design.identity, ConfigurationKind::kPdi, tools.version, hash,
                       sha256_hex(pdi), sha256_hex(words)};
  store_artifact(result.folder, artifact);
  build.set_done();
  return result;
}

}  // namespace tandem::npu

// SPDX-License-Identifier: Apache-2.0
#include "npu/loader.h"

#include <fmt/format.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/json_value.h"
#include "npu/sha256.h"

namespace tandem::npu {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = "manifest.json";
constexpr const char* kConfiguration = "configuration.bin";
constexpr const char* kInstructions = "instructions.bin";
constexpr const char* kRebuild = "run `tandem npu build` again";

void write_file(const fs::path& path, std::string_view bytes) {
  const fs::path temporary = path.string() + ".part";
  std::ofstream file(temporary, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  std::error_code error;
  if (file) fs::rename(temporary, path, error);
  if (!file || error)
    throw Error(ErrorCode::kInternal,
                fmt::format("cannot write {}; check the disk and TANDEM_NPU_CACHE", path.string()));
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorCode::kNotFound, fmt::format("no {}; {}", path.string(), kRebuild));
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

std::string read_verified(const fs::path& path, const std::string& digest) {
  std::string bytes = read_file(path);
  if (sha256_hex(bytes) != digest)
    throw Error(
        ErrorCode::kInvalidFile,
        fmt::format("{} does not match the hash in its manifest; {}", path.string(), kRebuild));
  return bytes;
}

void check_expectation(const fs::path& path, const Manifest& manifest,
                       const ArtifactExpectation& expected) {
  if (manifest.identity != expected.identity)
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("{} is for {} with tile {} on {} columns, expected {} with tile {} on "
                            "{}; {}",
                            path.string(), design_name(manifest.identity), manifest.identity.tile,
                            manifest.identity.columns, design_name(expected.identity),
                            expected.identity.tile, expected.identity.columns, kRebuild));
  if (!expected.source_sha256.empty() && manifest.source_sha256 != expected.source_sha256)
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("{} is stale, its design or kernels have changed since; {}",
                            path.string(), kRebuild));
  if (expected.for_hardware && manifest.kind != ConfigurationKind::kPdi)
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{} holds design text for the emulator, not a PDI; install the "
                            "MLIR-AIE tools and {}",
                            path.string(), kRebuild));
}

}  // namespace

void store_artifact(const fs::path& folder, const Artifact& artifact) {
  std::error_code error;
  fs::create_directories(folder, error);
  fs::remove(folder / kManifest, error);
  write_file(folder / kConfiguration, as_text(artifact.configuration));
  write_file(folder / kInstructions, as_text(std::as_bytes(std::span(artifact.instructions))));
  write_file(folder / kManifest, to_text(to_json(artifact.manifest), true) + "\n");
}

Artifact load_artifact(const fs::path& folder, const ArtifactExpectation& expected) {
  const fs::path manifest_path = folder / kManifest;
  Artifact artifact;
  artifact.manifest = parse_manifest(parse_json(read_file(manifest_path), manifest_path.string()),
                                     manifest_path.string());
  check_expectation(manifest_path, artifact.manifest, expected);
  const std::string configuration =
      read_verified(folder / kConfiguration, artifact.manifest.configuration_sha256);
  const std::string instructions =
      read_verified(folder / kInstructions, artifact.manifest.instructions_sha256);
  if (instructions.size() % sizeof(uint32_t) != 0)
    throw Error(ErrorCode::kInvalidFile, fmt::format("{} is not a whole number of words; {}",
                                                     (folder / kInstructions).string(), kRebuild));
  artifact.configuration.resize(configuration.size());
  std::memcpy(artifact.configuration.data(), configuration.data(), configuration.size());
  artifact.instructions.resize(instructions.size() / sizeof(uint32_t));
  std::memcpy(artifact.instructions.data(), instructions.data(), instructions.size());
  return artifact;
}

}  // namespace tandem::npu

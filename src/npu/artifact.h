// A design made ready to load, and the manifest that says what it is. Names are made here only.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"

namespace tandem::npu {

// What a design computes; decides its name.
struct DesignIdentity {
  std::string op;     // "qkv", "out", "gemm"
  std::string phase;  // "decode", "prefill"
  uint32_t m = 0, k = 0, n = 0;
  std::string tile;        // "32x512", as the design names it
  std::string dtype;       // "int4"
  std::string generation;  // "npu1", "npu2"
  uint32_t columns = 0;
  friend bool operator==(const DesignIdentity&, const DesignIdentity&) = default;
};

// "qkv-decode-m4-k2560-n4096-int4-npu1"; safe as a file name.
std::string design_name(const DesignIdentity& identity);

enum class ConfigurationKind : uint8_t {
  kPdi,   // made by the MLIR-AIE tools, for the hardware
  kText,  // the design's text, for the emulator
};

struct Manifest {
  DesignIdentity identity;
  ConfigurationKind kind = ConfigurationKind::kText;
  std::string toolchain;             // what the compiler says of itself; "none" for kText
  std::string source_sha256;         // everything the compiler was given
  std::string configuration_sha256;  // the PDI or container
  std::string instructions_sha256;   // of the words as bytes
  friend bool operator==(const Manifest&, const Manifest&) = default;
};

struct Artifact {
  Manifest manifest;
  std::vector<std::byte> configuration;
  std::vector<uint32_t> instructions;
};

Json to_json(const Manifest& manifest);
// Throws kInvalidFile naming `where` and the key that is missing, unknown or of the wrong type.
Manifest parse_manifest(const Json& json, const std::string& where);

// The artefact the emulator runs, made without tools: text container and encoded sequence. Throws
// what parse_design throws.
Artifact make_text_artifact(const DesignIdentity& identity, const std::string& text);

}  // namespace tandem::npu

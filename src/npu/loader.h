// Artefacts on disk: a folder with manifest.json, configuration.bin and instructions.bin, each
// verified by its hash when it is read.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

#include "npu/artifact.h"

namespace tandem::npu {

// Writes the three files, the manifest last, each by way of a temporary name, so that a folder with
// a manifest is complete. Throws kInternal when the disk refuses.
void store_artifact(const std::filesystem::path& folder, const Artifact& artifact);

// What a caller expects an artefact to be.
struct ArtifactExpectation {
  DesignIdentity identity;
  std::string source_sha256;  // empty: any
  bool for_hardware = false;  // true: text containers are refused
};

// Throws kNotFound without a manifest; kInvalidFile when a file does not match its hash (tampered
// or cut short), when it was built from another source (stale) or is another design; kUnsupported
// when hardware is asked to run a text container.
Artifact load_artifact(const std::filesystem::path& folder, const ArtifactExpectation& expected);

}  // namespace tandem::npu

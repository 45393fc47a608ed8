// A file that appears under its name only when it is complete.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace tandem {

// Written beside the target, without a name where the file system can do that (so that not even a
// killed process leaves it behind), then renamed over the target. Every failure throws and leaves
// the target as it was.
class AtomicFile {
 public:
  // Reserves `size` bytes, which read as zeros until written. Throws kNotFound when the folder
  // does not exist, kUsage when the target is something else than a file, kInternal with the
  // system's reason otherwise (disk full, no permission).
  AtomicFile(const std::filesystem::path& target, uint64_t size);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // From any thread.
  void write(uint64_t offset, std::span<const std::byte> bytes);
  // Flushes to the disk and replaces the target. Nothing may be written after it.
  void commit();

 private:
  explicit AtomicFile(const std::filesystem::path& target);
  void create_named();
  void reserve(uint64_t size);

  std::filesystem::path target_;
  std::filesystem::path temporary_;  // the name it has, or will have just before the rename
  bool named_ = false;
  int file_ = -1;
};

}  // namespace tandem

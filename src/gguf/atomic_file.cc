// SPDX-License-Identifier: Apache-2.0
#include "gguf/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/error.h"

namespace tandem {
namespace {

constexpr mode_t kMode = 0666;  // less the process's umask

[[noreturn]] void fail(std::string_view activity, const std::filesystem::path& path, int reason) {
  const bool missing = reason == ENOENT || reason == ENOTDIR;
  const bool full = reason == ENOSPC || reason == EDQUOT || reason == EFBIG;
  throw Error(missing ? ErrorCode::kNotFound : ErrorCode::kInternal,
              fmt::format("cannot {} {}: {}{}", activity, path.string(), std::strerror(reason),
                          missing ? "; choose a folder that exists"
                          : full  ? "; free some space or choose another place"
                                  : ""));
}

// Path under which the kernel shows an open file.
std::string descriptor_path(int file) { return fmt::format("/proc/self/fd/{}", file); }

// The rename itself survives a power failure only when its folder has been flushed. The data is
// safe already, so a file system that cannot do this is no error.
void flush_folder(const std::filesystem::path& folder) {
  const int file = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return;
  fsync(file);
  ::close(file);
}

}  // namespace

// Once the delegate has returned, the destructor runs even if reserve() throws.
AtomicFile::AtomicFile(const std::filesystem::path& target, uint64_t size) : AtomicFile(target) {
  reserve(size);
}

AtomicFile::AtomicFile(const std::filesystem::path& target) {
  std::error_code ignored;
  target_ = std::filesystem::weakly_canonical(target, ignored);  // a link keeps pointing to it
  if (target_.empty()) target_ = target;
  struct stat status {};
  if (::stat(target_.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
    throw Error(ErrorCode::kUsage,
                fmt::format("cannot write {}: it exists and is no regular file", target.string()));

  temporary_ = target_;
  temporary_ += fmt::format(".{}.tmp", getpid());
  const std::filesystem::path folder = target_.parent_path();
  file_ = ::open(folder.empty() ? "." : folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, kMode);
  // To get a name later, the file must be visible under /proc.
  if (file_ >= 0 && access(descriptor_path(file_).c_str(), F_OK) != 0) {
    ::close(file_);
    file_ = -1;
  }
  if (file_ < 0) create_named();
}

AtomicFile::~AtomicFile() {
  if (file_ < 0) return;
  ::close(file_);
  if (named_) unlink(temporary_.c_str());
}

void AtomicFile::create_named() {
  file_ = ::open(temporary_.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, kMode);
  if (file_ < 0) fail("create", temporary_, errno);
  named_ = true;
}

void AtomicFile::reserve(uint64_t size) {
  const off_t end = static_cast<off_t>(size);
  if (end == 0 || fallocate(file_, 0, 0, end) == 0) return;
  if (errno != EOPNOTSUPP && errno != ENOSYS)
    fail(fmt::format("reserve {} bytes for", size), target_, errno);
  if (ftruncate(file_, end) != 0) fail("extend", target_, errno);
}

void AtomicFile::write(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("write", target_, written < 0 ? errno : ENOSPC);
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
}

void AtomicFile::commit() {
  if (fsync(file_) != 0) fail("write", target_, errno);
  if (!named_) {
    unlink(temporary_.c_str());  // of a process that died between these two steps
    if (linkat(AT_FDCWD, descriptor_path(file_).c_str(), AT_FDCWD, temporary_.c_str(),
               AT_SYMLINK_FOLLOW) != 0)
      fail("create", temporary_, errno);
    named_ = true;
  }
  if (rename(temporary_.c_str(), target_.c_str()) != 0) fail("replace", target_, errno);
  named_ = false;
  ::close(file_);
  file_ = -1;
  flush_folder(target_.has_parent_path() ? target_.parent_path() : ".");
}

}  // namespace tandem

// SPDX-License-Identifier: Apache-2.0
#include "gguf/gguf.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "gguf/reader.h"

namespace tandem {
namespace {

// A whole file mapped for reading; empty by default.
class Mapping {
 public:
  Mapping() = default;
  explicit Mapping(const std::filesystem::path& path) {
    // Opening a pipe to read would wait for a writer.
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) {
      const int reason = errno;
      throw Error(ErrorCode::kNotFound,
                  reason == ENOENT || reason == ENOTDIR
                      ? fmt::format("no such file: {}", path.string())
                      : fmt::format("cannot open {}: {}", path.string(), std::strerror(reason)));
    }
    map(file, path.string());
  }
  ~Mapping() {
    if (address_ != nullptr) munmap(address_, size_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte*>(address_), size_};
  }

 private:
  // Takes the descriptor, which a mapping does not need to stay open.
  void map(int file, const std::string& name) {
    struct stat status {};
    const bool known = fstat(file, &status) == 0;
    std::string problem;
    if (!known)
      problem = fmt::format("cannot read {}: {}", name, std::strerror(errno));
    else if (S_ISDIR(status.st_mode))
      problem = name + " is a folder, expected a GGUF file";
    else if (!S_ISREG(status.st_mode))
      problem = name + " is no regular file";
    if (problem.empty() && status.st_size > 0) {
      const size_t size = static_cast<size_t>(status.st_size);
      void* address = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
      if (address == MAP_FAILED) {
        problem = fmt::format("cannot map {}: {}", name, std::strerror(errno));
      } else {
        address_ = address;
        size_ = size;
      }
    }
    ::close(file);
    if (!problem.empty()) throw Error(ErrorCode::kNotFound, problem);
    if (size_ == 0) throw Error(ErrorCode::kInvalidFile, name + " is empty, expected a GGUF file");
  }

  void* address_ = nullptr;
  size_t size_ = 0;
};

const char* kind_of(const GgufValue& value) {
  constexpr const char* kKinds[] = {"an unsigned integer", "a signed integer", "a number",
                                    "a boolean",           "a string",         "an array"};
  return kKinds[value.index()];
}

}  // namespace

struct GgufFile::Impl {
  std::string name;
  std::unique_ptr<Mapping> mapping;  // null for files given as bytes
  std::span<const std::byte> bytes;
  GgufContents contents;

  void parse() {
    try {
      contents = read_gguf(bytes);
    } catch (const Error& error) {
      throw Error(error.code(), name + ": " + error.what());
    }
  }

  const GgufValue* find(std::string_view key) const {
    const auto row = contents.metadata.find(key);
    return row == contents.metadata.end() ? nullptr : &row->second;
  }

  [[noreturn]] void wrong_kind(std::string_view key, const GgufValue& value,
                               std::string_view expected) const {
    throw Error(ErrorCode::kInvalidFile, fmt::format("{}: metadata {} is {}, expected {}", name,
                                                     key, kind_of(value), expected));
  }

  template <typename Element>
  const std::vector<Element>* find_array(std::string_view key, std::string_view expected) const {
    const GgufValue* value = find(key);
    if (value == nullptr) return nullptr;
    if (const auto* array = std::get_if<GgufArray>(value))
      if (const auto* elements = std::get_if<std::vector<Element>>(array)) return elements;
    wrong_kind(key, *value, expected);
  }
};

TensorView GgufTensor::view() const {
  TANDEM_CHECK(dims[2] == 1 && dims[3] == 1, "tensor %.*s has more than two dimensions",
               static_cast<int>(name.size()), name.data());
  // The reader refuses larger dimensions.
  return view_of_bytes(data.data(), dtype,
                       {1, static_cast<uint32_t>(dims[1]), static_cast<uint32_t>(dims[0])});
}

GgufFile::GgufFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GgufFile::GgufFile(GgufFile&&) noexcept = default;
GgufFile& GgufFile::operator=(GgufFile&&) noexcept = default;
GgufFile::~GgufFile() = default;

GgufFile GgufFile::open(const std::filesystem::path& path) {
  auto impl = std::make_unique<Impl>();
  impl->name = path.string();
  impl->mapping = std::make_unique<Mapping>(path);
  impl->bytes = impl->mapping->bytes();
  impl->parse();
  return GgufFile(std::move(impl));
}

GgufFile GgufFile::parse(std::span<const std::byte> bytes, std::string name) {
  auto impl = std::make_unique<Impl>();
  impl->name = std::move(name);
  impl->bytes = bytes;
  impl->parse();
  return GgufFile(std::move(impl));
}

const std::string& GgufFile::name() const { return impl_->name; }
uint32_t GgufFile::version() const { return impl_->contents.version; }
uint64_t GgufFile::file_size() const { return impl_->bytes.size(); }
std::span<const GgufTensor> GgufFile::tensors() const { return impl_->contents.tensors; }
std::span<const GgufEntry> GgufFile::entries() const { return impl_->contents.entries; }
const std::map<std::string, GgufValue, std::less<>>& GgufFile::metadata() const {
  return impl_->contents.metadata;
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto row = impl_->contents.tensor_index.find(name);
  return row == impl_->contents.tensor_index.end() ? nullptr
                                                   : &impl_->contents.tensors[row->second];
}

std::optional<uint64_t> GgufFile::get_unsigned(std::string_view key) const {
  const GgufValue* value = impl_->find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* number = std::get_if<uint64_t>(value)) return *number;
  if (const auto* number = std::get_if<int64_t>(value); number != nullptr && *number >= 0)
    return static_cast<uint64_t>(*number);
  impl_->wrong_kind(key, *value, "an integer from 0");
}

std::optional<double> GgufFile::get_number(std::string_view key) const {
  const GgufValue* value = impl_->find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* number = std::get_if<double>(value)) return *number;
  if (const auto* number = std::get_if<uint64_t>(value)) return static_cast<double>(*number);
  if (const auto* number = std::get_if<int64_t>(value)) return static_cast<double>(*number);
  impl_->wrong_kind(key, *value, "a number");
}

std::optional<bool> GgufFile::get_bool(std::string_view key) const {
  const GgufValue* value = impl_->find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* flag = std::get_if<bool>(value)) return *flag;
  impl_->wrong_kind(key, *value, "a boolean");
}

std::optional<std::string_view> GgufFile::get_string(std::string_view key) const {
  const GgufValue* value = impl_->find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* text = std::get_if<std::string_view>(value)) return *text;
  impl_->wrong_kind(key, *value, "a string");
}

const std::vector<std::string_view>* GgufFile::get_strings(std::string_view key) const {
  return impl_->find_array<std::string_view>(key, "an array of strings");
}

const std::vector<double>* GgufFile::get_numbers(std::string_view key) const {
  return impl_->find_array<double>(key, "an array of floating-point numbers");
}

const std::vector<int64_t>* GgufFile::get_integers(std::string_view key) const {
  return impl_->find_array<int64_t>(key, "an array of signed integers");
}

void GgufFile::drop_pages(const GgufTensor& tensor) const {
  if (impl_->mapping == nullptr) return;
  // Whole pages: neighbours that share the first or the last one are read again if touched.
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<uintptr_t>(tensor.data.data()) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(tensor.data.data() + tensor.data.size());
  madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
}

}  // namespace tandem

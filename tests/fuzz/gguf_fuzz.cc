// Any bytes must be read or refused with an Error; what is read must hold its promises.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "gguf/gguf.h"
#include "tensor/quantize.h"

namespace tandem {
namespace {

// Calls a typed look-up, which may refuse the kind of value.
template <typename LookUp>
void attempt(LookUp look_up) {
  try {
    look_up();
  } catch (const Error& error) {
    TANDEM_CHECK(error.code() == ErrorCode::kInvalidFile, "%s", error.what());
  }
}

void use_metadata(const GgufFile& file) {
  TANDEM_CHECK(file.metadata().size() == file.entries().size(), "an entry is lost");
  for (const GgufEntry& entry : file.entries()) {
    const std::string_view key = entry.key;
    attempt([&] { file.get_unsigned(key); });
    attempt([&] { file.get_number(key); });
    attempt([&] { file.get_bool(key); });
    attempt([&] { file.get_string(key); });
    attempt([&] { file.get_strings(key); });
    attempt([&] { file.get_numbers(key); });
    attempt([&] { file.get_integers(key); });
  }
}

// Reads the first and the last row of every tensor, so that the sanitizer sees where they lie.
void use_tensors(const GgufFile& file, std::span<const std::byte> bytes) {
  for (const GgufTensor& tensor : file.tensors()) {
    TANDEM_CHECK(file.find_tensor(tensor.name) == &tensor, "found another tensor");
    TANDEM_CHECK(tensor.data.data() == bytes.data() + tensor.offset, "data is elsewhere");
    if (tensor.dims[2] != 1 || tensor.dims[3] != 1) continue;
    const TensorView view = tensor.view();
    TANDEM_CHECK(view.size() == tensor.data.size(), "the view has another size");
    std::vector<float> row(view.cols());
    dequantize_row(view.dtype, view.row(0, 0), row.data(), row.size());
    dequantize_row(view.dtype, view.row(0, view.rows() - 1), row.data(), row.size());
  }
}

}  // namespace
}  // namespace tandem

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    const tandem::GgufFile file = tandem::GgufFile::parse(bytes, "fuzz");
    tandem::use_metadata(file);
    tandem::use_tensors(file, bytes);
  } catch (const tandem::Error& error) {
    const bool expected = error.code() == tandem::ErrorCode::kInvalidFile ||
                          error.code() == tandem::ErrorCode::kUnsupported;
    TANDEM_CHECK(expected, "%s", error.what());
    const std::string message = error.what();
    const bool printable =
        std::all_of(message.begin(), message.end(), [](char c) { return c >= ' ' && c <= '~'; });
    TANDEM_CHECK(printable, "a message with control characters");
  }
  return 0;
}

// Writes small valid GGUF files for gguf_fuzz to start from. Usage: gguf_seeds FOLDER
// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "gguf/gguf_writer.h"
#include "tensor/dtype.h"

namespace tandem {
namespace {

// One value of every kind, among them those the container format itself defines.
void write_metadata(const std::filesystem::path& path) {
  GgufWriter writer(path);
  writer.add_unsigned("general.alignment", 32);
  writer.add_unsigned("split.count", 1);
  writer.add_float("f", 0.5f);
  writer.add_bool("b", true);
  writer.add_string("s", "text");
  writer.add_strings("ss", std::vector<std::string_view>{"a", "", "bc"});
  writer.add_floats("ff", std::vector<float>{1.0f, 2.0f});
  writer.add_integers("ii", std::vector<int32_t>{-1, 2});
  // Scalars, and arrays of one zero, of the kinds that the writer has no function for.
  for (const int type : {0, 1, 2, 3, 5, 10, 11, 12}) {
    std::vector<std::byte> scalar(4 + 8), array(4 + 4 + 8 + 8);
    const size_t width = type < 2 ? 1 : type < 4 ? 2 : type < 6 ? 4 : 8;
    scalar[0] = static_cast<std::byte>(type);
    scalar.resize(4 + width);
    array[0] = std::byte{9};
    array[4] = static_cast<std::byte>(type);
    array[8] = std::byte{1};
    array.resize(16 + width);
    writer.add_entry({"v" + std::to_string(type), scalar});
    writer.add_entry({"a" + std::to_string(type), array});
  }
  writer.start();
  writer.finish();
}

void write_tensors(const std::filesystem::path& path, DType dtype) {
  GgufWriter writer(path);
  const uint64_t cols = dtype_info(dtype).block_count;
  const std::vector<std::vector<uint64_t>> shapes = {{cols}, {cols, 2}, {cols, 1, 2, 1}};
  for (size_t i = 0; i < shapes.size(); ++i)
    writer.add_tensor("t" + std::to_string(i), dtype, shapes[i]);
  writer.start();
  const std::vector<std::byte> bytes(2 * dtype_info(dtype).block_size, std::byte{0x31});
  for (size_t i = 0; i < shapes.size(); ++i)
    writer.write(i, 0, std::span(bytes).first(i == 0 ? bytes.size() / 2 : bytes.size()));
  writer.finish();
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: gguf_seeds FOLDER\n"), 2;
  const std::filesystem::path folder = argv[1];
  try {
    std::filesystem::create_directories(folder);
    tandem::write_metadata(folder / "metadata.gguf");
    for (const tandem::DTypeInfo& info : tandem::dtype_infos())
      tandem::write_tensors(folder / (std::string(info.name) + ".gguf"), info.dtype);
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "gguf_seeds: %s\n", error.what()), 70;
  }
  return 0;
}

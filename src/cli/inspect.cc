// `tandem inspect`: what a GGUF file holds.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <string>

#include "base/json_value.h"
#include "cli/commands.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "gguf/gguf.h"

namespace tandem {
namespace {

constexpr size_t kShownItems = 4;  // of an array

struct InspectOptions {
  std::string model;
  bool json = false;
};

std::string shape_of(const GgufTensor& tensor) {
  std::string text = std::to_string(tensor.dims[0]);
  for (size_t d = 1; d < tensor.dims.size() && tensor.dims[d] != 1; ++d)
    text += fmt::format(" x {}", tensor.dims[d]);
  return text;
}

struct ToJson {
  Json operator()(std::string_view text) const { return std::string(text); }
  Json operator()(const GgufArray& array) const {
    return std::visit(
        [](const auto& items) {
          Json shown = Json::array();
          for (size_t i = 0; i < items.size() && i < kShownItems; ++i) {
            if constexpr (std::is_same_v<std::decay_t<decltype(items)>,
                                         std::vector<std::string_view>>)
              shown.push_back(std::string(items[i]));
            else
              shown.push_back(items[i]);
          }
          return Json{{"count", items.size()}, {"first", shown}};
        },
        array);
  }
  template <typename Number>
  Json operator()(Number value) const {
    return value;
  }
};

std::string one_line(const Json& value) {
  constexpr size_t kWidth = 80;
  std::string text = to_text(value);
  if (text.size() > kWidth) text = text.substr(0, kWidth) + "...";
  return text;
}

void inspect_json(const GgufFile& file) {
  Json metadata = Json::object(), tensors = Json::array();
  for (const auto& [key, value] : file.metadata()) metadata[key] = std::visit(ToJson{}, value);
  for (const GgufTensor& t : file.tensors())
    tensors.push_back({{"name", std::string(t.name)},
                       {"type", dtype_name(t.dtype)},
                       {"dims", t.dims},
                       {"offset", t.offset},
                       {"size", t.data.size()}});
  print_json({{"file", file.name()},
              {"version", file.version()},
              {"size", file.file_size()},
              {"metadata", metadata},
              {"tensors", tensors}});
}

void inspect_text(const GgufFile& file) {
  print(fmt::format("{}: GGUF version {}, {} bytes, {} tensors\n\n", file.name(), file.version(),
                    file.file_size(), file.tensors().size()));
  for (const auto& [key, value] : file.metadata())
    print(fmt::format("{:<44} {}\n", key, one_line(std::visit(ToJson{}, value))));
  print("\n");
  std::map<std::string_view, uint64_t> by_type;
  for (const GgufTensor& t : file.tensors()) {
    print(fmt::format("{:<36} {:<6} {:>16} {:>12} bytes at {}\n", t.name, dtype_name(t.dtype),
                      shape_of(t), t.data.size(), t.offset));
    by_type[dtype_name(t.dtype)] += t.data.size();
  }
  for (const auto& [type, size] : by_type)
    print(fmt::format("{:<36} {:<6} {:>16} {:>12} bytes\n", "total", type, "", size));
}

}  // namespace

void add_inspect_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("inspect", "Show the metadata and tensors of a GGUF file");
  auto options = std::make_shared<InspectOptions>();
  add_model_path(*command, options->model);
  command->add_flag("--json", options->json, "print JSON");
  command->callback([options] {
    const GgufFile file = GgufFile::open(options->model);
    if (options->json)
      inspect_json(file);
    else
      inspect_text(file);
  });
}

}  // namespace tandem

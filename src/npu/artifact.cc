// SPDX-License-Identifier: Apache-2.0
#include "npu/artifact.h"

#include <fmt/format.h>

#include <span>

#include "base/error.h"
#include "base/json_value.h"
#include "npu/aie_text/design.h"
#include "npu/sha256.h"
#include "npu/text_container.h"
#include "npu/transaction.h"

namespace tandem::npu {
namespace {

constexpr uint32_t kSchema = 1;

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw Error(ErrorCode::kInvalidFile, fmt::format("{}: {}; build the design again", where, what));
}

// Takes values out of an object by key, all of which must be known and of the right type.
class ManifestReader {
 public:
  ManifestReader(const Json& json, const std::string& where) : json_(json), where_(where) {
    if (!json.is_object()) fail(where, "a manifest is a JSON object");
  }

  std::string text(const char* key) {
    const Json& value = at(key);
    if (!value.is_string()) fail(where_, fmt::format("\"{}\" is not a string", key));
    return value.get<std::string>();
  }
  uint32_t number(const char* key) {
    const Json& value = at(key);
    if (!value.is_number_unsigned() || value.get<uint64_t>() > UINT32_MAX)
      fail(where_, fmt::format("\"{}\" is not a number of 32 bits", key));
    return value.get<uint32_t>();
  }
  void expect_no_more() const {
    if (json_.size() != taken_)
      fail(where_, fmt::format("{} keys, expected {}", json_.size(), taken_));
  }

 private:
  const Json& at(const char* key) {
    const auto entry = json_.find(key);
    if (entry == json_.end()) fail(where_, fmt::format("\"{}\" is missing", key));
    ++taken_;
    return *entry;
  }

  const Json& json_;
  const std::string& where_;
  size_t taken_ = 0;
};

}  // namespace

std::string design_name(const DesignIdentity& identity) {
  return fmt::format("{}-{}-m{}-k{}-n{}-{}-{}", identity.op, identity.phase, identity.m, identity.k,
                     identity.n, identity.dtype, identity.generation);
}

Json to_json(const Manifest& manifest) {
  const DesignIdentity& identity = manifest.identity;
  return Json{{"schema", kSchema},
              {"name", design_name(identity)},
              {"op", identity.op},
              {"phase", identity.phase},
              {"m", identity.m},
              {"k", identity.k},
              {"n", identity.n},
              {"tile", identity.tile},
              {"dtype", identity.dtype},
              {"generation", identity.generation},
              {"columns", identity.columns},
              {"kind", manifest.kind == ConfigurationKind::kPdi ? "pdi" : "text"},
              {"toolchain", manifest.toolchain},
              {"source_sha256", manifest.source_sha256},
              {"configuration_sha256", manifest.configuration_sha256},
              {"instructions_sha256", manifest.instructions_sha256}};
}

Manifest parse_manifest(const Json& json, const std::string& where) {
  ManifestReader reader(json, where);
  if (reader.number("schema") != kSchema) fail(where, "unknown schema");
  Manifest manifest;
  DesignIdentity& identity = manifest.identity;
  const std::string name = reader.text("name");
  identity.op = reader.text("op");
  identity.phase = reader.text("phase");
  identity.m = reader.number("m");
  identity.k = reader.number("k");
  identity.n = reader.number("n");
  identity.tile = reader.text("tile");
  identity.dtype = reader.text("dtype");
  identity.generation = reader.text("generation");
  identity.columns = reader.number("columns");
  const std::string kind = reader.text("kind");
  if (kind != "pdi" && kind != "text")
    fail(where, fmt::format("\"kind\" is \"{}\", expected \"pdi\" or \"text\"", kind));
  manifest.kind = kind == "pdi" ? ConfigurationKind::kPdi : ConfigurationKind::kText;
  manifest.toolchain = reader.text("toolchain");
  manifest.source_sha256 = reader.text("source_sha256");
  manifest.configuration_sha256 = reader.text("configuration_sha256");
  manifest.instructions_sha256 = reader.text("instructions_sha256");
  reader.expect_no_more();
  if (name != design_name(identity))
    fail(where,
         fmt::format("\"name\" is \"{}\", but its fields say \"{}\"", name, design_name(identity)));
  return manifest;
}

Artifact make_text_artifact(const DesignIdentity& identity, const std::string& text) {
  ParseOptions options;
  options.source_name = design_name(identity) + ".mlir";
  Artifact artifact;
  artifact.instructions = encode_transaction(parse_design(text, options));
  artifact.configuration = pack_text(text);
  artifact.manifest.identity = identity;
  artifact.manifest.toolchain = "none";
  artifact.manifest.source_sha256 = sha256_hex(text);
  artifact.manifest.configuration_sha256 = sha256_hex(artifact.configuration);
  artifact.manifest.instructions_sha256 =
      sha256_hex(std::as_bytes(std::span(artifact.instructions)));
  return artifact;
}

}  // namespace tandem::npu

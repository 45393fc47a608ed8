// SPDX-License-Identifier: Apache-2.0
#include "npu/text_container.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "base/byte_reader.h"
#include "base/error.h"
#include "npu/sha256.h"

namespace tandem::npu {
namespace {

constexpr std::array<char, 8> kMagic = {'T', 'N', 'D', 'M', 'A', 'I', 'E', '\0'};
constexpr uint32_t kVersion = 1;

struct Header {
  std::array<char, 8> magic = kMagic;
  uint32_t version = kVersion;
  uint32_t text_size = 0;
  Digest digest{};
};
static_assert(sizeof(Header) == 48);

}  // namespace

std::vector<std::byte> pack_text(std::string_view text) {
  const auto text_bytes = std::as_bytes(std::span(text.data(), text.size()));
  Header header;
  header.text_size = static_cast<uint32_t>(text.size());
  header.digest = sha256(text_bytes);
  std::vector<std::byte> bytes(sizeof header + text.size());
  std::memcpy(bytes.data(), &header, sizeof header);
  std::copy(text_bytes.begin(), text_bytes.end(), bytes.begin() + sizeof header);
  return bytes;
}

bool is_text_container(std::span<const std::byte> bytes) {
  return bytes.size() >= kMagic.size() &&
         std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
}

std::string unpack_text(std::span<const std::byte> bytes) {
  if (!is_text_container(bytes))
    throw Error(ErrorCode::kInvalidFile, "the configuration is not a container of design text");
  Header header;
  ByteReader reader(bytes);
  std::memcpy(&header, reader.take(sizeof header, "container header").data(), sizeof header);
  if (header.version != kVersion)
    throw Error(ErrorCode::kInvalidFile,
                fmt::format("container of design text has version {}, expected {}", header.version,
                            kVersion));
  const auto text = reader.take(header.text_size, "design text");
  if (sha256(text) != header.digest)
    throw Error(ErrorCode::kInvalidFile,
                "the design text in the container does not match its hash; build it again");
  return {reinterpret_cast<const char*>(text.data()), text.size()};
}

}  // namespace tandem::npu

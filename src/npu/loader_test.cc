// Artefacts, containers and hashes: what was stored is what is loaded, or nothing is.
// SPDX-License-Identifier: Apache-2.0
#include "npu/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "base/error.h"
#include "base/json_value.h"
#include "base/temporary_folder.h"
#include "npu/sha256.h"
#include "npu/text_container.h"

namespace tandem::npu {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// FIPS 180-4 examples.
TEST(Sha256, KnownDigests) {
  EXPECT_EQ(sha256_hex(std::string_view("")),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex(std::string_view("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(TextContainer, GivesTheTextBackWithPaddingBehind) {
  std::vector<std::byte> bytes = pack_text("module {}");
  EXPECT_TRUE(is_text_container(bytes));
  bytes.resize(4096);
  EXPECT_EQ(unpack_text(bytes), "module {}");
}

TEST(TextContainer, RefusesEveryChangedByteAndTruncation) {
  const std::vector<std::byte> good = pack_text("module {}");
  for (size_t i = 0; i < good.size(); ++i) {
    std::vector<std::byte> bad = good;
    bad[i] ^= std::byte{1};
    EXPECT_THROW(unpack_text(bad), Error) << "byte " << i;
    bad = {good.begin(), good.begin() + static_cast<ptrdiff_t>(i)};
    EXPECT_THROW(unpack_text(bad), Error) << "cut at " << i;
  }
}

class LoaderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    artifact_.manifest.identity = identity_;
    artifact_.manifest.kind = ConfigurationKind::kPdi;
    artifact_.manifest.toolchain = "fake 1.0";
    artifact_.configuration = {std::byte{1}, std::byte{2}, std::byte{3}};
    artifact_.instructions = {7, 8, 9};
    artifact_.manifest.source_sha256 = sha256_hex(std::string_view("source"));
    artifact_.manifest.configuration_sha256 = sha256_hex(artifact_.configuration);
    artifact_.manifest.instructions_sha256 =
        sha256_hex(std::as_bytes(std::span(artifact_.instructions)));
    store_artifact(folder_.path(), artifact_);
  }

  void append(const char* file, const std::string& text) {
    std::ofstream(folder_ / file, std::ios::app) << text;
  }

  void expect_refused(const ArtifactExpectation& expected, ErrorCode code, const char* why) {
    try {
      load_artifact(folder_.path(), expected);
      FAIL() << "loaded";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_THAT(error.what(), HasSubstr(why));
    }
  }

  DesignIdentity identity_{"qkv", "decode", 4, 2560, 4096, "32x512", "int4", "npu1", 4};
  Artifact artifact_;
  TemporaryFolder folder_;
};

TEST_F(LoaderTest, LoadsWhatWasStored) {
  const Artifact loaded =
      load_artifact(folder_.path(), {identity_, artifact_.manifest.source_sha256, true});
  EXPECT_EQ(loaded.manifest, artifact_.manifest);
  EXPECT_EQ(loaded.configuration, artifact_.configuration);
  EXPECT_EQ(loaded.instructions, artifact_.instructions);
}

TEST_F(LoaderTest, NameSaysWhatTheDesignIs) {
  EXPECT_EQ(design_name(identity_), "qkv-decode-m4-k2560-n4096-int4-npu1");
}

TEST_F(LoaderTest, RefusesTamperedFiles) {
  append("configuration.bin", "x");
  expect_refused({identity_, "", false}, ErrorCode::kInvalidFile, "configuration.bin");
  store_artifact(folder_.path(), artifact_);
  fs::resize_file(folder_ / "instructions.bin", 8);
  expect_refused({identity_, "", false}, ErrorCode::kInvalidFile, "instructions.bin");
}

TEST_F(LoaderTest, RefusesStaleArtefact) {
  expect_refused({identity_, sha256_hex(std::string_view("newer")), false}, ErrorCode::kInvalidFile,
                 "stale");
}

TEST_F(LoaderTest, RefusesAnotherDesign) {
  DesignIdentity other = identity_;
  other.tile = "16x384";
  expect_refused({other, "", false}, ErrorCode::kInvalidFile, "16x384");
}

TEST_F(LoaderTest, RefusesTextForHardware) {
  artifact_.manifest.kind = ConfigurationKind::kText;
  store_artifact(folder_.path(), artifact_);
  expect_refused({identity_, "", true}, ErrorCode::kUnsupported, "MLIR-AIE");
  EXPECT_NO_THROW(load_artifact(folder_.path(), {identity_, "", false}));
}

TEST_F(LoaderTest, MissingArtefactSaysHowToBuildIt) {
  fs::remove(folder_ / "manifest.json");
  expect_refused({identity_, "", false}, ErrorCode::kNotFound, "tandem npu build");
}

TEST_F(LoaderTest, RefusesEachManifestKeyMissingOrOfAnotherType) {
  const Json good = to_json(artifact_.manifest);
  EXPECT_EQ(parse_manifest(good, "m"), artifact_.manifest);
  for (const auto& [key, value] : good.items()) {
    Json bad = good;
    bad.erase(key);
    EXPECT_THROW(parse_manifest(bad, "m"), Error) << key << " missing";
    bad = good;
    bad[key] = nullptr;
    EXPECT_THROW(parse_manifest(bad, "m"), Error) << key << " null";
  }
  Json bad = good;
  bad["colour"] = "red";
  EXPECT_THROW(parse_manifest(bad, "m"), Error);
  bad = good;
  bad["name"] = "out-decode-m4-k2560-n4096-int4-npu1";
  EXPECT_THROW(parse_manifest(bad, "m"), Error);
}

}  // namespace
}  // namespace tandem::npu

// The compiler's driver against stand-ins for aiecc and the core compiler, which are shell scripts.
// SPDX-License-Identifier: Apache-2.0
#include "npu/compiler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/temporary_folder.h"

namespace tandem::npu {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Answers --version, else writes design.pdi and insts.bin and notes its arguments.
constexpr const char* kAiecc = R"(#!/bin/sh
if [ "$1" = --version ]; then echo "aiecc 1.2.3"; echo more; exit 0; fi
echo "$@" >> ../aiecc.calls
printf 'PDI of '  > design.pdi
cat kernel.o design.mlir >> design.pdi
printf '\001\000\000\000\002\000\000\000' > insts.bin
)";
constexpr const char* kCoreCompiler = R"(#!/bin/sh
echo "$@" >> ../clang.calls
for last; do :; done
printf 'object ' > "$last"
)";

class CompilerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    write_script("aiecc", kAiecc);
    write_script("clang++", kCoreCompiler);
    write("kernel.cc", "int kernel;\n");
    options_.aiecc = folder_ / "bin/aiecc";
    options_.core_compiler = folder_ / "bin/clang++";
    options_.include_folders = {"/opt/aie_api"};
    options_.cache = folder_ / "cache";
    design_.identity = {"qkv", "decode", 4, 640, 1024, "32x320", "int4", "npu1", 4};
    design_.text = "module {}\n";
    design_.kernels = {{"kernel.o", folder_ / "kernel.cc", {"TILE_K=320"}}};
  }

  void write(const fs::path& path, const std::string& text) {
    fs::create_directories((folder_ / path).parent_path());
    std::ofstream(folder_ / path) << text;
  }
  void write_script(const std::string& name, const std::string& text) {
    write(fs::path("bin") / name, text);
    fs::permissions(folder_ / "bin" / name, fs::perms::owner_all);
  }
  std::string read(const fs::path& path) {
    std::ostringstream text;
    text << std::ifstream(folder_ / path).rdbuf();
    return text.str();
  }
  std::string failure(ErrorCode code) {
    try {
      Compiler(options_).compile(design_);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "compiled";
    return {};
  }

  TemporaryFolder folder_;
  CompilerOptions options_;
  DesignSource design_;
};

TEST_F(CompilerTest, BuildsKernelsThenTheDesign) {
  const CompileResult result = Compiler(options_).compile(design_);
  EXPECT_FALSE(result.from_cache);
  const std::string pdi(reinterpret_cast<const char*>(result.artifact.configuration.data()),
                        result.artifact.configuration.size());
  EXPECT_EQ(pdi, "PDI of object module {}\n");
  EXPECT_THAT(result.artifact.instructions, ElementsAre(1u, 2u));
  EXPECT_EQ(result.artifact.manifest.toolchain, "aiecc 1.2.3");
  EXPECT_EQ(result.artifact.manifest.kind, ConfigurationKind::kPdi);
  EXPECT_EQ(result.artifact.manifest.identity, design_.identity);
  EXPECT_THAT(read("cache/clang.calls"),
              HasSubstr("--target=aie2-none-unknown-elf -I " +
                        folder_.path().parent_path().parent_path().string() +
                        " -I /opt/aie_api -DTILE_K=320 -c"));
  EXPECT_THAT(read("cache/aiecc.calls"), HasSubstr("--aie-generate-pdi --pdi-name=design.pdi"));
  EXPECT_THAT(read("cache/aiecc.calls"),
              HasSubstr("--peano=" + folder_.path().string() + " design.mlir"));
}

TEST_F(CompilerTest, FindsTheAieApiBesideTheTools) {
  write("include/aie_api/aie.hpp", "");
  Compiler(options_).compile(design_);
  EXPECT_THAT(read("cache/clang.calls"), HasSubstr("-I " + (folder_ / "include").string()));
}

// What is unpacked must be what a core compiler finds through "npu/kernels/...".
TEST_F(CompilerTest, CarriesItsKernelsSources) {
  const fs::path kernels = unpack_kernel_sources(folder_ / "cache");
  EXPECT_EQ(kernels, unpack_kernel_sources(folder_ / "cache"));
  for (const char* name : {"gemm_aie2.cc", "w4a8_aie2.cc", "kernel_types.h", "w4a8_shape.h"}) {
    std::ostringstream unpacked, own;
    unpacked << std::ifstream(kernels / name).rdbuf();
    own << std::ifstream(fs::path("src/npu/kernels") / name).rdbuf();
    EXPECT_EQ(unpacked.str(), own.str()) << name;
    EXPECT_FALSE(own.str().empty()) << name;
  }
}

TEST_F(CompilerTest, TakesAnUnchangedDesignFromTheCache) {
  Compiler(options_).compile(design_);
  const std::string calls = read("cache/aiecc.calls");
  const CompileResult again = Compiler(options_).compile(design_);
  EXPECT_TRUE(again.from_cache);
  EXPECT_EQ(read("cache/aiecc.calls"), calls);
  EXPECT_THAT(again.artifact.instructions, ElementsAre(1u, 2u));
}

TEST_F(CompilerTest, BuildsAgainWhenAnInputChanges) {
  const Compiler compiler(options_);
  std::vector<std::string> hashes = {compiler.source_hash(design_)};
  design_.text += "// changed\n";
  hashes.push_back(compiler.source_hash(design_));
  write("kernel.cc", "int other;\n");
  hashes.push_back(compiler.source_hash(design_));
  write("kernel.h", "int declared;\n");
  hashes.push_back(compiler.source_hash(design_));
  design_.kernels[0].defines = {"TILE_K=640"};
  hashes.push_back(compiler.source_hash(design_));
  design_.identity.tile = "32x640";
  hashes.push_back(compiler.source_hash(design_));
  write_script("aiecc", "#!/bin/sh\necho aiecc 1.2.4\n");
  hashes.push_back(compiler.source_hash(design_));
  for (size_t i = 1; i < hashes.size(); ++i) EXPECT_NE(hashes[i], hashes[i - 1]) << i;
}

TEST_F(CompilerTest, TamperedCacheIsRefused) {
  const CompileResult result = Compiler(options_).compile(design_);
  std::ofstream(result.folder / "configuration.bin", std::ios::app) << "x";
  EXPECT_THAT(failure(ErrorCode::kInvalidFile), HasSubstr("does not match the hash"));
}

TEST_F(CompilerTest, WithoutToolsSaysWhatToInstall) {
  options_.aiecc = "no-such-aiecc";
  EXPECT_THAT(failure(ErrorCode::kUnsupported), HasSubstr("install the MLIR-AIE tools"));
  options_.aiecc = folder_ / "bin/aiecc";
  options_.core_compiler = "";
  EXPECT_THAT(failure(ErrorCode::kUnsupported), HasSubstr("install Peano"));
}

TEST_F(CompilerTest, FindsTheCoreCompilerOfTheToolsSetUp) {
  options_.core_compiler = "";
  ASSERT_EQ(setenv("PEANO_INSTALL_DIR", folder_.path().c_str(), 1), 0);
  Compiler(options_).compile(design_);
  unsetenv("PEANO_INSTALL_DIR");
  EXPECT_THAT(read("cache/clang.calls"), HasSubstr("-c"));
}

TEST_F(CompilerTest, FailingToolIsQuoted) {
  write_script("aiecc",
               "#!/bin/sh\n[ \"$1\" = --version ] && exit 0\n"
               "echo 'design.mlir:1: error: no route'\nexit 3\n");
  const std::string message = failure(ErrorCode::kInvalidFile);
  EXPECT_THAT(message, HasSubstr("exit code 3"));
  EXPECT_THAT(message, HasSubstr("no route"));
}

TEST_F(CompilerTest, ToolThatMakesNothingIsAnError) {
  write_script("aiecc", "#!/bin/sh\nexit 0\n");
  EXPECT_THAT(failure(ErrorCode::kNotFound), HasSubstr("design.pdi"));
}

TEST_F(CompilerTest, HangingToolIsKilled) {
  write_script("aiecc", "#!/bin/sh\n[ \"$1\" = --version ] && exit 0\nexec sleep 600\n");
  options_.time_limit = std::chrono::milliseconds(100);
  EXPECT_THAT(failure(ErrorCode::kTimeout), HasSubstr("did not end"));
}

}  // namespace
}  // namespace tandem::npu

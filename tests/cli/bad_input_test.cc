// What bad input gets: one sentence on stderr that says what to do, the exit code of its kind, and
// nothing half-written.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "cli/process.h"
#include "gguf/gguf_writer.h"
#include "support/tiny_model.h"

namespace tandem {
namespace {

const std::string kModel = "models/story-14m-q4_0.gguf";
constexpr int kUsage = 2, kNotFound = 3, kInvalidFile = 4, kUnsupported = 5, kOutOfMemory = 6,
              kInternal = 70;

// One line "tandem: ...", mentioning every part of `mentions`.
void expect_complaint(const Outcome& outcome, int code, const std::vector<std::string>& mentions) {
  EXPECT_EQ(outcome.code, code) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err.rfind("tandem: ", 0), 0u) << outcome.err;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  for (const std::string& text : mentions)
    EXPECT_NE(outcome.err.find(text), std::string::npos) << text << " in: " << outcome.err;
}

Outcome run_prompt(const std::vector<std::string>& more, const ProcessOptions& options = {}) {
  std::vector<std::string> arguments = {"run", "-m", kModel};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_tandem(arguments, options);
}

struct Arguments {
  std::vector<std::string> arguments;
  std::vector<std::string> mentions;
};

TEST(BadInput, ArgumentsAreRefusedWithTheWayToHelp) {
  const Arguments cases[] = {
      {{}, {"no command", "tandem --help"}},
      {{"sing"}, {"'sing'", "tandem --help"}},
      {{"run"}, {"--model", "tandem run --help"}},
      {{"run", "-m", kModel, "-p", "a", "--colour"}, {"--colour", "tandem run --help"}},
      {{"run", "-m", kModel, "-p", "a", "-n", "many"}, {"'many'", "--help"}},
      {{"run", "-m", kModel, "-p", "a", "-n", "3x"}, {"'3x'"}},
      {{"run", "-m", kModel, "-p", "a", "-t", "-1"}, {"-1"}},
      {{"run", "-m", kModel, "-p", "a", "--temp", "hot"}, {"'hot'"}},
      {{"run", "-m", kModel, "-p", "a", "--temp", "nan"}, {"'nan'"}},
      {{"run", "-m", kModel, "-p", "a", "--top-p", "2"}, {"top-p is 2"}},
      {{"run", "-m", kModel, "-p", "a", "-ctk", "q3"}, {"'q3'", "f32, f16, q8_0"}},
      {{"run", "-m", kModel, "-p", "a", "-ctk", "f32", "-ctv", "f16"}, {"differ"}},
      {{"run", "-m", kModel, "-p", "a", "-ctv", "q8_0"}, {"-ctk f16 and -ctv q8_0 differ"}},
      {{"run", "-m", kModel, "-p", "a", "--trace", "/tmp/x", "--plot", "/tmp/x"},
       {"both name /tmp/x"}},
      {{"run", "-m", kModel, "-p", "a", "--stop", ""}, {"stop string is empty"}},
      {{"run", "-m", kModel, "-p", "a", "--device", "abacus"}, {"'abacus'", "tandem devices"}},
      {{"run", "-m", kModel, "-p", "a", "--device", "cpu", "--plan", "auto"}, {"excludes"}},
      {{"run", "-m", kModel, "-p", "a", "--plan", ""}, {"name is empty"}},
      {{"bench", "-m", kModel, "--blocks", "--plan", "auto"}, {"--blocks", "excludes", "--plan"}},
      {{"run", "-m", kModel, "-p", "a", "--stand-ins"}, {"--plan"}},
      {{"run", "-m", kModel, "-p", "a", "--plan", "plans/execution_plan_4b.json"},
       {"execution_plan_4b.json: /model", "gemma3-4b", "12 layers", "tandem plan"}},
      {{"run", "-m", kModel, "--ids", "2,x"}, {"'2,x'"}},
      {{"run", "-m", kModel, "--ids", "2,99999999"}, {"99999999", "8192"}},
      {{"run", "-m", kModel, "--ids", "2", "--chat"}, {"--chat"}},
      {{"run", "-m", kModel}, {"no prompt", "-p TEXT"}},
      {{"run", "-m", kModel, "-p", ""}, {"empty", "give some text"}},
      {{"run", "-m", kModel, "-p", "caf\xE9"}, {"not UTF-8 at byte 3", "iconv"}},
      {{"tokenize", "-m", kModel, "-p", "\xFF"}, {"not UTF-8"}},
      {{"logits", "-m", kModel, "-p", "", "--out", "/tmp/x"}, {"empty"}},
      {{"bench", "-m", kModel, "-o", "xml"}, {"'xml'", "jsonl"}},
      {{"bench", "-m", kModel, "-p", "0", "-n", "0"}, {"nothing to measure"}},
      {{"synth", "2b", "q4_0", "/tmp/x"}, {"'2b'", "270m"}},
      {{"quantize", kModel, "/tmp/x", "q3"}, {"'q3'", "q4_k"}},
  };
  for (const Arguments& c : cases) expect_complaint(run_tandem(c.arguments), kUsage, c.mentions);
}

TEST(BadInput, StandardInputThatIsEmptyOrNotUtf8) {
  expect_complaint(run_prompt({"-f", "-"}), kUsage, {"standard input is empty"});
  ProcessOptions options;
  options.input = "a\xC3";
  expect_complaint(run_prompt({"-f", "-"}, options), kUsage, {"standard input", "byte 1"});
}

TEST(BadInput, AnEmptyFileToMeasureIsRefusedBeforeTheModelLoads) {
  const TemporaryFolder folder;
  folder.write("text", "one two");
  expect_complaint(run_tandem({"perplexity", "-m", kModel, "-f", folder / "text"}), kUsage,
                   {"fewer than one window", "--window"});
}

TEST(BadInput, MissingFilesAndFolders) {
  expect_complaint(run_tandem({"run", "-m", "/none.gguf", "-p", "a"}), kNotFound, {"/none.gguf"});
  expect_complaint(run_tandem({"run", "-m", "/tmp", "-p", "a"}), kNotFound, {"/tmp", "folder"});
  expect_complaint(run_prompt({"-f", "/none.txt"}), kNotFound, {"/none.txt"});
  expect_complaint(run_tandem({"logits", "-m", kModel, "--ids", "2", "--out", "/none/rows"}),
                   kNotFound, {"/none"});
}

TEST(BadInput, FilesThatAreNoModel) {
  const TemporaryFolder folder;
  folder.write("empty.gguf", "");
  folder.write("text.gguf", "This is no model at all, but it is long enough for a header.");
  const std::string bytes = read_file(kModel);
  folder.write("cut.gguf", bytes.substr(0, bytes.size() / 2));
  for (const char* name : {"empty.gguf", "text.gguf", "cut.gguf"})
    expect_complaint(run_tandem({"run", "-m", folder / name, "-p", "a"}), kInvalidFile, {name});
}

TEST(BadInput, AnotherArchitectureAndATypeWeDoNotRead) {
  const TemporaryFolder folder;
  GgufWriter writer(folder / "llama.gguf");
  writer.add_string("general.architecture", "llama");
  writer.start();
  writer.finish();
  expect_complaint(run_tandem({"run", "-m", folder / "llama.gguf", "-p", "a"}), kUnsupported,
                   {"'llama'", "gemma3"});

  // The first tensor's type: after its name, the count of dimensions and two dimensions.
  const TinyModel model;
  std::string bytes = read_file(model.path());
  const std::string name = "token_embd.weight";
  const size_t type = bytes.find(name) + name.size() + 4 + 2 * 8;
  const uint32_t iq2_xxs = 16;
  std::memcpy(bytes.data() + type, &iq2_xxs, sizeof(iq2_xxs));
  folder.write("iq2.gguf", bytes);
  expect_complaint(run_tandem({"run", "-m", folder / "iq2.gguf", "-p", "a"}), kUnsupported,
                   {name, "iq2_xxs"});
}

TEST(BadInput, ContextsThatDoNotFit) {
  expect_complaint(run_prompt({"-p", "a", "-c", "1000000000"}), kOutOfMemory,
                   {"1000000000", "MiB", "-c"});
  expect_complaint(run_prompt({"-p", "once upon a time there was", "-c", "4"}), kUsage,
                   {"context", "-c"});
  expect_complaint(run_tandem({"bench", "-m", kModel, "-c", "8", "-p", "64"}), kUsage,
                   {"pp64", "-c"});
}

TEST(BadInput, UnknownVariablesOfTheEnvironment) {
  ProcessOptions options;
  options.environment["TANDEM_SPEED"] = "1";
  expect_complaint(run_tandem({"devices"}, options), kUsage, {"TANDEM_SPEED", "tandem env"});
  // The command that the sentence names works all the same.
  EXPECT_EQ(run_tandem({"env"}, options).code, 0);
  options.environment = {{"TANDEM_CPU_ISA", "mmx"}};
  expect_complaint(run_tandem({"devices"}, options), kUsage, {"mmx", "avx2"});
}

TEST(BadInput, TheExitCodeTellsWhereStderrTakesNothing) {
  ProcessOptions options;
  options.err_path = "/dev/full";
  EXPECT_EQ(run_tandem({"inspect", "-m", "/no/such/file"}, options).code, kNotFound);
}

TEST(BadInput, AFullDiskLeavesNothingBehind) {
  ProcessOptions options;
  options.out_path = "/dev/full";
  expect_complaint(run_tandem({"devices"}, options), kInternal, {"standard output"});

  const TemporaryFolder folder;
  options = {};
  options.file_limit = 100000;
  expect_complaint(
      run_tandem({"logits", "-m", kModel, "--ids", "2,3,4,5", "--out", folder / "rows"}, options),
      kInternal, {"rows"});
  expect_complaint(run_tandem({"quantize", kModel, folder / "q8.gguf", "q8_0"}, options), kInternal,
                   {"q8.gguf"});
  EXPECT_EQ(folder.count(), 0u);
}

TEST(BadInput, AFailedRunKeepsTheFileThatWasThere) {
  const TemporaryFolder folder;
  folder.write("rows", "precious");
  EXPECT_EQ(
      run_tandem({"logits", "-m", kModel, "--ids", "2,99999999", "--out", folder / "rows"}).code,
      kUsage);
  EXPECT_EQ(read_file(folder / "rows"), "precious");
  EXPECT_EQ(folder.count(), 1u);
}

TEST(Signals, CtrlCEndsTheProgramAsAShellExpects) {
  ProcessOptions options;
  options.interrupt_after_ms = 20;
  const Outcome outcome =
      run_prompt({"-p", "Once upon a time", "-n", "100000", "--ignore-eos"}, options);
  EXPECT_EQ(outcome.signal, SIGINT) << outcome.code << outcome.err;
  EXPECT_EQ(outcome.err, "");
}

TEST(Signals, AClosedPipeEndsItQuietly) {
  ProcessOptions options;
  options.close_output = true;
  const Outcome outcome = run_prompt({"-p", "Once upon a time", "-n", "50"}, options);
  EXPECT_EQ(outcome.signal, SIGPIPE);
  EXPECT_EQ(outcome.err, "");
}

}  // namespace
}  // namespace tandem

// What the commands print: formats that programs read, sizes, and the same text again.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "base/json_value.h"
#include "cli/process.h"
#include "gguf/gguf.h"
#include "support/tiny_model.h"

namespace tandem {
namespace {

const std::string kModel = "models/story-14m-q4_0.gguf";

std::string expect_output(const std::vector<std::string>& arguments,
                          const ProcessOptions& options = {}) {
  const Outcome outcome = run_tandem(arguments, options);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  return outcome.out;
}

Json expect_json(const std::vector<std::string>& arguments) {
  return parse_json(expect_output(arguments), arguments.front());
}

std::vector<std::string> with(std::vector<std::string> arguments,
                              const std::vector<std::string>& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

const std::vector<std::string> kRun = {"run", "-m", kModel, "-n", "24", "-s", "7"};

TEST(Help, EveryCommandHasItAndTheProgramListsThem) {
  const std::string overview = expect_output({"--help"});
  EXPECT_EQ(expect_output({"help"}), overview);
  for (const char* command : {"run", "chat", "bench", "inspect", "tokenize", "logits", "perplexity",
                              "quantize", "synth", "devices", "env"}) {
    EXPECT_NE(overview.find(std::string("\n  ") + command), std::string::npos) << command;
    const std::string help = expect_output({command, "--help"});
    EXPECT_NE(help.find(std::string("Usage: tandem ") + command), std::string::npos) << help;
    EXPECT_EQ(expect_output({"help", command}), help);
  }
  const std::string run = expect_output({"run", "--help"});
  for (const char* option : {"-ub, --ubatch-size N", "-ctk, --cache-type-k TYPE", "-ctv, ",
                             "-sys, --system-prompt TEXT"})
    EXPECT_NE(run.find(option), std::string::npos) << option;
}

TEST(Run, TheSameSeedGivesTheSameTextWhateverTheThreads) {
  const std::string one = expect_output(with(kRun, {"-p", "Once upon", "-t", "1"}));
  EXPECT_EQ(expect_output(with(kRun, {"-p", "Once upon", "-t", "2"})), one);
  EXPECT_NE(expect_output({"run", "-m", kModel, "-n", "24", "-s", "8", "-p", "Once upon"}), one);
}

TEST(Run, TextFileStandardInputAndIdsAreTheSamePrompt) {
  const std::string text = expect_output(with(kRun, {"-p", "Once upon a time"}));
  ProcessOptions options;
  options.input = "Once upon a time";
  EXPECT_EQ(expect_output(with(kRun, {"-f", "-"}), options), text);
  const TemporaryFolder folder;
  folder.write("prompt", options.input);
  EXPECT_EQ(expect_output(with(kRun, {"-f", folder / "prompt"})), text);
  std::string ids;
  for (const Json& id : expect_json({"tokenize", "-m", kModel, "--bos", "-p", options.input}))
    ids += (ids.empty() ? "" : ",") + std::to_string(id.get<int>());
  EXPECT_EQ(expect_output(with(kRun, {"--ids", ids})), text);
}

TEST(Run, StopsBeforeTheStopString) {
  const std::vector<std::string> greedy = {
      "run", "-m", kModel, "--temp", "0", "-p", "Once upon a time", "-n", "40"};
  const std::string whole = expect_output(greedy);
  const size_t end = whole.find("named");
  ASSERT_NE(end, std::string::npos) << whole;
  EXPECT_EQ(expect_output(with(greedy, {"--stop", "named"})), whole.substr(0, end) + "\n");
}

TEST(Run, ReportsAsJson) {
  const Json record = expect_json(with(kRun, {"-p", "Once upon", "--json"}));
  EXPECT_EQ(record["ids"].size(), 24u);
  EXPECT_EQ(record["seed"], 7);
  EXPECT_EQ(record["finish_reason"], "length");
  EXPECT_EQ(record["text"].get<std::string>() + "\n",
            expect_output(with(kRun, {"-p", "Once upon"})));
}

TEST(Run, ControlTokensAreTextUnlessAskedFor) {
  const auto prompt_tokens = [](const std::vector<std::string>& more) {
    return expect_json(
               with(with(kRun, {"-p", "<end_of_turn>", "--json"}), more))["timings"]["prompt_n"]
        .get<int>();
  };
  EXPECT_EQ(prompt_tokens({"--parse-special"}), 2);
  EXPECT_GT(prompt_tokens({}), 2);
  EXPECT_GT(prompt_tokens({"--chat"}), prompt_tokens({}));
}

TEST(Tokenize, ReadsLinesOfJson) {
  ProcessOptions options;
  options.input = "{\"text\": \"Once\"}\n\n{\"text\": \"\"}\n";
  std::istringstream lines(expect_output({"tokenize", "-m", kModel, "--file", "-"}, options));
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_EQ(parse_json(line, "first"), expect_json({"tokenize", "-m", kModel, "-p", "Once"}));
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_EQ(line, "[]");
  EXPECT_FALSE(std::getline(lines, line));
}

TEST(Logits, WritesARowForEachPosition) {
  const TemporaryFolder folder;
  const Json report =
      expect_json({"logits", "-m", kModel, "--ids", "2,3,4", "--out", folder / "rows", "--json"});
  EXPECT_EQ(report["positions"], 3);
  EXPECT_EQ(std::filesystem::file_size(folder / "rows"), 3u * 8192 * sizeof(float));
  EXPECT_EQ(folder.count(), 1u);
}

TEST(Perplexity, ReportsAsJson) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 40; ++i) text += "Once upon a time there was a fox. ";
  folder.write("text", text);
  const Json report =
      expect_json({"perplexity", "-m", kModel, "-f", folder / "text", "--window", "64", "--json"});
  EXPECT_EQ(report["tokens"].get<int>() % 64, 0);
  EXPECT_GT(report["perplexity"], 1.0);
  EXPECT_LT(report["perplexity"], 8192.0);
}

TEST(Bench, HasTheFieldsOfLlamaBenchInEveryFormat) {
  const std::vector<std::string> bench = {"bench", "-m", kModel, "-p", "8", "-n",
                                          "4",     "-d", "0,4",  "-r", "2", "-o"};
  const Json records = expect_json(with(bench, {"json"}));
  ASSERT_EQ(records.size(), 4u);
  const char* fields[] = {
      "build_commit", "build_number", "cpu_info",       "gpu_info",   "backends",  "model_filename",
      "model_type",   "model_size",   "model_n_params", "n_batch",    "n_ubatch",  "n_threads",
      "cpu_mask",     "cpu_strict",   "poll",           "type_k",     "type_v",    "n_gpu_layers",
      "split_mode",   "main_gpu",     "no_kv_offload",  "flash_attn", "devices",   "tensor_split",
      "embeddings",   "n_prompt",     "n_gen",          "n_depth",    "test_time", "avg_ns",
      "stddev_ns",    "avg_ts",       "stddev_ts",      "samples_ns", "samples_ts"};
  for (const char* field : fields) EXPECT_TRUE(records[0].contains(field)) << field;
  EXPECT_EQ(records[0]["model_type"], "gemma3 ?B Q4_0");
  EXPECT_EQ(records[1]["samples_ns"].size(), 2u);
  EXPECT_EQ(records[1]["ids"].size(), 4u);
  ASSERT_EQ(records[0]["device_use"].size(), 1u);
  EXPECT_EQ(records[0]["device_use"][0]["device"], "cpu");
  EXPECT_EQ(records[0]["device_use"][0]["tokens"], 2 * 8);  // two repetitions

  std::istringstream lines(expect_output(with(bench, {"jsonl"})));
  std::string line;
  size_t count = 0;
  for (; std::getline(lines, line); ++count)
    EXPECT_EQ(parse_json(line, "jsonl").size(), records[0].size());
  EXPECT_EQ(count, 4u);

  const std::string csv = expect_output(with(bench, {"csv"}));
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 5);
  EXPECT_EQ(csv.rfind("build_commit,build_number,", 0), 0u);

  const std::string table = expect_output(with(bench, {"md"}));
  for (const char* test : {" pp8 |", " tg4 |", " pp8 @ d4 |", " tg4 @ d4 |", "| model "})
    EXPECT_NE(table.find(test), std::string::npos) << test << " in " << table;
}

TEST(Bench, TakesSeveralSequencesAndWritesTraces) {
  const TemporaryFolder folder;
  const std::string table =
      expect_output({"bench", "-m", kModel, "-p", "0", "-n", "4", "-r", "1", "--parallel", "3",
                     "--trace", folder / "trace.json", "--plot", folder / "plot.svg"});
  for (const char* text :
       {" tg4 x 3 |", "| cpu | decode |", "overall tok/s", "memory of cpu", "memory of the host"})
    EXPECT_NE(table.find(text), std::string::npos) << text << " in " << table;
  const Json trace = parse_json(read_file(folder / "trace.json"), "trace.json");
  EXPECT_GE(trace["traceEvents"].size(), 2u);
  EXPECT_EQ(read_file(folder / "plot.svg").rfind("<svg ", 0), 0u);
  const Outcome refused =
      run_tandem({"bench", "-m", kModel, "-p", "4", "-n", "0", "--trace", "/no/such/folder/x"});
  EXPECT_EQ(refused.code, 3);
  EXPECT_EQ(refused.out, "");
  EXPECT_NE(refused.err.find("cannot create /no/such/folder/x"), std::string::npos) << refused.err;
}

TEST(Quantize, AndInspectAgreeOnTheNewType) {
  const TinyModel model(DType::kF32);
  const TemporaryFolder folder;
  const std::string out = folder / "q8.gguf";
  const Json report = expect_json({"quantize", model.path(), out, "q8_0", "--json"});
  EXPECT_LT(report["size_after"], report["size_before"]);
  const Json inspected = expect_json({"inspect", "-m", out, "--json"});
  EXPECT_EQ(inspected["metadata"]["general.file_type"], 7);
  EXPECT_EQ(expect_output({"run", "-m", out, "--ids", "2,5", "-n", "2", "--temp", "0"}).back(),
            '\n');
}

TEST(Devices, ListsTheCpu) {
  const Json devices = expect_json({"devices", "--json"});
  ASSERT_GE(devices.size(), 1u);
  EXPECT_EQ(devices[0]["name"], "cpu");
  EXPECT_EQ(devices[0]["usable"], true);
}

TEST(Env, IsWhatTheDebuggingPageShows) {
  const std::string page = read_file("docs/debugging.md");
  std::istringstream lines(expect_output({"env"}));
  for (std::string line; std::getline(lines, line);) {
    line.resize(std::min(line.size(), line.find(", now ")));
    EXPECT_NE(page.find(line + "\n"), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace tandem

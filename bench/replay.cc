// Predicts the runs of recorded files (bench/record.sh) by their costs, with overheads fitted to
// two of the runs, and prints predicted beside measured speeds:
//   replay FILE..
// SPDX-License-Identifier: Apache-2.0
#include "hybrid/replay.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <exception>

#include "backend/phase_name.h"

namespace tandem {
namespace {

double percent(double predicted, double measured) { return 100 * (predicted / measured - 1); }

void print_replay(const std::string& path) {
  const Record record = read_record(path);
  const Replay replay(record);
  const Overheads& o = replay.overheads();
  fmt::print(
      "{}: {} on {}\nmeasured by {} {}, prompts of {} tokens, {} generated\n"
      "fitted: wakes x {:.2f}, hand-overs x {:.2f}\n\n"
      "| plan | in flight | sequences | prompt, measured | predicted | off | generation, measured "
      "| "
      "predicted | off | |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---|\n",
      path, record.costs.model.name, record.machine, record.version, record.command, record.prompt,
      record.generation, o.wake, o.hand_over);
  for (const RecordedRun& run : record.runs) {
    const double prompt = replay.speed(run, Phase::kPrefill);
    const double generation = replay.speed(run, Phase::kDecode);
    fmt::print(
        "| {} | {} | {} | {:.1f} | {:.1f} | {:+.0f} % | {:.1f} | {:.1f} | {:+.0f} % | {} |\n",
        run.name, run.plan.pipeline_depth, run.sequences, run.prompt_speed, prompt,
        percent(prompt, run.prompt_speed), run.generation_speed, generation,
        percent(generation, run.generation_speed), run.fitted ? "fitted" : "");
  }
  for (Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    const ReplayErrors errors = replay.judged(phase);
    fmt::print(
        "{}{}: {:.0f} % off in the mean, {:.0f} % at most, over {} runs that were not fitted\n",
        phase == Phase::kPrefill ? "\n" : "", phase_name(phase), 100 * errors.mean,
        100 * errors.worst, errors.count);
  }
  fmt::print("\n");
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) {
  try {
    for (int i = 1; i < argc; ++i) tandem::print_replay(argv[i]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "replay: {}\n", error.what());
    return 1;
  }
}

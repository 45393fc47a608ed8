// SPDX-License-Identifier: Apache-2.0
#include "cli/block_bench.h"

#include <algorithm>
#include <vector>

#include "cli/output.h"
#include "cli/progress.h"

namespace tandem {
namespace {

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> names;
  for (size_t first = 0; first <= list.size();) {
    const size_t end = std::min(list.find(',', first), list.size());
    names.push_back(list.substr(first, end - first));
    first = end + 1;
  }
  return names;
}

}  // namespace

CostTable measure_blocks(const BlockBench& bench, const ModelConfig& config,
                         const ModelWeights& weights) {
  const std::vector<std::string> names =
      bench.devices.empty() ? plannable_devices() : split(bench.devices);
  ProgressBar bar("measuring");
  BlockBenchOptions options;
  options.threads = bench.threads;
  options.kv = bench.kv;
  options.progress = bar.callback();
  return measure_this_machine(config, weights, names, bench.request, options);
}

void run_block_bench(const BlockBench& bench, const std::string& model, const std::string& out) {
  const GgufFile file = GgufFile::open(model);
  const ModelConfig config = read_config(file);
  const ModelWeights weights(file, config);
  const std::string text = format_cost_table(measure_blocks(bench, config, weights));
  if (out.empty())
    print(text);
  else
    write_file(out, text);
}

}  // namespace tandem

// Designs run on the emulated array: integer results equal the scalar W4A8 definition to the bit,
// and hardly any single edit of a text goes unnoticed.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cctype>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/error.h"
#include "npu/aie_text/design.h"
#include "npu/designs/designs.h"
#include "npu/emulator/emulator.h"
#include "npu/kernels/builtin_kernels.h"
#include "tensor/half.h"
#include "tensor/quant_q4_0.h"

namespace tandem::npu {
namespace {

const KernelTable& kernels() {
  static const KernelTable table = [] {
    KernelTable built;
    add_builtin_kernels(built);
    return built;
  }();
  return table;
}

std::vector<std::vector<std::byte>> run(const std::string& text,
                                        std::vector<std::vector<std::byte>> buffers) {
  const Design design = parse_design(text);
  EmulatorOptions options;
  options.timing =
      default_timing(design.devices[static_cast<size_t>(design.main_device)].generation);
  options.kernels = &kernels();
  options.cycle_limit = 20'000'000;
  options.wall_seconds_limit = 20;
  std::vector<HostBuffer> host;
  for (std::vector<std::byte>& buffer : buffers) host.push_back({buffer, buffer.size()});
  emulate(design, options, host);
  return buffers;
}

// ---- projections

struct ProjectionCase {
  DesignRequest request;
  ProjectionLayout layout;
  std::vector<BlockQ4_0> blocks;  // [N][K / 32]
  std::vector<float> x;           // [M][K]
  std::vector<float> weight_scales, row_scales;
  std::vector<std::vector<std::byte>> buffers;
};

ProjectionCase make_case(const DesignRequest& request, uint32_t seed) {
  ProjectionCase c{request, projection_layout(request), {}, {}, {}, {}, {}};
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  c.blocks.resize(size_t{request.outputs} * request.inputs / kGroupSize);
  for (BlockQ4_0& block : c.blocks) {
    block.scale = f32_to_f16(0.02f * normal(random));
    for (uint8_t& pair : block.nibbles) pair = static_cast<uint8_t>(random());
  }
  c.x.resize(size_t{request.rows} * request.inputs);
  for (float& value : c.x) value = normal(random);
  c.weight_scales.resize(request.outputs);
  c.row_scales.resize(request.rows);
  c.buffers = {std::vector<std::byte>(c.layout.weights.weights_size()),
               std::vector<std::byte>(c.layout.activations_size()),
               std::vector<std::byte>(c.layout.results_size())};
  const TensorView tensor = view_of_bytes(reinterpret_cast<const std::byte*>(c.blocks.data()),
                                          DType::kQ4_0, {1, request.outputs, request.inputs});
  pack_weights(c.layout.weights, {&tensor, 1}, c.buffers[0], c.weight_scales);
  pack_activations(c.layout, reinterpret_cast<const std::byte*>(c.x.data()), request.inputs * 4,
                   request.rows, c.buffers[1], c.row_scales);
  return c;
}

// The definition, from the values alone: int8 activations with scales t * X per group, int4 weights
// with scales s * D, an integer sum.
struct ScalarW4A8 {
  std::vector<int64_t> scaled_weights;  // [N][K]: (q - 8) * s
  std::vector<int64_t> scaled_rows;     // [M][K]: q * t

  explicit ScalarW4A8(const ProjectionCase& c) {
    const uint32_t groups = c.request.inputs / kGroupSize;
    for (uint32_t n = 0; n < c.request.outputs; ++n)
      add_weights(&c.blocks[size_t{n} * groups], groups);
    for (uint32_t m = 0; m < c.request.rows; ++m)
      add_row(&c.x[size_t{m} * c.request.inputs], groups);
  }

  void add_weights(const BlockQ4_0* blocks, uint32_t groups) {
    float largest = 0;
    for (uint32_t g = 0; g < groups; ++g)
      largest = std::max(largest, std::abs(f16_to_f32(blocks[g].scale)));
    for (uint32_t g = 0; g < groups; ++g)
      for (uint32_t i = 0; i < kGroupSize; ++i) {
        const int level = i < 16 ? blocks[g].nibbles[i] & 0x0F : blocks[g].nibbles[i - 16] >> 4;
        scaled_weights.push_back((level - 8) *
                                 std::lround(f16_to_f32(blocks[g].scale) / (largest / 127)));
      }
  }

  void add_row(const float* x, uint32_t groups) {
    std::vector<float> steps(groups, 0);
    for (uint32_t k = 0; k < groups * kGroupSize; ++k)
      steps[k / kGroupSize] = std::max(steps[k / kGroupSize], std::abs(x[k]));
    for (float& step : steps) step /= 127;
    const float unit = *std::max_element(steps.begin(), steps.end()) / 127;
    for (uint32_t k = 0; k < groups * kGroupSize; ++k) {
      const float t = std::min(127.0f, std::ceil(steps[k / kGroupSize] / unit));
      scaled_rows.push_back(static_cast<int64_t>(t) * std::lrint(x[k] * (1 / (t * unit))));
    }
  }

  int64_t sum(uint32_t m, uint32_t n, uint32_t inputs) const {
    int64_t total = 0;
    for (uint32_t k = 0; k < inputs; ++k)
      total += scaled_weights[size_t{n} * inputs + k] * scaled_rows[size_t{m} * inputs + k];
    return total;
  }
};

DesignRequest projection(Generation generation, Phase phase, uint32_t rows, uint32_t inputs,
                         uint32_t outputs) {
  DesignRequest request;
  request.generation = generation;
  request.phase = phase;
  request.rows = rows;
  request.inputs = inputs;
  request.outputs = outputs;
  return request;
}

void expect_bit_equal(const DesignRequest& request) {
  SCOPED_TRACE(fmt::format("{} rows, K {}, N {}, {}", request.rows, request.inputs, request.outputs,
                           geometry_of(request.generation).name));
  const ProjectionCase c = make_case(request, 31);
  const auto buffers = run(emit_design(request).text, c.buffers);
  const ScalarW4A8 scalar(c);
  for (uint32_t m = 0; m < request.rows; ++m)
    for (uint32_t n = 0; n < request.outputs; ++n)
      ASSERT_EQ(result_integer(c.layout, buffers[2], m, n), scalar.sum(m, n, request.inputs))
          << "row " << m << " output " << n;
}

TEST(EmulatedDesigns, DecodeEqualsTheScalarDefinition) {
  for (const Generation generation : {Generation::kNpu1, Generation::kNpu2})
    for (const uint32_t rows : {1u, 3u, 4u}) {
      expect_bit_equal(projection(generation, Phase::kDecode, rows, 256, 512));
      expect_bit_equal(projection(generation, Phase::kDecode, rows, 96, 200));
    }
  expect_bit_equal(projection(Generation::kNpu1, Phase::kDecode, 2, 1152, 384));
}

TEST(EmulatedDesigns, PrefillEqualsTheScalarDefinition) {
  for (const Generation generation : {Generation::kNpu1, Generation::kNpu2}) {
    expect_bit_equal(projection(generation, Phase::kPrefill, 64, 256, 512));
    expect_bit_equal(projection(generation, Phase::kPrefill, 16, 96, 200));
  }
}

// The whole way: quantised activations, the array, scales put back; against the dot product of the
// file's weights with the unquantised activations.
TEST(EmulatedDesigns, OutputsAreCloseToTheUnquantisedProduct) {
  for (const ScaleMode scales : {ScaleMode::kInteger, ScaleMode::kExact}) {
    DesignRequest request = projection(Generation::kNpu1, Phase::kDecode, 4, 256, 256);
    request.scales = scales;
    const ProjectionCase c = make_case(request, 32);
    const auto buffers = run(emit_design(request).text, c.buffers);
    std::vector<float> y(size_t{4} * 256);
    unpack_results(c.layout, buffers[2], c.weight_scales, c.row_scales, 4,
                   reinterpret_cast<std::byte*>(y.data()), 256 * 4);
    double error = 0, magnitude = 0;
    for (uint32_t m = 0; m < 4; ++m)
      for (uint32_t n = 0; n < 256; ++n) {
        double want = 0;
        float weights[kGroupSize];
        for (uint32_t g = 0; g < 8; ++g) {
          decode(c.blocks[n * 8 + g], weights);
          for (uint32_t i = 0; i < kGroupSize; ++i)
            want += double{weights[i]} * double{c.x[m * 256 + g * kGroupSize + i]};
        }
        error += (y[m * 256 + n] - want) * (y[m * 256 + n] - want);
        magnitude += want * want;
      }
    // int8 activations: a step of max / 127 of some 3 sigma, uniform error, is 0.7 %.
    EXPECT_LT(std::sqrt(error / magnitude), 0.012) << (scales == ScaleMode::kExact);
    EXPECT_GT(error, 0);
  }
}

TEST(EmulatedDesigns, SecondRunOfTheSameArrayGivesTheSame) {
  const DesignRequest request = projection(Generation::kNpu1, Phase::kDecode, 1, 128, 160);
  ProjectionCase c = make_case(request, 33);
  const Design design = parse_design(emit_design(request).text);
  EmulatorOptions options;
  options.timing = default_timing(request.generation);
  options.kernels = &kernels();
  Emulator emulator(design, options);
  std::vector<std::vector<std::byte>> results;
  for (int i = 0; i < 3; ++i) {
    std::fill(c.buffers[2].begin(), c.buffers[2].end(), std::byte{0xAA});
    std::vector<HostBuffer> host;
    for (std::vector<std::byte>& buffer : c.buffers) host.push_back({buffer, buffer.size()});
    emulator.run(host);
    results.push_back(c.buffers[2]);
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

// ---- GEMM

DesignRequest gemm_request(uint32_t m, uint32_t k, uint32_t n, GemmTile tile, GemmType out) {
  DesignRequest request;
  request.op = DesignOp::kGemm;
  request.rows = m;
  request.inputs = k;
  request.outputs = n;
  request.tile = tile;
  request.out = out;
  return request;
}

template <typename Out>
void expect_gemm(const DesignRequest& request) {
  const EmittedDesign emitted = emit_design(request);
  std::vector<std::vector<std::byte>> buffers;
  for (const DesignBuffer& buffer : emitted.buffers) buffers.emplace_back(buffer.size);
  std::mt19937 random(41);
  std::uniform_int_distribution<int> number(-128, 127);
  for (size_t operand : {0u, 1u})
    for (std::byte& value : buffers[operand]) value = static_cast<std::byte>(number(random));
  buffers = run(emitted.text, std::move(buffers));
  const auto* a = reinterpret_cast<const int8_t*>(buffers[0].data());
  const auto* b = reinterpret_cast<const int8_t*>(buffers[1].data());
  const auto* c = reinterpret_cast<const Out*>(buffers[2].data());
  const uint32_t m_step = 4 * request.tile.m;
  const uint32_t rows = (request.rows + m_step - 1) / m_step * m_step;
  const size_t inputs = buffers[0].size() / rows, outputs = buffers[1].size() / inputs;
  for (size_t m = 0; m < rows; ++m)
    for (size_t n = 0; n < outputs; ++n) {
      // Saturated after every tile of K, as the core keeps C in its output type.
      int64_t want = 0;
      for (size_t first = 0; first < inputs; first += request.tile.k) {
        for (size_t k = first; k < first + request.tile.k; ++k)
          want += int64_t{a[m * inputs + k]} * b[n * inputs + k];
        want = std::clamp<int64_t>(want, std::numeric_limits<Out>::min(),
                                   std::numeric_limits<Out>::max());
      }
      ASSERT_EQ(c[m * outputs + n], want) << m << ", " << n;
    }
}

TEST(EmulatedDesigns, GemmEqualsTheScalarDefinition) {
  expect_gemm<int32_t>(gemm_request(70, 64, 70, {16, 16, 16}, GemmType::kInt32));
  expect_gemm<int16_t>(gemm_request(130, 48, 100, {16, 24, 16}, GemmType::kInt16));
  expect_gemm<int8_t>(gemm_request(64, 64, 64, {8, 8, 8}, GemmType::kInt8));
  DesignRequest npu2 = gemm_request(70, 64, 70, {16, 16, 16}, GemmType::kInt32);
  npu2.generation = Generation::kNpu2;
  expect_gemm<int32_t>(npu2);
}

// ---- time

// Decode waits for the weights; were the kernels four times as slow it would wait for the cores.
TEST(EmulatedDesigns, DecodeIsBoundByTheStreamsUntilKernelsCostFourTimes) {
  const Design design =
      parse_design(emit_design(projection(Generation::kNpu1, Phase::kDecode, 1, 2560, 4096)).text);
  std::vector<HostBuffer> buffers;
  for (const HostArgument& argument : design.arguments) buffers.push_back({{}, argument.size});
  const auto predicted = [&](double factor) {
    EmulatorOptions options;
    options.timing = default_timing(Generation::kNpu1);
    options.timing.kernel_cost_factor = factor;
    options.move_data = false;
    options.kernels = &kernels();
    return emulate(design, options, buffers);
  };
  const EmulationResult plain = predicted(1), slow = predicted(4);
  EXPECT_EQ(plain.operations, uint64_t{2} * 4 * 2560 * 4096);  // the multiply has four rows
  EXPECT_EQ(plain.bound, "shim stream");
  EXPECT_EQ(slow.bound, "core");
  EXPECT_GT(slow.cycles, plain.cycles);
}

// ---- edits

// What an edit may touch in the text after its comments.
struct Places {
  struct Range {
    size_t first, size;
  };
  std::vector<Range> numbers, names, lines;
};

Places places_of(const std::string& text) {
  const auto is_digit = [&](size_t i) { return std::isdigit(static_cast<unsigned char>(text[i])); };
  const auto in_name = [&](size_t i) {
    return std::isalnum(static_cast<unsigned char>(text[i])) || text[i] == '_';
  };
  Places places;
  size_t line = text.find("module");
  for (size_t i = line; i < text.size();) {
    const size_t first = i++;
    if (text[first] == '%' || text[first] == '@') {
      while (i < text.size() && in_name(i)) ++i;
      places.names.push_back({first, i - first});
    } else if (is_digit(first)) {
      while (i < text.size() && is_digit(i)) ++i;
      places.numbers.push_back({first, i - first});
    } else if (text[first] == '\n') {
      places.lines.push_back({line, i - line});
      line = i;
    }
  }
  return places;
}

// One edit: another number, another of the text's names of the same kind, or a line taken out or
// written twice.
std::string edited(const std::string& text, std::mt19937& random) {
  const Places places = places_of(text);
  const auto pick = [&](const std::vector<Places::Range>& ranges) {
    return ranges[random() % ranges.size()];
  };
  std::string changed = text;
  while (changed == text) {
    const uint32_t kind = random() % 4;
    const Places::Range at = pick(kind == 0   ? places.numbers
                                  : kind == 1 ? places.names
                                              : places.lines);
    const std::string old = text.substr(at.first, at.size);
    std::string replacement;
    if (kind == 0) {
      const uint64_t value = std::stoull(old);
      const uint64_t others[] = {value + 1, value / 2, value * 2 + 1, random() % 64};
      replacement = std::to_string(others[random() % 4]);
    } else if (kind == 1) {
      const Places::Range other = pick(places.names);
      replacement = text.substr(other.first, other.size);
      if (replacement[0] != old[0]) continue;
    } else if (kind == 2) {
      replacement = old + old;
    }
    changed.replace(at.first, at.size, replacement);
  }
  return changed;
}

TEST(EmulatedDesigns, HardlyAnyEditGoesUnnoticed) {
  std::vector<ProjectionCase> cases;
  cases.push_back(make_case(projection(Generation::kNpu1, Phase::kDecode, 2, 768, 1024), 51));
  cases.push_back(make_case(projection(Generation::kNpu1, Phase::kPrefill, 16, 256, 1024), 52));
  std::vector<std::string> texts;
  std::vector<std::vector<std::byte>> wanted;
  for (const ProjectionCase& c : cases) {
    texts.push_back(emit_design(c.request).text);
    wanted.push_back(run(texts.back(), c.buffers)[2]);
  }
  std::mt19937 random(53);
  int unnoticed = 0;
  constexpr int kEdits = 200;
  for (size_t i = 0; i < kEdits; ++i) {
    const size_t which = i % cases.size();
    try {
      const std::string text = edited(texts[which], random);
      if (run(text, cases[which].buffers)[2] == wanted[which]) ++unnoticed;
    } catch (const Error&) {
      // Rejected, deadlocked or out of time.
    }
  }
  EXPECT_LE(unnoticed, kEdits / 20);
}

}  // namespace
}  // namespace tandem::npu

// The derivations of the costs. Static bundle counts become cycles through a factor of 1.09 (stalls
// and bank conflicts), a two-point fit published for cores of XDNA2.
// SPDX-License-Identifier: Apache-2.0
#include "npu/kernels/kernel_costs.h"

#include <cmath>

namespace tandem::npu {
namespace {

constexpr double kStallFactor = 1.09;
constexpr double kCallBundles = 30;  // prologue, loop set-up, epilogue: register saves and pointers

uint64_t cycles(double bundles) {
  return static_cast<uint64_t>(std::llround((kCallBundles + bundles) * kStallFactor));
}

// Groups of a call times 4 x n tiles of the result.
double groups_of(W4A8Shape shape) {
  return static_cast<double>(shape.row_groups) * shape.column_tiles * shape.groups;
}
double tiles_of(W4A8Shape shape) {
  return static_cast<double>(shape.row_groups) * shape.column_tiles;
}

}  // namespace

// ignite-xdna counts 29 bundles for a group of a 4 x 8 tile with integer scales: 7 of them the two
// multiplies with their loads, 22 the scaling of two accumulators. An accumulator left out saves
// half of the 22; four of them (4 x 16 tiles) double it. Loading and storing the accumulators of a
// tile takes two 256-bit moves per 512 bits: 8 bundles each.
uint64_t w4a8_integer_cycles(W4A8Shape shape) {
  return cycles(groups_of(shape) * (7 + 11.0 * shape.accumulators) +
                tiles_of(shape) * 8 * shape.accumulators);
}

// The same source: 104 bundles with exact float32 scales, every product split in three of bf16.
uint64_t w4a8_exact_cycles(W4A8Shape shape) {
  return cycles(groups_of(shape) * (7 + 48.5 * shape.accumulators) +
                tiles_of(shape) * 4 * shape.accumulators);
}

// A 256-bit load and a 256-bit store in every bundle.
uint64_t copy_cycles(uint64_t bytes) { return cycles(static_cast<double>(bytes) / 32); }

// 16 sums of 8 bytes: four loads, two shift-round-saturate moves of 16 lanes each, four stores, of
// which load, move and store overlap.
uint64_t w4a8_flush_cycles(uint64_t bytes) { return cycles(static_cast<double>(bytes) / 128 * 8); }

// Figures of whole calls as measured, so without the stall factor.
uint64_t gemm_cycles(const GemmCallShape& shape) {
  const auto blocks = [](uint32_t size, uint32_t unit) { return (size / unit + 1) / 2; };
  const double pairs = static_cast<double>(blocks(shape.m, shape.r)) * blocks(shape.n, shape.t);
  const double depth = static_cast<double>(shape.k) / shape.s;
  return static_cast<uint64_t>(
      std::llround(pairs * (4 * shape.issue_cycles * depth + shape.block_overhead)));
}

}  // namespace tandem::npu

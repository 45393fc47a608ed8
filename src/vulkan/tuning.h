// Sizes of workgroups and grids by class of device: the only place that tells devices apart.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "vulkan/device_info.h"

namespace tandem::vulkan {

struct Tuning {
  const char* name;                // of the row, for reports
  uint32_t subgroup;               // demanded where the device lets us; 0: the device's own
  uint32_t matvec_workgroup;       // invocations
  uint32_t matvec_least;           // invocations where the matrix is small ..
  uint32_t matvec_loads;           // .. which is: the busiest invocation loads no more groups
  uint32_t matvec_per_unit;        // workgroups per compute unit
  uint32_t matvec_unroll;          // at most
  uint32_t matvec_pair_unroll;     // the same for gate and up, which load two groups at a time
  uint32_t matvec_splits;          // at most
  uint32_t few_workgroup;          // as matvec_workgroup, where several rows of x share weights
  uint32_t few_per_unit;           // the same for matvec_per_unit
  uint32_t few_registers;          // of an invocation, for weights, a group of x and sums
  uint32_t few_staged;             // bytes of x in shared memory, at most; larger ones stay outside
  uint32_t attention_workgroup;    // invocations
  uint32_t attention_heads;        // query heads of one KV head that a workgroup does, at most
  uint32_t attention_lanes;        // invocations that share a position, at most
  uint32_t attention_ahead;        // runs of 8 elements that invocations load at a time
  uint32_t attention_per_unit;     // workgroups per compute unit, over all heads and parts
  uint32_t attention_least_tiles;  // of a part of the KV length, whose parts are multiples of it
  uint32_t norm_workgroup;
  uint32_t rounds;          // tokens of a submission that are worth having
  bool chained;             // dispatches wait for each other instead of barriers
  uint32_t spin_us;         // a wait polls this long before it sleeps
  double bytes_per_second;  // careful estimates, to cut long submissions
  double operations_per_second;
  uint32_t units = 0;  // compute units to fill: the device's, not the row's
};

// The row for a device, with its compute units filled in.
Tuning tuning_for(const VulkanDeviceInfo& info);

// Changes fields of `tuning` as text like "matvec_workgroup=512,chained=0" says, for measurements.
// Throws kUsage for a field that does not exist.
void override_tuning(Tuning& tuning, std::string_view text);

// How many compute units to fill where the driver does not tell.
uint32_t compute_units(const VulkanDeviceInfo& info);

// How one mat-vec is laid out over invocations (see matvec.comp).
struct MatvecShape {
  uint32_t workgroup = 1;  // invocations
  uint32_t lanes = 1, unroll = 1, splits = 1;
  uint32_t columns = 1;  // outputs an invocation works on at a time
};
// What a mat-vec multiplies: `outputs` rows of `groups` * 32 weights, or pairs of rows, with
// `together` rows of x.
struct MatvecSize {
  uint32_t outputs = 0, groups = 0;
  bool pairs = false;
  uint32_t together = 1;
  uint32_t group_words = 0;  // registers that 32 weights take
};
MatvecShape choose_shape(const Tuning& tuning, uint32_t subgroup, const MatvecSize& size,
                         uint32_t workgroups);

}  // namespace tandem::vulkan

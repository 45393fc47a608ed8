// Sizes of workgroups and grids by class of device: the only place that tells devices apart.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "vulkan/device_info.h"

namespace tandem::vulkan {

struct Tuning {
  const char* name;              // of the row, for reports
  uint32_t subgroup;             // demanded where the device lets us; 0: the device's own
  uint32_t matvec_workgroup;     // invocations
  uint32_t matvec_per_unit;      // workgroups per compute unit
  uint32_t matvec_unroll;        // at most
  uint32_t matvec_splits;        // at most
  uint32_t attention_workgroup;  // invocations
  uint32_t attention_per_unit;   // workgroups per compute unit, over all heads and parts
  uint32_t norm_workgroup;
  bool chained;             // dispatches wait for each other instead of barriers
  uint32_t spin_us;         // a wait polls this long before it sleeps
  double bytes_per_second;  // careful estimates, to cut long submissions
  double operations_per_second;
};

// The row for a device, with its compute units filled in.
const Tuning& tuning_for(const VulkanDeviceInfo& info);

// How many compute units to fill where the driver does not tell.
uint32_t compute_units(const VulkanDeviceInfo& info);

// How one mat-vec is laid out over invocations (see matvec.comp).
struct MatvecShape {
  uint32_t lanes = 1, unroll = 1, splits = 1;
};
// For `outputs` rows of `groups` * 32 weights on `workgroups` workgroups; `rows` weights rows
// each output has.
MatvecShape choose_shape(const Tuning& tuning, uint32_t subgroup, uint32_t outputs, uint32_t groups,
                         uint32_t workgroups);

}  // namespace tandem::vulkan

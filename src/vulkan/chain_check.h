// Whether dispatches of a device may wait for each other by counters instead of barriers, found out
// by trying.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vulkan/context.h"

namespace tandem::vulkan {

// Runs a chain of dispatches, each of more workgroups than the device holds at a time. False when
// one saw stale data or waited in vain. Takes about a millisecond where all is well, and pipelines
// and memory are freed again.
bool chain_holds(Context& context);

}  // namespace tandem::vulkan

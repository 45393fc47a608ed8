// Which instruction set the CPU kernels use.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "cpu/kernels.h"

namespace tandem::cpu {

// The kernels called `isa` ("scalar", "avx2", "avx512"); empty: TANDEM_CPU_ISA, else the best this
// CPU has. Throws kUsage for a name that does not exist, kUnsupported for one the CPU lacks.
const Kernels& choose_kernels(std::string_view isa);

// The processor's marketing name, from cpuid.
std::string cpu_name();

}  // namespace tandem::cpu

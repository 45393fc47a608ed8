// The vocabulary of a core kernel: AMD's AIE API on a core, our own small part of it on the host.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#ifdef __AIENGINE__
#include <aie_api/aie.hpp>
// A core program holds what its generation multiplies natively: AIE2 is 20, AIE2P 21.
#define TANDEM_KERNELS_AIE2 (__AIE_ARCH__ == 20)
#define TANDEM_KERNELS_AIE2P (__AIE_ARCH__ == 21)
#else
#include "npu/kernels/aie_host.h"
#define TANDEM_KERNELS_AIE2 1
#define TANDEM_KERNELS_AIE2P 1
#endif

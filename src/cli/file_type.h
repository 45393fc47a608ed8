// The type of a whole model file as users name it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "tensor/dtype.h"

namespace tandem {

// "q4_0", "Q4_K", also llama.cpp's "q4_k_m". Throws kUsage for a name that is no type.
DType parse_file_type(std::string_view name);

}  // namespace tandem

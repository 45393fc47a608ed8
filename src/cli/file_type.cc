// SPDX-License-Identifier: Apache-2.0
#include "cli/file_type.h"

#include <fmt/format.h>

#include <cctype>
#include <string>

#include "base/error.h"
#include "gguf/requantize.h"

namespace tandem {

DType parse_file_type(std::string_view name) {
  std::string plain(name);
  // llama.cpp names the mixture of types that a K-quant file is: q4_k_m is the usual one.
  if (plain.size() > 2 &&
      (plain.substr(plain.size() - 2) == "_m" || plain.substr(plain.size() - 2) == "_M"))
    plain.resize(plain.size() - 2);
  const DTypeInfo* info = find_dtype(plain);
  if (info == nullptr || !can_requantize(info->dtype))
    throw Error(ErrorCode::kUsage, fmt::format("'{}' is no type a file can be written in; choose "
                                               "q4_0, q8_0, q4_k, q6_k, bf16, f16 or f32",
                                               name));
  return info->dtype;
}

}  // namespace tandem

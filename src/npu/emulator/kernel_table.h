// Kernels that core programs call by symbol: what runs natively and what it costs on a core.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "npu/aie_text/core_program.h"

namespace tandem::npu {

// One argument of a call: a buffer in tile memory, or a number. Floats arrive in `real`.
struct KernelValue {
  void* buffer = nullptr;
  uint64_t size = 0;  // bytes from `buffer` to the end of its declared type
  int64_t integer = 0;
  double real = 0;
};

using KernelFunction = std::function<void(std::span<const KernelValue>)>;
using KernelCost = std::function<uint64_t(std::span<const KernelValue>)>;

struct Kernel {
  KernelFunction run;  // must write only through its buffer arguments
  // Of a call, in cycles of the array and in multiplies and adds. Also called without data (buffer
  // = nullptr). Empty: a default is charged; no operations count.
  KernelCost cycles;
  KernelCost operations = {};
};

// A shared library of kernels with C linkage, kept open while any table uses it.
class KernelLibrary;

class KernelTable {
 public:
  // Later additions replace earlier ones of the same symbol.
  void add(std::string symbol, Kernel kernel);

  // Symbols not added are looked up in this library. Throws kNotFound when it cannot be opened.
  void open_library(const std::string& path);

  // nullptr when the symbol is not in the table. A symbol of the library is found by
  // find_library_symbol, as its signature comes from the design.
  const Kernel* find(std::string_view symbol) const;
  void* find_library_symbol(const std::string& symbol) const;

 private:
  std::map<std::string, Kernel, std::less<>> kernels_;
  std::shared_ptr<KernelLibrary> library_;
};

// Calls a function of a library with C linkage: pointers for buffers, numbers by value.
void call_library_kernel(void* function, const KernelDecl& declaration,
                         std::span<const KernelValue> values);

}  // namespace tandem::npu

// See kernel_table.h.
// SPDX-License-Identifier: Apache-2.0
#include "npu/emulator/kernel_table.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <array>
#include <bit>

#include "base/error.h"
#include "npu/emulator/kernel_call.h"

namespace tandem::npu {

class KernelLibrary {
 public:
  explicit KernelLibrary(const std::string& path)
      : handle_(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr)
      throw Error(ErrorCode::kNotFound,
                  fmt::format("the kernel library '{}' cannot be opened: {}", path, dlerror()));
  }
  ~KernelLibrary() { dlclose(handle_); }
  KernelLibrary(const KernelLibrary&) = delete;
  KernelLibrary& operator=(const KernelLibrary&) = delete;

  // Gives the library its way to the cascade (npu/kernels/cascade_host.h), if it asks for one.
  void connect_cascade() const {
    const auto set = [this](const char* name, auto function) {
      if (void* const variable = dlsym(handle_, name); variable != nullptr)
        *static_cast<decltype(function)*>(variable) = function;
    };
    set("tandem_put_cascade", &put_cascade_word);
    set("tandem_get_cascade", &get_cascade_word);
  }

  void* symbol(const std::string& name) const { return dlsym(handle_, name.c_str()); }

 private:
  void* handle_;
};

void KernelTable::add(std::string symbol, Kernel kernel) {
  kernels_[std::move(symbol)] = std::move(kernel);
}

void KernelTable::open_library(const std::string& path) {
  library_ = std::make_shared<KernelLibrary>(path);
  library_->connect_cascade();
}

const Kernel* KernelTable::find(std::string_view symbol) const {
  const auto found = kernels_.find(symbol);
  return found == kernels_.end() ? nullptr : &found->second;
}

void* KernelTable::find_library_symbol(const std::string& symbol) const {
  return library_ == nullptr ? nullptr : library_->symbol(symbol);
}

// The x86-64 calling convention hands integers and floats to registers of their own, in order, so
// one signature with the most of each serves every kernel: the callee ignores what it did not ask
// for. A float argument sits in the low half of its register.
void call_library_kernel(void* function, const KernelDecl& declaration,
                         std::span<const KernelValue> values) {
  constexpr size_t kIntegers = 14;
  constexpr size_t kReals = 8;
  std::array<int64_t, kIntegers> i{};
  std::array<double, kReals> d{};
  size_t integers = 0;
  size_t reals = 0;
  for (size_t at = 0; at < values.size(); ++at) {
    const KernelArgument& argument = declaration.arguments[at];
    const bool real = !argument.is_buffer && argument.type.is_float();
    if (real ? reals == kReals : integers == kIntegers)
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("kernel '{}' takes more arguments than the {} numbers and {} floats "
                              "a library kernel can be called with",
                              declaration.symbol, kIntegers, kReals));
    if (!real) {
      i[integers++] =
          argument.is_buffer ? std::bit_cast<int64_t>(values[at].buffer) : values[at].integer;
    } else if (argument.type.kind == ScalarType::Kind::kFloat64) {
      d[reals++] = values[at].real;
    } else {
      const auto low = std::bit_cast<uint32_t>(static_cast<float>(values[at].real));
      d[reals++] = std::bit_cast<double>(uint64_t{low});
    }
  }
  using I = int64_t;
  using D = double;
  using Function = void (*)(I, I, I, I, I, I, I, I, I, I, I, I, I, I, D, D, D, D, D, D, D, D);
  const auto call = reinterpret_cast<Function>(function);
  call(i[0], i[1], i[2], i[3], i[4], i[5], i[6], i[7], i[8], i[9], i[10], i[11], i[12], i[13], d[0],
       d[1], d[2], d[3], d[4], d[5], d[6], d[7]);
}

}  // namespace tandem::npu

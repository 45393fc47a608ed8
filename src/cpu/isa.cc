// SPDX-License-Identifier: Apache-2.0
#include "cpu/isa.h"

#include <cpuid.h>
#include <fmt/format.h>

#include <array>
#include <cstring>

#include "base/env.h"
#include "base/error.h"

namespace tandem::cpu {
namespace {

// clang 14 knows no such name for __builtin_cpu_supports. Whether the operating system saves the
// registers is answered by the test for AVX2.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

// Best first. What each unit is compiled for is stated in its target region; __builtin_cpu_supports
// also asks the operating system whether it saves the wider registers.
struct Isa {
  const Kernels& (*kernels)();
  bool (*present)();
  const char* needs;
};
const std::array kIsas = {
    Isa{avx512_kernels,
        [] {
          return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                 __builtin_cpu_supports("avx512vnni");
        },
        "AVX-512 F, BW, VL, DQ and VNNI"},
    Isa{avx2_kernels,
        [] {
          return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
        },
        "AVX2, FMA and F16C"},
    Isa{scalar_kernels, [] { return true; }, "nothing"},
};

}  // namespace

const Kernels& choose_kernels(std::string_view isa) {
  const std::string name = isa.empty() ? env("TANDEM_CPU_ISA").value_or("") : std::string(isa);
  for (const Isa& row : kIsas) {
    const Kernels& kernels = row.kernels();
    if (name.empty() ? row.present() : name == kernels.name) {
      if (row.present()) return kernels;
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("TANDEM_CPU_ISA={} needs {}, which {} does not have; unset it to use "
                              "the best there is",
                              name, row.needs, cpu_name()));
    }
  }
  throw Error(ErrorCode::kUsage,
              fmt::format("TANDEM_CPU_ISA={} is none of scalar, avx2, avx512", name));
}

std::string cpu_name() {
  std::array<unsigned, 12> words{};
  for (unsigned leaf = 0; leaf < 3; ++leaf) {
    unsigned* w = &words[leaf * 4];
    if (!__get_cpuid(0x80000002u + leaf, w, w + 1, w + 2, w + 3)) return "x86-64 CPU";
  }
  std::array<char, sizeof(words) + 1> text{};
  std::memcpy(text.data(), words.data(), sizeof(words));
  std::string name = text.data();
  name.erase(name.find_last_not_of(' ') + 1);
  name.erase(0, name.find_first_not_of(' '));
  return name;
}

}  // namespace tandem::cpu

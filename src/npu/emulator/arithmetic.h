// The numbers of core programs: what an arith operation gives for two registers, and how values
// are stored in memory.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "npu/aie_text/core_program.h"

namespace tandem::npu {

// Sign-extends the low bits (i1 to 0 or 1): how registers hold integers.
int64_t normalize_integer(int64_t value, const ScalarType& type);

// nullopt: division by zero.
std::optional<int64_t> apply_binary(BinaryOp function, int64_t a, int64_t b,
                                    const ScalarType& type);
int64_t apply_unary(UnaryOp function, int64_t a, const ScalarType& type);
// a * b + c, rounded once.
int64_t apply_fused(int64_t a, int64_t b, int64_t c, const ScalarType& type);
// Whether a stands to b in one of these relations (kRelation... of core_program.h).
bool apply_compare_float(uint8_t relations, int64_t a, int64_t b);
bool apply_compare(Predicate predicate, int64_t a, int64_t b, const ScalarType& type);
int64_t apply_convert(ConvertOp function, int64_t value, const ScalarType& from,
                      const ScalarType& to);

int64_t load_scalar(const void* memory, const ScalarType& type);
void store_scalar(void* memory, int64_t value, const ScalarType& type);

double as_real(int64_t register_value);
int64_t as_register(double value);

}  // namespace tandem::npu

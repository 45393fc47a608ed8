// Affine expressions as trees of attributes: a constant is an integer, an operand the word "%" with
// the operand's number, anything else a word (+ - * floordiv ceildiv mod min max) with two items.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "npu/aie_text/parser.h"

namespace tandem::npu::mlir {

Attribute constant_expression(int64_t value);
Attribute operand_expression(int number);

// The results of an affine_map as one expression: their "min" or "max".
Attribute fold_map(const Attribute& map, const char* fold);

// "[%i + 1, %j * 4]": values become operands of the operation; a list of expressions.
Attribute parse_affine_indices(Parser& parser, Operation& operation);

// affine_map<(d0)[s0] -> (expression)>(%a)[%b]; one expression over the operation's operands. Where
// `fold` is "min" or "max" the map may have several results, of which that one is taken.
Attribute parse_map_application(Parser& parser, Operation& operation, const char* fold = nullptr);

// "<(d0, d1)[s0] -> (expression, ...)>" after the word affine_map, for an alias.
Attribute parse_affine_map(Parser& parser);

}  // namespace tandem::npu::mlir

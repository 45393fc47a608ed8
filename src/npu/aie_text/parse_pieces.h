// What the custom spellings of several dialects share: attributes read from tokens, common types,
// and the look-up of an operation's parser.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string_view>

#include "npu/aie_text/parser.h"

namespace tandem::npu::mlir {

inline const Type kIndexType{Type::Kind::kScalar, {ScalarType::Kind::kIndex, 64}, {}, {}, 0};
inline const Type kBoolType{Type::Kind::kScalar, {ScalarType::Kind::kSigned, 1}, {}, {}, 0};

using OperationParsers = std::map<std::string_view, OperationParser>;

// nullptr when `parsers` has none of that name.
OperationParser find_in(const OperationParsers& parsers, std::string_view name);

Attribute type_attribute(const Type& type, SourceLocation location);

// The next token or tokens as an attribute of the operation: an integer with or without its type,
// an enumerator, a symbol, "DMA : 0" as two attributes.
void set_integer(Parser& p, Operation& op, const char* key, std::string_view what);
void set_word(Parser& p, Operation& op, const char* key, std::string_view what);
void set_symbol(Parser& p, Operation& op, const char* key, std::string_view what);
void set_port(Parser& p, Operation& op, const char* bundle, const char* channel);
// "MM2S, 0"
void set_channel(Parser& p, Operation& op, const char* direction, const char* channel);

// "(%tile)"
void tile_in_parentheses(Parser& p, Operation& op);
// "(%tile) { region } {attributes}"
void tile_region(Parser& p, Operation& op);
// "%a, %b, %c": `count` operands.
void operands(Parser& p, Operation& op, int count);
// "{attributes} :", what stands between an operation's operands and its types.
void attributes_and_colon(Parser& p, Operation& op);
// "{attributes} : source to result", or another `word` between the first operand's type and the
// result's.
void source_and_result_types(Parser& p, Operation& op, std::string_view word);
// "{attributes} : memref, result", the type of the first operand and the result's.
void memref_and_result_types(Parser& p, Operation& op);
// overflow<nsw>, fastmath<fast>: hints without a meaning here.
void skip_hint(Parser& p);
// "%a, %b : type": the operands and the result are of one type.
void elementwise(Parser& p, Operation& op, int operand_count);
// "%a {attributes} : type to type"
void cast(Parser& p, Operation& op);
// "[%i, %j]"
void indices(Parser& p, Operation& op);
// "[0, %i, ...]": a list attribute whose items are numbers, or words "%" standing for the next
// operand.
void mixed_list(Parser& p, Operation& op, const char* key);

}  // namespace tandem::npu::mlir

// vector operations that rearrange or reduce lanes by position; see core_compiler.h. A vector's
// registers are its lanes in row-major order.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "npu/aie_text/core_compiler.h"

namespace tandem::npu {

using mlir::Attribute;

namespace {

using Position = std::vector<int64_t>;

// Points of one vector.contract: more is a loop's work.
constexpr int64_t kMaxContraction = 65536;

Position position_of(int64_t lane, const std::vector<int64_t>& shape) {
  Position position(shape.size());
  for (size_t i = shape.size(); i-- > 0; lane /= shape[i]) position[i] = lane % shape[i];
  return position;
}

int64_t lane_at(const Position& position, const std::vector<int64_t>& shape) {
  int64_t lane = 0;
  for (size_t i = 0; i < shape.size(); ++i) lane = lane * shape[i] + position[i];
  return lane;
}

std::vector<int64_t> integers_of(const mlir::Operation& operation, std::string_view key) {
  std::vector<int64_t> numbers;
  if (const Attribute* list = operation.attribute(key))
    for (const Attribute& item : list->items) numbers.push_back(item.integer);
  return numbers;
}

// The loops an indexing map names, in order; empty when it is more than a choice of them.
std::vector<size_t> loops_of(const Attribute& map) {
  std::vector<size_t> loops;
  for (const Attribute& item : map.items) {
    if (item.text != "%") return {};
    loops.push_back(static_cast<size_t>(item.integer));
  }
  return loops;
}

}  // namespace

// The result's lanes are copies of the named registers.
void CoreCompiler::gather_lanes(const Operation& operation, const std::vector<int>& sources) {
  if (static_cast<int>(sources.size()) != lanes_of(operation.results[0]))
    fail(operation, fmt::format("{} gives {} lanes, its result has {}", operation.name,
                                sources.size(), lanes_of(operation.results[0])));
  const int destination = define(operation);
  for (size_t lane = 0; lane < sources.size(); ++lane)
    move(destination + static_cast<int>(lane), sources[lane], operation);
}

// Missing outer dimensions are repeated, and dimensions of 1 stretched.
void CoreCompiler::compile_broadcast(const Operation& operation) {
  const mlir::Type& from = type_of(operation.operands[0]);
  const mlir::Type& to = type_of(operation.results[0]);
  if (from.shape.size() > to.shape.size())
    fail(operation, "a broadcast cannot lower the number of dimensions");
  const size_t outer = to.shape.size() - from.shape.size();
  for (size_t i = 0; i < from.shape.size(); ++i)
    if (from.shape[i] != 1 && from.shape[i] != to.shape[outer + i])
      fail(operation, fmt::format("a dimension of {} does not stretch to {}", from.shape[i],
                                  to.shape[outer + i]));
  const int source = register_of(operation.operands[0], operation);
  std::vector<int> lanes;
  for (int lane = 0; lane < lanes_of(operation.results[0]); ++lane) {
    Position position = position_of(lane, to.shape);
    position.erase(position.begin(), position.begin() + static_cast<std::ptrdiff_t>(outer));
    for (size_t i = 0; i < position.size(); ++i)
      if (from.shape[i] == 1) position[i] = 0;
    lanes.push_back(source + static_cast<int>(lane_at(position, from.shape)));
  }
  gather_lanes(operation, lanes);
}

// Dimension i of the result is dimension permutation[i] of the operand.
void CoreCompiler::compile_transpose(const Operation& operation) {
  const std::vector<int64_t>& from = type_of(operation.operands[0]).shape;
  const std::vector<int64_t>& to = type_of(operation.results[0]).shape;
  const std::vector<int64_t> permutation = integers_of(operation, "permutation");
  std::vector<bool> named(from.size());
  bool legal = permutation.size() == from.size() && to.size() == from.size();
  for (size_t i = 0; legal && i < from.size(); ++i) {
    const auto axis = static_cast<size_t>(permutation[i]);
    legal = axis < from.size() && !named[axis] && to[i] == from[axis];
    if (legal) named[axis] = true;
  }
  if (!legal) fail(operation, "the permutation does not lead from one type to the other");
  const int source = register_of(operation.operands[0], operation);
  std::vector<int> lanes;
  for (int lane = 0; lane < lanes_of(operation.results[0]); ++lane) {
    const Position position = position_of(lane, to);
    Position origin(from.size());
    for (size_t i = 0; i < from.size(); ++i)
      origin[static_cast<size_t>(permutation[i])] = position[i];
    lanes.push_back(source + static_cast<int>(lane_at(origin, from)));
  }
  gather_lanes(operation, lanes);
}

// Lanes of `part`'s positions in `whole`, by the slice's offsets and strides of the outer
// dimensions.
std::vector<int64_t> CoreCompiler::slice_lanes(const Operation& operation,
                                               const std::vector<int64_t>& whole,
                                               const std::vector<int64_t>& part) {
  const std::vector<int64_t> offsets = integers_of(operation, "offsets");
  std::vector<int64_t> strides = integers_of(operation, "strides");
  if (offsets.size() > whole.size() || strides.size() > whole.size() || part.size() > whole.size())
    fail(operation, "a slice has at most the dimensions of its vector");
  const size_t outer = whole.size() - part.size();
  int64_t count = 1;
  for (const int64_t size : part) count *= size;
  std::vector<int64_t> lanes;
  for (int64_t lane = 0; lane < count; ++lane) {
    const Position inner = position_of(lane, part);
    Position position(whole.size());
    for (size_t i = 0; i < whole.size(); ++i) {
      const int64_t stride = i >= outer && i - outer < strides.size() ? strides[i - outer] : 1;
      const int64_t step = i < outer ? 0 : inner[i - outer] * stride;
      position[i] = (i < offsets.size() ? offsets[i] : 0) + step;
      if (position[i] < 0 || position[i] >= whole[i])
        fail(operation, fmt::format("the slice reaches position {} of a dimension of {}",
                                    position[i], whole[i]));
    }
    lanes.push_back(lane_at(position, whole));
  }
  return lanes;
}

void CoreCompiler::compile_extract_slice(const Operation& operation) {
  const int source = register_of(operation.operands[0], operation);
  std::vector<int> lanes;
  for (const int64_t lane : slice_lanes(operation, type_of(operation.operands[0]).shape,
                                        type_of(operation.results[0]).shape))
    lanes.push_back(source + static_cast<int>(lane));
  gather_lanes(operation, lanes);
}

void CoreCompiler::compile_insert_slice(const Operation& operation) {
  const int part = register_of(operation.operands[0], operation);
  const int whole = register_of(operation.operands[1], operation);
  std::vector<int> lanes;
  for (int lane = 0; lane < lanes_of(operation.operands[1]); ++lane) lanes.push_back(whole + lane);
  int next = part;
  for (const int64_t lane : slice_lanes(operation, type_of(operation.operands[1]).shape,
                                        type_of(operation.operands[0]).shape))
    lanes[static_cast<size_t>(lane)] = next++;
  gather_lanes(operation, lanes);
}

// The mask counts through the outermost dimension of both operands; -1 leaves a lane undefined.
void CoreCompiler::compile_shuffle(const Operation& operation) {
  const auto outer = [&](size_t operand) {
    const auto& shape = type_of(operation.operands[operand]).shape;
    return shape.empty() ? 1 : shape[0];
  };
  const int64_t first = outer(0), second = outer(1);
  const int inner = lanes_of(operation.operands[0]) / static_cast<int>(first);
  const int registers[] = {register_of(operation.operands[0], operation),
                           register_of(operation.operands[1], operation)};
  std::vector<int> lanes;
  for (const int64_t index : integers_of(operation, "mask")) {
    if (index < -1 || index >= first + second)
      fail(operation, fmt::format("the mask names position {} of {}", index, first + second));
    const bool from_second = index >= first;
    const auto row = static_cast<int>(index < 0 ? 0 : from_second ? index - first : index);
    for (int i = 0; i < inner; ++i)
      lanes.push_back(registers[from_second ? 1 : 0] + row * inner + i);
  }
  gather_lanes(operation, lanes);
}

// result[i] = accumulator[i] combined with all lanes whose position without the reduced dimensions
// is i.
void CoreCompiler::compile_multi_reduction(const Operation& operation) {
  const std::vector<int64_t>& shape = type_of(operation.operands[0]).shape;
  const std::vector<int64_t> reduced = integers_of(operation, "reduction_dims");
  const BinaryOp function = reduction_of(operation, text_of(lowering_, operation, "kind"));
  std::vector<int64_t> kept;
  std::vector<bool> is_reduced(shape.size());
  for (const int64_t axis : reduced) {
    if (axis < 0 || axis >= static_cast<int64_t>(shape.size()))
      fail(operation, fmt::format("the vector has no dimension {}", axis));
    is_reduced[static_cast<size_t>(axis)] = true;
  }
  for (size_t i = 0; i < shape.size(); ++i)
    if (!is_reduced[i]) kept.push_back(shape[i]);
  const int vector = register_of(operation.operands[0], operation);
  const int accumulator = register_of(operation.operands[1], operation);
  const int lanes = lanes_of(operation.results[0]);
  int64_t expected = 1;
  for (const int64_t size : kept) expected *= size;
  if (lanes != expected || lanes_of(operation.operands[1]) != lanes)
    fail(operation, fmt::format("{} lanes remain, not {}", expected, lanes));
  const int destination = define(operation);
  for (int lane = 0; lane < lanes; ++lane) move(destination + lane, accumulator + lane, operation);
  for (int lane = 0; lane < lanes_of(operation.operands[0]); ++lane) {
    Position position;
    const Position whole = position_of(lane, shape);
    for (size_t i = 0; i < shape.size(); ++i)
      if (!is_reduced[i]) position.push_back(whole[i]);
    const int target = destination + static_cast<int>(lane_at(position, kept));
    combine(operation, function, lane, target, target, vector + lane);
  }
}

// For every point of the loops: result[its map] += a[its map] * b[its map].
void CoreCompiler::compile_contract(const Operation& operation) {
  const Attribute* maps = operation.attribute("indexing_maps");
  if (maps == nullptr || maps->items.size() != 3 ||
      std::any_of(maps->items.begin(), maps->items.end(),
                  [](const Attribute& map) { return map.text != "affine_map"; }))
    fail(operation, "vector.contract needs the indexing_maps of its three operands");
  if (const Attribute* kind = operation.attribute("kind"); kind != nullptr && kind->text != "add")
    lowering_.diagnostics.unsupported(operation.location, "vector.contract of a kind but add");
  std::vector<int64_t> sizes(static_cast<size_t>(maps->items[0].integer), 0);
  std::vector<size_t> loops[3];
  for (size_t i = 0; i < 3; ++i) {
    const std::vector<int64_t>& shape = type_of(operation.operands[i]).shape;
    loops[i] = loops_of(maps->items[i]);
    bool fits = loops[i].size() == shape.size();
    for (size_t j = 0; fits && j < shape.size(); ++j) {
      fits = loops[i][j] < sizes.size();
      if (!fits) break;
      int64_t& size = sizes[loops[i][j]];
      fits = size == 0 || size == shape[j];
      size = shape[j];
    }
    if (!fits)
      fail(operation, fmt::format("indexing map {} does not fit its vector's dimensions", i));
  }
  int64_t points = 1;
  for (const int64_t size : sizes) points = std::min(points * size, kMaxContraction + 1);
  if (points < 1 || points > kMaxContraction)
    lowering_.diagnostics.unsupported(
        operation.location, fmt::format("a vector.contract over {} points (1 to {})",
                                        points > kMaxContraction ? "more" : "no", kMaxContraction));
  const int first[] = {register_of(operation.operands[0], operation),
                       register_of(operation.operands[1], operation),
                       register_of(operation.operands[2], operation)};
  const int lanes = lanes_of(operation.results[0]);
  if (lanes != lanes_of(operation.operands[2]))
    fail(operation, "the result of vector.contract has the accumulator's type");
  const int destination = define(operation);
  for (int lane = 0; lane < lanes; ++lane) move(destination + lane, first[2] + lane, operation);
  const ScalarType type = scalar_of(operation.results[0], operation);
  const int product = new_register();
  for (int64_t point = 0; point < points; ++point) {
    const Position position = position_of(point, sizes);
    int registers[3];
    for (size_t i = 0; i < 3; ++i) {
      Position own;
      for (const size_t loop : loops[i]) own.push_back(position[loop]);
      registers[i] = (i == 2 ? destination : first[i]) +
                     static_cast<int>(lane_at(own, type_of(operation.operands[i]).shape));
    }
    const bool real = type.is_float();
    combine(operation, real ? BinaryOp::kMulFloat : BinaryOp::kMul, static_cast<int>(point),
            product, registers[0], registers[1]);
    combine(operation, real ? BinaryOp::kAddFloat : BinaryOp::kAdd, 1, registers[2], registers[2],
            product);
  }
}

bool CoreCompiler::compile_vector_shape(const Operation& operation) {
  using Compile = void (CoreCompiler::*)(const Operation&);
  static const std::map<std::string_view, std::pair<Compile, size_t>> kCompilers = {
      {"vector.broadcast", {&CoreCompiler::compile_broadcast, 1}},
      {"vector.splat", {&CoreCompiler::compile_broadcast, 1}},
      {"vector.transpose", {&CoreCompiler::compile_transpose, 1}},
      {"vector.extract_strided_slice", {&CoreCompiler::compile_extract_slice, 1}},
      {"vector.insert_strided_slice", {&CoreCompiler::compile_insert_slice, 2}},
      {"vector.shuffle", {&CoreCompiler::compile_shuffle, 2}},
      {"vector.multi_reduction", {&CoreCompiler::compile_multi_reduction, 2}},
      {"vector.contract", {&CoreCompiler::compile_contract, 3}}};
  const auto found = kCompilers.find(operation.name);
  if (found == kCompilers.end()) return false;
  const auto [compile, operands] = found->second;
  if (operation.operands.size() != operands || operation.results.empty())
    fail(operation, fmt::format("{} needs {} operands and a result", operation.name, operands));
  (this->*compile)(operation);
  return true;
}

}  // namespace tandem::npu

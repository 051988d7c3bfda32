// What several primitives share: faults in one wording, axis lists put in order, and loops over named axes for evaluate().
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "canvas/ir/primitive.h"

namespace canvas {

// The fault for an axis that a value lacks, naming those that it has.
Fault missing_axis(const char* label, const std::string& name, const Axes& axes, const Variables& variables);

// Faults unless `names` is a list of different axes of `axes`; puts it into their order.
std::optional<Fault> put_in_order(std::vector<std::string>& names, const Axes& axes, const char* label,
                                  const Variables& variables);

// `axes` without those named.
Axes without(const Axes& axes, const std::vector<std::string>& names);

// Those named, in the order of `names`.
Axes select(const Axes& axes, const std::vector<std::string>& names);

bool contains(const std::vector<std::string>& names, const std::string& name);

// The axes of a broadcast of two values, or a Fault where axes of one name differ in size.
Result<Axes> broadcast(Inference& inference, const char* label);

std::vector<int64_t> extents_of(const Axes& axes, const Values& values);

// The stride of each loop axis in a row-major tensor over `axes`; 0 where the tensor lacks the axis.
std::vector<int64_t> strides_for(const Axes& loop, const Axes& axes, const Values& values);

// Calls visit(offsets) for every index of `loop`, row-major; offsets[i] is the position in the i-th strided tensor.
template <size_t N, class Visit>
void walk(const std::vector<int64_t>& loop, const std::array<std::vector<int64_t>, N>& strides, Visit visit) {
  for_each_index(loop, [&](const std::vector<int64_t>& index) {
    std::array<size_t, N> offsets{};
    for (size_t t = 0; t < N; ++t) {
      int64_t offset = 0;
      for (size_t axis = 0; axis < index.size(); ++axis) offset += index[axis] * strides[t][axis];
      offsets[t] = static_cast<size_t>(offset);
    }
    visit(offsets);
  });
}

// Sum over the axes that `result` lacks of the product of two tensors; counts two operations a term.
Tensor sum_of_products(const Axes& result, const Axes& left_axes, const Tensor& left, const Axes& right_axes,
                       const Tensor& right, const Values& values, int64_t& flops);

// One operation per element of the result.
Size flop_per_element(const std::vector<const Axes*>& operands, const Node& node);
// The operand's moments, for primitives that only move elements.
Moments same_moments(const std::vector<Moments>& operands, const std::vector<const Axes*>& axes, const Node& node,
                     const Values& values);

// How many elements the named axes hold together, as a number for moments().
double count_along(const Axes& axes, const std::vector<std::string>& names, const Values& values);

// Lowers a change of axes: `from` become `to`.
int lower_view(const Node& node, const std::vector<const Axes*>& operands, const std::vector<int>& inputs,
               CoreProgram& program);

// A core form over the node's own axes and name.
CoreOp core_op(CoreKind kind, const Node& node, std::vector<int> inputs);

}  // namespace canvas

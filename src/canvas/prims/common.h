// What several primitives share: faults in one wording, axis lists put in order, and loops over named axes for evaluate().
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "canvas/ir/primitive.h"

namespace canvas {

// The fault for an axis that a value lacks, naming those that it has.
Fault missing_axis(const char* label, const Name& name, const Axes& axes, const Variables& variables);

// Faults unless `names` is a list of different axes of `axes`; puts it into their order.
std::optional<Fault> put_in_order(AxisNames& names, const Axes& axes, const char* label, const Variables& variables);

// The axes that the items are of.
AxisNames axes_of(const AxisItems& items);

// `axes` without those named.
Axes without(const Axes& axes, const AxisNames& names);

// Those named, in the order of `names`.
Axes select(const Axes& axes, const AxisNames& names);

bool contains(const AxisNames& names, const Name& name);

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
Count flop_per_element(const OperandAxes& operands, const Node& node);
// The operand's moments, for primitives that only move elements, or start so.
Moments same_moments(const std::vector<Moments>& operands, const OperandAxes& axes, const Node& node,
                     const Values& values);

// Moments of function(z) for a normal z of the given moments that is cut off at their bounds, by the trapezoidal rule in `steps` over
// +-6 deviations.
Moments moments_of(double (*function)(double), const Moments& operand, int steps);

// Gives `result` the bounds of x * y.
void bound_product(Moments& result, const Moments& x, const Moments& y);

// For primitives that take nothing but their operands.
void propose_plain(const Proposal& proposal, Random& random, std::vector<Attributes>& found);

// Faults unless every item names an axis of `axes`, each once.
std::optional<Fault> check_items(const AxisItems& items, const Axes& axes, const char* label,
                                 const Variables& variables);

// Faults where an item's position is negative, or not below the size of its axis where that is a number.
std::optional<Fault> check_indices(const AxisItems& items, const Axes& axes, const char* label,
                                   const Variables& variables);
// The same of every size: Primitive::misfit.
std::optional<Fault> misfit_indices(const Node& node, const OperandAxes& operands, const Values& values);

// Whether the names and sizes are the same, in any order.
bool same_axes(const Axes& left, const Axes& right);

// Whether a size may be that of a split's parts: a small number or a free variable. Then any_index is one of its positions.
bool is_part(const Size& size);
int any_index(const Size& size, Random& random);

// How many elements the named axes hold together, as a number for moments().
double count_along(const Axes& axes, const AxisNames& names, const Values& values);

// Makes `op` a map that applies the pointwise primitive.
void apply(CoreOp& op, const Primitive& primitive);
// Lowers a pointwise primitive into one map.
int lower_map(const Node& node, const OperandAxes& operands, const std::vector<int>& inputs, CoreProgram& program);
// Lowers a change of axes: `from` become `to`.
int lower_view(const Node& node, const OperandAxes& operands, const std::vector<int>& inputs, CoreProgram& program);

// A core form over the node's own axes and name.
CoreOp core_op(CoreKind kind, const Node& node, std::vector<int> inputs);
// An unnamed core form over other axes, for the steps in between.
CoreOp core_step(CoreKind kind, std::vector<int> inputs, Axes axes);

}  // namespace canvas

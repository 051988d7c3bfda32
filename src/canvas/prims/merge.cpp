// merge: several axes become one, in the order in which they are listed, the last fastest. split and merge in another order make
// a channel shuffle.
#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"

namespace canvas {

namespace {

Result<Axes> infer(Inference& in) {
  Attributes& attributes = in.attributes;
  if (attributes.from.size() < 2) {
    return Fault{"merge C1", "at least two axes on the left", std::to_string(attributes.from.size()),
                 "write [g, c] -> [C]"};
  }
  AxisNames sorted = attributes.from;  // the order of `from` itself matters, so a copy is checked
  if (auto fault = put_in_order(sorted, in.operand(), "merge C1", in.variables)) return *fault;
  if (attributes.to.size() != 1)
    return Fault{"merge C2", "one axis on the right", std::to_string(attributes.to.size()), ""};
  const Axes parts = select(in.operand(), attributes.from);
  Axis& whole = attributes.to[0];
  if (volume(parts) != whole.size) {
    if (auto fault = in.equations.equate(volume(parts), whole.size, "merge C3", in.variables)) return *fault;
  }
  whole.role = parts[0].role;
  for (const Axis& part : parts) {
    if (part.role != whole.role) whole.role = Role::kChannel;
  }
  Axes result;
  for (const Axis& axis : in.operand()) {
    if (axis.name == sorted[0]) result.push_back(whole);
    if (!contains(sorted, axis.name)) result.push_back(axis);
  }
  return result;
}

Tensor evaluate(const Evaluation& e) {
  const Axes& operand = *e.operand_axes[0];
  // Loop over the result with the merged axis taken apart again: then both sides are strided.
  Axes loop;
  for (const Axis& axis : e.node.axes) {
    if (axis.name != e.node.attributes.to[0].name) {
      loop.push_back(axis);
    } else {
      for (const Axis& part : select(operand, e.node.attributes.from)) loop.push_back(part);
    }
  }
  Tensor result(e.extents());
  size_t next = 0;
  walk(extents_of(loop, e.values), std::array{strides_for(loop, operand, e.values)},
       [&](const std::array<size_t, 1>& at) { result.data[next++] = e.operands[0]->data[at[0]]; });
  return result;
}

void propose(const Proposal& proposal, Random&, std::vector<Attributes>& found) {
  const Axes& axes = proposal.operand();
  for (const Axis& first : axes) {
    for (const Axis& second : axes) {
      if (&first == &second || first.role == Role::kSpatial || second.role == Role::kSpatial) continue;
      const Size size = first.size * second.size;
      if (!size.valid()) continue;
      Attributes attributes;
      attributes.from = {first.name, second.name};
      const Axis& wanted = proposal.signature.channel();
      const bool is_result = wanted.size == size && !has_axis(axes, wanted.name);
      attributes.to = {{is_result ? wanted.name : proposal.fresh(), size, Role::kChannel}};
      found.push_back(std::move(attributes));
    }
  }
}

}  // namespace

const Primitive& merge_primitive() {
  static const Primitive primitive{
      .name = "merge",
      .summary = "joins several axes into one, in any order",
      .formula = "y[.., k*|g| + g, ..] = x[.., k, .., g, ..]",
      .grammar = kArrow,
      .properties = kLinear | kView | kBijective | kOrdered,
      .order = kJoins,
      .constraints = {{"merge C1", "at least two different axes of the operand stand on the left"},
                      {"merge C2", "one axis stands on the right"},
                      {"merge C3", "the new size is the product of the old sizes"}},
      .example = "merge(y, [c, g] -> [C])",
      .weight = 1.0,
      .infer = infer,
      .evaluate = evaluate,
      .moments = same_moments,
      .propose = propose,
      .lower = lower_view,
  };
  return primitive;
}

}  // namespace canvas

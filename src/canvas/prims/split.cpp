// split: one axis becomes several, the last fastest. The first half of grouping and of a channel shuffle.
#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"

namespace canvas {

namespace {

Result<Axes> infer(Inference& in) {
  Attributes& attributes = in.attributes;
  if (attributes.from.size() != 1)
    return Fault{"split C1", "one axis on the left", std::to_string(attributes.from.size()), ""};
  const int position = find_axis(in.operand(), attributes.from[0]);
  if (position < 0) return missing_axis("split C1", attributes.from[0], in.operand(), in.variables);
  if (attributes.to.size() < 2) {
    return Fault{"split C2", "at least two axes on the right", std::to_string(attributes.to.size()),
                 "write [C] -> [g, c = C/g]"};
  }
  const Axis whole = in.operand()[static_cast<size_t>(position)];
  if (volume(attributes.to) != whole.size) {
    if (auto fault = in.equations.equate(volume(attributes.to), whole.size, "split C3", in.variables)) return *fault;
  }
  for (Axis& axis : attributes.to) axis.role = whole.role;
  Axes result = in.operand();
  result.erase(result.begin() + position);
  result.insert(result.begin() + position, attributes.to.begin(), attributes.to.end());
  return result;
}

Tensor evaluate(const Evaluation& e) {
  Tensor result(e.extents());
  result.data = e.operands[0]->data;  // the new axes stand where the old one stood: the same row-major order
  return result;
}

void propose(const Proposal& proposal, Random&, std::vector<Attributes>& found) {
  for (const Axis& axis : proposal.operand()) {
    if (axis.role != Role::kChannel || axis.size.is_constant()) continue;
    for (const Size& group : proposal.group_sizes) {
      bool divides = true;  // a variable that is already divided by twice would seldom be legal
      for (int v = kFirstDynamic; v < kMaxVariables; ++v)
        divides = divides && !(group.exponent(v) > 0 && axis.size.exponent(v) < 0);
      if (!divides || group == axis.size) continue;
      Attributes attributes;
      attributes.from = {axis.name};
      attributes.to = {{proposal.fresh(1), group, Role::kChannel},
                       {proposal.fresh(2), axis.size / group, Role::kChannel}};
      found.push_back(std::move(attributes));
    }
  }
}

}  // namespace

const Primitive& split_primitive() {
  static const Primitive primitive{
      .name = "split",
      .summary = "cuts one axis into several",
      .formula = "y[.., g, c, ..] = x[.., g*|c| + c, ..]",
      .grammar = kArrow,
      .properties = kLinear | kView | kBijective | kOrdered,
      .order = kCuts,
      .constraints = {{"split C1", "one axis of the operand stands on the left"},
                      {"split C2", "at least two axes stand on the right"},
                      {"split C3", "the product of the new sizes is the old size"}},
      .example = "split(x, [C] -> [g, c = C/g])",
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

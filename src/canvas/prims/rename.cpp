// rename: another name for an axis, so that it is joined with other axes than before, or with none: attention needs a second name for
// its positions. The canonical form leaves it out wherever nothing depends on the name.
#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"

namespace canvas {

namespace {

Result<Axes> infer(Inference& in) {
  Attributes& attributes = in.attributes;
  const size_t count = attributes.from.size();
  if (count != 1) return Fault{"rename C1", "one axis on the left", std::to_string(count), "rename one after another"};
  const int position = find_axis(in.operand(), attributes.from[0]);
  if (position < 0) return missing_axis("rename C1", attributes.from[0], in.operand(), in.variables);
  if (attributes.to.size() != 1)
    return Fault{"rename C2", "one axis on the right", std::to_string(attributes.to.size()), "write [C] -> [c = C]"};
  if (attributes.to[0].name == attributes.from[0])
    return Fault{"rename C2", "a name other than the old one", attributes.from[0], ""};
  Axes result = in.operand();
  Axis& axis = result[static_cast<size_t>(position)];
  if (axis.size != attributes.to[0].size) {
    if (auto fault = in.equations.equate(attributes.to[0].size, axis.size, "rename C3", in.variables)) return *fault;
  }
  attributes.to[0].role = axis.role;
  axis = attributes.to[0];
  return result;
}

Tensor evaluate(const Evaluation& e) { return *e.operands[0]; }

void propose(const Proposal& proposal, Random&, std::vector<Attributes>& found) {
  for (const Axis& axis : proposal.operand()) {
    if (axis.role != Role::kChannel) continue;
    Attributes attributes;
    attributes.from = {axis.name};
    attributes.to = {{proposal.fresh(), axis.size, axis.role}};
    found.push_back(std::move(attributes));
  }
}

}  // namespace

const Primitive& rename_primitive() {
  static const Primitive primitive{
      .name = "rename",
      .summary = "gives an axis another name",
      .formula = "y[.., i, ..] = x[.., i, ..]",
      .grammar = kArrow,
      .properties = kLinear | kView | kBijective,
      .order = kJoins,
      .constraints = {{"rename C1", "one axis of the operand stands on the left"},
                      {"rename C2", "one axis of another name stands on the right"},
                      {"rename C3", "the new size is the old size"}},
      .example = "rename(x, [C] -> [c = C])",
      .weight = 0.01,
      .infer = infer,
      .evaluate = evaluate,
      .moments = same_moments,
      .propose = propose,
      .lower = lower_view,
  };
  return primitive;
}

}  // namespace canvas

// stack: values of the same axes side by side along a new axis. With merge, the concatenation of equal parts.
#include <algorithm>

#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"

namespace canvas {

namespace {

Result<Axes> infer(Inference& in) {
  Attributes& attributes = in.attributes;
  const Axes& first = in.operand();
  for (const Axes* axes : in.operands) {
    if (axes->size() != first.size()) {
      return Fault{"stack C1", "operands of the same axes",
                   to_string(first, in.variables) + " and " + to_string(*axes, in.variables), ""};
    }
    for (const Axis& axis : first) {
      const int found = find_axis(*axes, axis.name);
      if (found < 0) return missing_axis("stack C1", axis.name, *axes, in.variables);
      const Size& other = (*axes)[static_cast<size_t>(found)].size;
      if (other == axis.size) continue;
      if (auto fault = in.equations.equate(axis.size, other, "stack C1", in.variables)) return *fault;
    }
  }
  if (attributes.to.size() != 1)
    return Fault{"stack C2", "one new axis", std::to_string(attributes.to.size()), "write stack(a, b, [g])"};
  attributes.to[0].size = Size::constant(static_cast<int64_t>(in.operands.size()));
  attributes.to[0].role = Role::kChannel;
  Axes result = attributes.to;
  result.insert(result.end(), first.begin(), first.end());
  return result;
}

Tensor evaluate(const Evaluation& e) {
  Tensor result(e.extents());
  size_t next = 0;
  for (size_t i = 0; i < e.operands.size(); ++i) {
    Axes rest(e.node.axes.begin() + 1, e.node.axes.end());
    walk(extents_of(rest, e.values), std::array{strides_for(rest, *e.operand_axes[i], e.values)},
         [&](const std::array<size_t, 1>& at) { result.data[next++] = e.operands[i]->data[at[0]]; });
  }
  return result;
}

Moments moments(const std::vector<Moments>& operands, const OperandAxes&, const Node&, const Values&) {
  Moments out{0, 0, HUGE_VAL, -HUGE_VAL};
  for (const Moments& operand : operands) {
    out.mean += operand.mean / static_cast<double>(operands.size());
    out.square += operand.square / static_cast<double>(operands.size());
    out.low = std::min(out.low, operand.low);
    out.high = std::max(out.high, operand.high);
  }
  return out;
}

void propose(const Proposal& proposal, Random&, std::vector<Attributes>& found) {
  for (const Axes* axes : proposal.operands) {
    if (!same_axes(*axes, proposal.operand())) return;
  }
  Attributes attributes;
  attributes.to = {{proposal.fresh(), Size(), Role::kChannel}};
  found.push_back(std::move(attributes));
}

int lower(const Node& node, const OperandAxes&, const std::vector<int>& inputs, CoreProgram& program) {
  CoreOp op = core_op(CoreKind::kPut, node, inputs);
  op.items = {{"", node.attributes.to[0].name, 1, 1, 0, Size()}};
  return program.add(std::move(op));
}

}  // namespace

const Primitive& stack_primitive() {
  static const Primitive primitive{
      .name = "stack",
      .summary = "puts 2 to 8 values of the same axes side by side along a new axis; with merge, they are concatenated",
      .formula = "y[0, ..] = a[..], y[1, ..] = b[..], and so on",
      .arity = 2,
      .most = 8,
      .grammar = kNew,
      .properties = kLinear | kKeepsSign,
      .constraints = {{"stack C1", "the operands have the same axes, of the same sizes"},
                      {"stack C2", "one axis is made, as long as there are operands"}},
      .example = "stack(x, relu(x), [g])",
      .weight = 0.2,
      .infer = infer,
      .evaluate = evaluate,
      .moments = moments,
      .propose = propose,
      .lower = lower,
  };
  return primitive;
}

}  // namespace canvas

// fc: contracts axes with a trained parameter, optionally one weight per index of further axes. A linear layer over channels, mixing
// over space, and, after unfold, every kind of convolution: dense, grouped (per group), depthwise (per channel).
#include <algorithm>

#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"

namespace canvas {

namespace {

Result<Axes> infer(Inference& in) {
  Attributes& attributes = in.attributes;
  const Axes& operand = in.operand();
  if (attributes.from.empty())
    return Fault{"fc C1", "at least one axis to contract", "none", "write fc(x, [C] -> [K])"};
  if (auto fault = put_in_order(attributes.from, operand, "fc C1", in.variables)) return *fault;
  if (auto fault = put_in_order(attributes.per, operand, "fc C2", in.variables)) return *fault;
  for (const Name& name : attributes.per) {
    if (contains(attributes.from, name)) {
      return Fault{"fc C2", "the axes in `per` are kept, so they are not contracted", name,
                   "take it out of one of the lists"};
    }
  }
  // The new axes stand where the first contracted channel or spatial axis stood; if only windows go, behind the other channels.
  size_t place = 0;
  for (size_t i = 0; i < operand.size(); ++i) {
    if (operand[i].role == Role::kChannel) place = i + 1;
  }
  for (size_t i = operand.size(); i-- > 0;) {
    if (contains(attributes.from, operand[i].name) && operand[i].role != Role::kWindow) place = i;
  }
  for (size_t i = place; i-- > 0;) place -= contains(attributes.from, operand[i].name);
  Axes result;
  result.reserve(operand.size() + attributes.to.size());
  for (const Axis& axis : operand) {
    if (!contains(attributes.from, axis.name)) result.push_back(axis);
  }
  for (Axis& axis : attributes.to) axis.role = Role::kChannel;
  result.insert(result.begin() + static_cast<std::ptrdiff_t>(place), attributes.to.begin(), attributes.to.end());
  return result;
}

// The name by which the parameter knows an axis of the operand: fc(x, [C] -> [C]) has both a C and a C_in.
Name seen_name(const Name& axis, const Axes& operand, const Attributes& attributes) {
  Name name = axis;
  if (!contains(attributes.from, axis) || !has_axis(attributes.to, axis)) return name;
  do name = name + "_in";
  while (has_axis(operand, name) || has_axis(attributes.to, name));
  return name;
}

Axes seen_by_parameter(const Axes& operand, const Attributes& attributes) {
  Axes axes = operand;
  for (Axis& axis : axes) axis.name = seen_name(axis.name, operand, attributes);
  return axes;
}

Axes parameter(const Axes& operand, const Attributes& attributes) {
  Axes axes = select(operand, attributes.per);
  axes.insert(axes.end(), attributes.to.begin(), attributes.to.end());
  for (const Name& name : attributes.from) {
    axes.push_back(operand[static_cast<size_t>(find_axis(operand, name))]);
    axes.back().name = seen_name(name, operand, attributes);
  }
  return axes;
}

Tensor evaluate(const Evaluation& e) {
  const Axes& operand = *e.operand_axes[0];
  return sum_of_products(e.node.axes, seen_by_parameter(operand, e.node.attributes), *e.operands[0],
                         parameter(operand, e.node.attributes), *e.parameter, e.values, e.flops);
}

Count flops(const OperandAxes& operands, const Node& node) {
  Count count = Size::constant(2) * elements(node.axes);
  for (const Name& name : node.attributes.from)
    count = count * (*operands[0])[static_cast<size_t>(find_axis(*operands[0], name))].size;
  return count;
}

Moments moments(const std::vector<Moments>&, const OperandAxes&, const Node&, const Values&) {
  return {0, 1};  // its parameter starts with just the deviation that makes this so
}

void propose(const Proposal& proposal, Random& random, std::vector<Attributes>& found) {
  AxisNames channels, windows;
  found.reserve(8);
  for (const Axis& axis : proposal.operand()) {
    if (axis.role == Role::kChannel) channels.push_back(axis.name);
    if (axis.role == Role::kWindow) windows.push_back(axis.name);
  }
  const auto offer = [&](AxisNames from, Axes to, AxisNames per) {
    Attributes attributes;
    attributes.from = std::move(from);
    attributes.to = std::move(to);
    attributes.per = std::move(per);
    found.push_back(std::move(attributes));
  };
  AxisNames all = channels;
  all.insert(all.end(), windows.begin(), windows.end());
  const Axis& wanted = proposal.signature.channel();
  const Axes made = {{proposal.fresh(), random.pick(proposal.channel_sizes), Role::kChannel}};
  if (!channels.empty()) {
    offer(all, {wanted}, {});
    offer(all, made, {});
    const Axis& own = proposal.operand()[static_cast<size_t>(find_axis(proposal.operand(), channels[0]))];
    if (channels.size() == 1 && own != wanted && random.chance(0.3)) offer(all, {own}, {});  // to be put back or added
    if (!proposal.partners.empty()) {  // weights for another value: exactly the axes that this one lacks
      Axes to;
      for (const Axis& axis : proposal.partners) {
        if (!has_axis(proposal.operand(), axis.name) && !has_axis(to, axis.name) && random.chance(0.7))
          to.push_back(axis);
      }
      if (!to.empty()) offer(all, to, {});
    }
  }
  if (!windows.empty()) {
    if (!channels.empty()) offer(windows, {}, channels);
    offer(windows, {}, {});
    if (windows.size() > 1 && !channels.empty()) offer({random.pick(windows)}, {}, channels);
  }
  if (channels.size() > 1) {  // one of the channel axes and all windows, the others as groups
    AxisNames from = {random.pick(channels)};
    AxisNames per;
    for (const Name& name : channels) {
      if (name != from[0]) per.push_back(name);
    }
    from.insert(from.end(), windows.begin(), windows.end());
    Size groups;
    for (const Axis& axis : select(proposal.operand(), per)) groups = groups * axis.size;
    offer(from, {{proposal.fresh(), wanted.size / groups, Role::kChannel}}, per);
    offer(from, made, random.chance(0.8) ? per : AxisNames{});
  }
}

int lower(const Node& node, const OperandAxes& operands, const std::vector<int>& inputs, CoreProgram& program) {
  int operand = inputs[0];
  const Axes renamed = seen_by_parameter(*operands[0], node.attributes);
  for (size_t i = 0; i < renamed.size(); ++i) {
    const Axis& before = (*operands[0])[i];
    if (before.name == renamed[i].name) continue;
    CoreOp view{CoreKind::kView,
                {operand},
                program.ops[static_cast<size_t>(operand)].axes,
                {before.name},
                {renamed[i]},
                {},
                "",
                "",
                ""};
    view.axes[i].name = renamed[i].name;
    operand = program.add(std::move(view));
  }
  CoreOp weight{CoreKind::kParameter, {}, parameter(*operands[0], node.attributes), {}, {}, {}, "", "", node.name};
  const int weights = program.add(std::move(weight));
  return program.add(core_op(CoreKind::kContract, node, {operand, weights}));
}

}  // namespace

const Primitive& fc_primitive() {
  static const Primitive primitive{
      .name = "fc",
      .summary = "contracts axes with a parameter, optionally one weight per index of other axes",
      .formula = "y[per, .., to] = sum over from of w[per, to, from] * x[per, .., from]",
      .grammar = kArrow | kPer,
      .properties = kLinear,
      .constraints = {{"fc C1", "at least one axis of the operand is contracted, each named once"},
                      {"fc C2", "the axes in `per` are axes of the operand that are not contracted"}},
      .example = "fc(y, [c] -> [k = K/g], per: [g])",
      .weight = 3.0,
      .initial = Initial::kNormal,
      .infer = infer,
      .evaluate = evaluate,
      .flops = flops,
      .parameter = parameter,
      .moments = moments,
      .propose = propose,
      .lower = lower,
  };
  return primitive;
}

}  // namespace canvas

// select: one position of an axis, which goes. With split, a part of the channels.
#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"

namespace canvas {

namespace {

Result<Axes> infer(Inference& in) {
  if (in.attributes.items.empty()) return Fault{"select C1", "at least one axis", "none", "write select(x, g: 0)"};
  if (auto fault = check_items(in.attributes.items, in.operand(), "select C1", in.variables)) return *fault;
  if (auto fault = check_indices(in.attributes.items, in.operand(), "select C2", in.variables)) return *fault;
  return without(in.operand(), axes_of(in.attributes.items));
}

Tensor evaluate(const Evaluation& e) {
  const Axes& operand = *e.operand_axes[0];
  std::vector<int64_t> source(operand.size(), 0);
  std::vector<size_t> place;  // of each axis of the result in the operand
  for (const Axis& axis : e.node.axes) place.push_back(static_cast<size_t>(find_axis(operand, axis.name)));
  for (const AxisItem& item : e.node.attributes.items)
    source[static_cast<size_t>(find_axis(operand, item.axis))] = item.offset;
  Tensor result(e.extents());
  size_t next = 0;
  for_each_index(result.shape, [&](const std::vector<int64_t>& index) {
    for (size_t i = 0; i < index.size(); ++i) source[place[i]] = index[i];
    result.data[next++] = e.operands[0]->at(source);
  });
  return result;
}

void propose(const Proposal& proposal, Random& random, std::vector<Attributes>& found) {
  for (const Axis& axis : proposal.operand()) {
    if (axis.role != Role::kChannel || !is_part(axis.size)) continue;
    Attributes attributes;
    attributes.items = {{axis.name, "", Size(), any_index(axis.size, random)}};
    found.push_back(std::move(attributes));
  }
}

int lower(const Node& node, const OperandAxes&, const std::vector<int>& inputs, CoreProgram& program) {
  CoreOp op = core_op(CoreKind::kPick, node, inputs);
  for (const AxisItem& item : node.attributes.items) op.items.push_back({item.axis, "", 1, 1, item.offset, Size()});
  return program.add(std::move(op));
}

}  // namespace

const Primitive& select_primitive() {
  static const Primitive primitive{
      .name = "select",
      .summary = "takes one position of an axis, which goes; positions count from 0",
      .formula = "y[.., ..] = x[.., n, ..]",
      .grammar = kItems | kIndices,
      .properties = kLinear | kView,
      .order = kDropsFirst,
      .constraints = {{"select C1", "every axis is one of the operand, named once"},
                      {"select C2", "the position is at least 0 and below the axis's size"}},
      .example = "select(y, g: 0)",
      .weight = 0.2,
      .infer = infer,
      .misfit = misfit_indices,
      .evaluate = evaluate,
      .moments = same_moments,
      .propose = propose,
      .lower = lower,
  };
  return primitive;
}

}  // namespace canvas

// update: a value with one position of an axis replaced by another value. With split, a partial convolution (Chen et al. 2023, arXiv
// 2303.03667): some channels are worked on, the others pass.
#include <algorithm>

#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"

namespace canvas {

namespace {

Result<Axes> infer(Inference& in) {
  const AxisItems& items = in.attributes.items;
  if (items.size() != 1)
    return Fault{"update C1", "one axis", std::to_string(items.size()), "write update(x, y, g: 0)"};
  if (auto fault = check_items(items, in.operand(0), "update C1", in.variables)) return *fault;
  if (auto fault = check_indices(items, in.operand(0), "update C2", in.variables)) return *fault;
  const Axes slice = without(in.operand(0), {items[0].axis});
  const Axes& given = in.operand(1);
  const Fault mismatch{"update C3", "a second operand of the axes " + to_string(slice, in.variables),
                       to_string(given, in.variables), ""};
  if (slice.size() != given.size()) return mismatch;
  for (const Axis& axis : slice) {
    const int found = find_axis(given, axis.name);
    if (found < 0) return mismatch;
    const Size& other = given[static_cast<size_t>(found)].size;
    if (other == axis.size) continue;
    if (auto fault = in.equations.equate(axis.size, other, "update C3", in.variables)) return *fault;
  }
  return in.operand(0);
}

Tensor evaluate(const Evaluation& e) {
  const Axes& axes = e.node.axes;
  const AxisItem& item = e.node.attributes.items[0];
  const auto along = static_cast<size_t>(find_axis(axes, item.axis));
  const std::vector<int64_t> strides = strides_for(axes, *e.operand_axes[1], e.values);  // 0 along the item's axis
  Tensor result = *e.operands[0];
  size_t next = 0;
  for_each_index(result.shape, [&](const std::vector<int64_t>& index) {
    int64_t place = 0;
    for (size_t i = 0; i < index.size(); ++i) place += index[i] * strides[i];
    if (index[along] == item.offset) result.data[next] = e.operands[1]->data[static_cast<size_t>(place)];
    ++next;
  });
  return result;
}

Moments moments(const std::vector<Moments>& operands, const OperandAxes& axes, const Node& node, const Values& values) {
  const double share = 1 / count_along(*axes[0], {node.attributes.items[0].axis}, values);
  return {share * operands[1].mean + (1 - share) * operands[0].mean,
          share * operands[1].square + (1 - share) * operands[0].square, std::min(operands[0].low, operands[1].low),
          std::max(operands[0].high, operands[1].high)};
}

void propose(const Proposal& proposal, Random& random, std::vector<Attributes>& found) {
  for (const Axis& axis : proposal.operand(0)) {
    if (axis.role != Role::kChannel || !is_part(axis.size)) continue;
    if (!same_axes(without(proposal.operand(0), {axis.name}), proposal.operand(1))) continue;
    Attributes attributes;
    attributes.items = {{axis.name, "", Size(), any_index(axis.size, random)}};
    found.push_back(std::move(attributes));
  }
}

int lower(const Node& node, const OperandAxes&, const std::vector<int>& inputs, CoreProgram& program) {
  CoreOp op = core_op(CoreKind::kPut, node, inputs);
  op.items = {{node.attributes.items[0].axis, "", 1, 1, node.attributes.items[0].offset, Size()}};
  return program.add(std::move(op));
}

}  // namespace

const Primitive& update_primitive() {
  static const Primitive primitive{
      .name = "update",
      .summary = "replaces one position of an axis by another value; positions count from 0",
      .formula = "z[.., i, ..] = y[.., ..] where i = n, else x[.., i, ..]",
      .arity = 2,
      .grammar = kItems | kIndices,
      .properties = kLinear | kKeepsSign,
      .constraints = {{"update C1", "one axis of the first operand is named"},
                      {"update C2", "the position is at least 0 and below the axis's size"},
                      {"update C3", "the second operand has the first one's other axes, of the same sizes"}},
      .example = "update(y, select(y, g: 1), g: 0)",
      .weight = 0.4,
      .infer = infer,
      .misfit = misfit_indices,
      .evaluate = evaluate,
      .moments = moments,
      .propose = propose,
      .lower = lower,
  };
  return primitive;
}

}  // namespace canvas

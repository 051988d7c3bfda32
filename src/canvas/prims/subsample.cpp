// subsample: keeps every n-th position of an axis, the first one included; by the stride s, extents round up. How a kernel strides.
#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"

namespace canvas {

namespace {

Result<Axes> infer(Inference& in) {
  Axes result = in.operand();
  if (in.attributes.items.empty())
    return Fault{"subsample C1", "at least one axis", "none", "write subsample(x, H: s, W: s)"};
  std::vector<std::string> seen;
  for (const AxisItem& item : in.attributes.items) {
    const int position = find_axis(result, item.axis);
    if (position < 0) return missing_axis("subsample C1", item.axis, in.operand(), in.variables);
    if (contains(seen, item.axis)) return Fault{"subsample C1", "each axis once", item.axis + " twice", ""};
    seen.push_back(item.axis);
    const bool whole = item.amount.is_constant() && item.amount.denominator() == 1 && item.amount.numerator() > 1;
    if (!whole && item.amount != Size::variable(kStride)) {
      return Fault{"subsample C2", "the factor must be s or an integer from 2", to_string(item.amount, in.variables),
                   ""};
    }
    Axis& axis = result[static_cast<size_t>(position)];
    axis.size = axis.size / item.amount;
  }
  return result;
}

Tensor evaluate(const Evaluation& e) {
  const Axes& operand = *e.operand_axes[0];
  std::vector<int64_t> factors(operand.size(), 1);
  for (const AxisItem& item : e.node.attributes.items) {
    factors[static_cast<size_t>(find_axis(operand, item.axis))] = item.amount.evaluate(e.values).value_or(1);
  }
  Tensor result(e.extents());
  size_t next = 0;
  for_each_index(result.shape, [&](const std::vector<int64_t>& index) {
    std::vector<int64_t> source = index;
    for (size_t axis = 0; axis < source.size(); ++axis) source[axis] *= factors[axis];
    result.data[next++] = e.operands[0]->at(source);
  });
  return result;
}

void propose(const Proposal& proposal, Random&, std::vector<Attributes>& found) {
  Attributes attributes;
  for (const Axis& axis : proposal.operand()) {
    const int wanted = find_axis(proposal.signature.to, axis.name);
    if (wanted < 0 || axis.role != Role::kSpatial) continue;
    const Size factor = axis.size / proposal.signature.to[static_cast<size_t>(wanted)].size;
    if (factor == Size::variable(kStride)) attributes.items.push_back({axis.name, "", factor});
  }
  if (!attributes.items.empty()) found.push_back(std::move(attributes));
}

int lower(const Node& node, const std::vector<const Axes*>&, const std::vector<int>& inputs, CoreProgram& program) {
  CoreOp op = core_op(CoreKind::kIndex, node, inputs);
  for (const AxisItem& item : node.attributes.items) op.items.push_back({item.axis, "", 1, 1, 0, item.amount});
  return program.add(std::move(op));
}

}  // namespace

const Primitive& subsample_primitive() {
  static const Primitive primitive{
      .name = "subsample",
      .summary = "keeps every n-th position of an axis",
      .formula = "y[.., i, ..] = x[.., n*i, ..]",
      .grammar = kItems,
      .properties = kLinear | kView,
      .order = kDropsFirst,
      .constraints = {{"subsample C1", "every axis is one of the operand, named once"},
                      {"subsample C2", "the factor is s or an integer from 2"}},
      .infer = infer,
      .evaluate = evaluate,
      .moments = same_moments,
      .propose = propose,
      .lower = lower,
  };
  return primitive;
}

}  // namespace canvas

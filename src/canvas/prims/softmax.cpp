// softmax: exponentials normalised to sum one over chosen axes. Attention weights.
#include <algorithm>
#include <cmath>
#include <limits>

#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"

namespace canvas {

namespace {

Result<Axes> infer(Inference& in) {
  if (in.attributes.from.empty()) return Fault{"softmax C1", "at least one axis", "none", "write softmax(x, [h, w])"};
  if (auto fault = put_in_order(in.attributes.from, in.operand(), "softmax C1", in.variables)) return *fault;
  return in.operand();
}

Tensor evaluate(const Evaluation& e) {
  const Axes& operand = *e.operand_axes[0];
  const Axes kept = without(operand, e.node.attributes.from);
  Tensor largest(extents_of(kept, e.values), -std::numeric_limits<double>::infinity());
  Tensor total(largest.shape);
  Tensor result(e.extents());
  const std::vector<double>& x = e.operands[0]->data;
  const std::array strides = {strides_for(operand, operand, e.values), strides_for(operand, kept, e.values)};
  const auto each = [&](auto visit) {
    walk(result.shape, strides, [&](const std::array<size_t, 2>& at) { visit(at[0], at[1]); });
  };
  each([&](size_t i, size_t group) {
    largest.data[group] = x[i] > largest.data[group] || std::isnan(x[i]) ? x[i] : largest.data[group];
  });
  each([&](size_t i, size_t group) { total.data[group] += std::exp(x[i] - largest.data[group]); });
  each([&](size_t i, size_t group) { result.data[i] = std::exp(x[i] - largest.data[group]) / total.data[group]; });
  e.flops += 5 * result.size();  // maximum, difference, exponential, sum, quotient
  return result;
}

Count flops(const OperandAxes&, const Node& node) { return Size::constant(5) * elements(node.axes); }

Moments moments(const std::vector<Moments>& operands, const OperandAxes& axes, const Node& node, const Values& values) {
  const double count = count_along(*axes[0], node.attributes.from, values);
  Moments out;  // of normal logits of variance v: the square of a log-normal share is exp(v) / n^2, at most 1 / n
  out.mean = 1 / count;
  out.square = std::min(std::exp(operands[0].variance()) / count, 1.0) / count;
  out.low = 0;
  out.high = 1;
  return out;
}

void propose(const Proposal& proposal, Random& random, std::vector<Attributes>& found) {
  AxisNames windows, channels;
  for (const Axis& axis : proposal.operand()) {
    if (axis.role == Role::kWindow || (axis.role == Role::kChannel && axis.size.is_constant()))
      windows.push_back(axis.name);
    else if (axis.role == Role::kChannel)
      channels.push_back(axis.name);
  }
  Attributes attributes;
  if (!windows.empty()) {
    attributes.from = windows;
    found.push_back(attributes);
  }
  if (!channels.empty()) {
    attributes.from = {random.pick(channels)};
    found.push_back(attributes);
  }
}

int lower(const Node& node, const OperandAxes&, const std::vector<int>& inputs, CoreProgram& program) {
  CoreOp op = core_op(CoreKind::kSoftmax, node, inputs);
  op.from = node.attributes.from;
  return program.add(std::move(op));
}

}  // namespace

const Primitive& softmax_primitive() {
  static const Primitive primitive{
      .name = "softmax",
      .summary = "exponentials normalised to sum one over axes",
      .formula = "y[.., i, ..] = exp(x[.., i, ..] - m) / sum over j of exp(x[.., j, ..] - m), m the maximum",
      .grammar = kFrom,
      .properties = kNotNegative | kKeepsAxes,
      .shift_free_modes = 1,
      .constraints = {{"softmax C1", "at least one axis, each of the operand and named once"}},
      .example = "softmax(u, [h, w])",
      .weight = 0.1,
      .infer = infer,
      .evaluate = evaluate,
      .flops = flops,
      .moments = moments,
      .propose = propose,
      .lower = lower,
  };
  return primitive;
}

}  // namespace canvas

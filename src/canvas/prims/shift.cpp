// shift: moves a value along axes by whole steps, zero outside. With `over`, each part of a channel axis moves towards another
// neighbour of a k x k window, spread evenly (the shift convolution of Wu et al. 2018, arXiv 1711.08141).
#include <cstdlib>

#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"

namespace canvas {

namespace {

constexpr int kLargestOffset = 1024;

Result<Axes> infer(Inference& in) {
  const Attributes& attributes = in.attributes;
  if (attributes.items.empty()) return Fault{"shift C1", "at least one axis", "none", "write shift(x, H: 1)"};
  const bool neighbourhood = !attributes.per.empty();
  if (neighbourhood && attributes.items.size() > 3) {
    return Fault{"shift C4", "a neighbourhood along at most three axes", std::to_string(attributes.items.size()), ""};
  }
  if (attributes.per.size() > 1)
    return Fault{"shift C3", "one axis to spread over", std::to_string(attributes.per.size()), ""};
  if (neighbourhood && !has_axis(in.operand(), attributes.per[0])) {
    return missing_axis("shift C3", attributes.per[0], in.operand(), in.variables);
  }
  if (auto fault = check_items(attributes.items, in.operand(), "shift C1", in.variables)) return *fault;
  for (const AxisItem& item : attributes.items) {
    if (!neighbourhood && (item.offset == 0 || std::abs(item.offset) > kLargestOffset)) {
      return Fault{"shift C2", "an offset other than 0, at most " + std::to_string(kLargestOffset),
                   std::to_string(item.offset), ""};
    }
    if (!neighbourhood) continue;
    if (item.axis == attributes.per[0]) {
      return Fault{"shift C3", "the axis to spread over is not shifted itself", item.axis, ""};
    }
    const Size& window = item.amount;
    if (!window.is_constant() || window.denominator() != 1 || window.numerator() % 2 == 0 || window.numerator() > 63) {
      return Fault{"shift C4", "the neighbourhood must be odd and at most 63", to_string(window, in.variables),
                   "use 3 or 5"};
    }
  }
  return in.operand();
}

Tensor evaluate(const Evaluation& e) {
  const Axes& operand = *e.operand_axes[0];
  const Attributes& attributes = e.node.attributes;
  int64_t neighbours = 1;
  for (const AxisItem& item : attributes.items) neighbours *= item.amount.numerator();
  Tensor result(e.extents());
  size_t next = 0;
  for_each_index(result.shape, [&](const std::vector<int64_t>& index) {
    std::vector<int64_t> source = index;
    bool inside = true;
    int64_t rest = 0;
    if (!attributes.per.empty()) {
      const auto over = static_cast<size_t>(find_axis(operand, attributes.per[0]));
      rest = index[over] * neighbours / result.shape[over];
    }
    for (size_t i = attributes.items.size(); i-- > 0;) {  // the last item's neighbour changes fastest
      const AxisItem& item = attributes.items[i];
      const auto axis = static_cast<size_t>(find_axis(operand, item.axis));
      const int64_t window = item.amount.numerator();
      source[axis] += attributes.per.empty() ? item.offset : rest % window - window / 2;
      rest /= window;
      inside = inside && source[axis] >= 0 && source[axis] < result.shape[axis];
    }
    result.data[next++] = inside ? e.operands[0]->at(source) : 0.0;
  });
  return result;
}

void propose(const Proposal& proposal, Random& random, std::vector<Attributes>& found) {
  const Axes& axes = proposal.operand();
  Attributes neighbourhood;
  AxisNames channels;
  for (const Axis& axis : axes) {
    if (axis.role == Role::kSpatial) neighbourhood.items.push_back({axis.name, "", Size::constant(3)});
    if (axis.role == Role::kChannel && !axis.size.is_constant()) channels.push_back(axis.name);
  }
  if (neighbourhood.items.empty()) return;
  const AxisItem& one = random.pick(neighbourhood.items);
  Attributes offset;
  offset.items = {{one.axis, "", Size(), random.chance(0.5) ? 1 : -1}};
  found.push_back(offset);
  if (channels.empty()) return;
  neighbourhood.per = {random.pick(channels)};
  found.push_back(neighbourhood);
  neighbourhood.items = {one};
  found.push_back(neighbourhood);
}

int lower(const Node& node, const OperandAxes&, const std::vector<int>& inputs, CoreProgram& program) {
  CoreOp op = core_op(CoreKind::kIndex, node, inputs);
  for (const AxisItem& item : node.attributes.items) {
    op.items.push_back({item.axis, "", item.amount.numerator(), 1, item.offset, Size()});
  }
  if (!node.attributes.per.empty()) op.over = node.attributes.per[0];
  return program.add(std::move(op));
}

}  // namespace

const Primitive& shift_primitive() {
  static const Primitive primitive{
      .name = "shift",
      .summary = "moves a value by an offset, or each part of a channel axis towards another neighbour",
      .formula = "y[.., i, ..] = x[.., i + offset, ..]; with over: offset = c*P/|c| taken apart over the P neighbours",
      .grammar = kItems | kOffsets | kPer,
      .properties = kLinear | kView | kOrdered | kPads | kKeepsAxes,
      .order = kMoves,
      .per_key = "over",
      .constraints = {{"shift C1", "every axis is one of the operand, named once"},
                      {"shift C2", "an offset is not 0 and at most 1024"},
                      {"shift C3", "`over` names one axis of the operand that is not shifted"},
                      {"shift C4", "a neighbourhood is odd and at most 63, along at most three axes"}},
      .example = "shift(x, H: 3, W: 3, over: [C])",
      .weight = 0.7,
      .infer = infer,
      .evaluate = evaluate,
      .moments = same_moments,
      .propose = propose,
      .lower = lower,
  };
  return primitive;
}

}  // namespace canvas

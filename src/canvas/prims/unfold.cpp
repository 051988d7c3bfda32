// unfold: gives every position its neighbourhood along chosen axes, as new window axes; zero outside. What a convolution reads.
#include <cctype>

#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"

namespace canvas {

namespace {

constexpr int kLargestReach = 1024;

Result<Axes> infer(Inference& in) {
  Axes result;
  result.reserve(in.operand().size() + in.attributes.items.size());
  result = in.operand();
  if (in.attributes.items.empty())
    return Fault{"unfold C1", "at least one axis", "none", "write unfold(x, H: 3, W: 3)"};
  if (auto fault = check_items(in.attributes.items, in.operand(), "unfold C1", in.variables)) return *fault;
  for (const AxisItem& item : in.attributes.items) {
    const Size& window = item.amount;
    if (!window.is_constant() || window.denominator() != 1 || window.numerator() % 2 == 0) {
      return Fault{"unfold C2", "the window must be odd", to_string(window, in.variables), "use 3 or 5"};
    }
    if (in.attributes.dilation < 1 || window.numerator() > kLargestReach / in.attributes.dilation) {
      return Fault{"unfold C3",
                   "dilation at least 1 and window times dilation at most " + std::to_string(kLargestReach),
                   to_string(window, in.variables) + " and " + std::to_string(in.attributes.dilation), ""};
    }
    result.push_back({item.made, window, Role::kWindow});
  }
  return result;
}

Tensor evaluate(const Evaluation& e) {
  const Axes& operand = *e.operand_axes[0];
  const size_t rank = operand.size();
  Tensor result(e.extents());
  size_t next = 0;
  std::vector<int64_t> source(rank);
  for_each_index(result.shape, [&](const std::vector<int64_t>& index) {
    std::copy(index.begin(), index.begin() + static_cast<std::ptrdiff_t>(rank), source.begin());
    bool inside = true;
    for (size_t i = 0; i < e.node.attributes.items.size(); ++i) {
      const auto axis = static_cast<size_t>(find_axis(operand, e.node.attributes.items[i].axis));
      const int64_t window = result.shape[rank + i];
      source[axis] += e.node.attributes.dilation * (index[rank + i] - window / 2);
      inside = inside && source[axis] >= 0 && source[axis] < e.operands[0]->shape[axis];
    }
    result.data[next++] = inside ? e.operands[0]->at(source) : 0.0;
  });
  return result;
}

void propose(const Proposal& proposal, Random& random, std::vector<Attributes>& found) {
  AxisItems all;
  const Axes& axes = proposal.operand();
  for (const Axis& axis : axes) {
    if (axis.role == Role::kWindow) return;  // windows of windows are larger windows, at many times the cost
    if (axis.role != Role::kSpatial) continue;
    std::string made = axis.name;
    for (char& letter : made) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    all.push_back(
        {axis.name, has_axis(axes, made) ? proposal.fresh(static_cast<int>(all.size())) : Name(made), Size()});
  }
  if (all.empty()) return;
  const bool large = all.size() < 3 && random.chance(0.08);  // in three dimensions 343 values
  const int64_t window = large ? 7 : random.chance(0.8) ? 3 : 5;
  const int dilated = window == 3 ? 2 : 3;
  for (AxisItem& item : all) item.amount = Size::constant(window);
  const auto offer = [&](AxisItems items) {
    Attributes attributes;
    attributes.items = std::move(items);
    attributes.dilation = window != 5 && random.chance(0.15) ? dilated : 1;
    found.push_back(std::move(attributes));
  };
  offer(all);
  if (all.size() > 1) {
    for (const AxisItem& item : all) offer({item});
  }
}

int lower(const Node& node, const OperandAxes&, const std::vector<int>& inputs, CoreProgram& program) {
  CoreOp op = core_op(CoreKind::kIndex, node, inputs);
  for (const AxisItem& item : node.attributes.items) {
    op.items.push_back({item.axis, item.made, item.amount.numerator(), node.attributes.dilation, 0, Size()});
  }
  return program.add(std::move(op));
}

}  // namespace

const Primitive& unfold_primitive() {
  static const Primitive primitive{
      .name = "unfold",
      .summary = "adds the neighbourhood of every position as window axes, zero outside",
      .formula = "y[.., i, .., w] = x[.., i + dilation*(w - |w|/2), ..]",
      .grammar = kItems | kMade | kDilation,
      .properties = kLinear | kView | kPads,
      .order = kCopiesLast,
      .constraints = {{"unfold C1", "every axis is one of the operand, named once"},
                      {"unfold C2", "the window is odd"},
                      {"unfold C3", "the dilation is at least 1 and the reach at most 1024"}},
      .example = "unfold(x, H: 3, W: 5, dilation: 2)",
      .weight = 2.5,
      .infer = infer,
      .evaluate = evaluate,
      .moments = same_moments,
      .propose = propose,
      .lower = lower,
  };
  return primitive;
}

}  // namespace canvas

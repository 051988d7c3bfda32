// fold: reduces axes by sum, mean or maximum. Pooling, global or over a window.
#include <algorithm>
#include <cmath>
#include <limits>

#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"

namespace canvas {

namespace {

enum Mode { kSum, kMean, kMax };

Result<Axes> infer(Inference& in) {
  if (in.attributes.from.empty()) return Fault{"fold C1", "at least one axis", "none", "write fold(x, mean: [h, w])"};
  if (auto fault = put_in_order(in.attributes.from, in.operand(), "fold C1", in.variables)) return *fault;
  return without(in.operand(), in.attributes.from);
}

Tensor evaluate(const Evaluation& e) {
  const Axes& operand = *e.operand_axes[0];
  const bool is_max = e.node.attributes.mode == kMax;
  Tensor result(e.extents(), is_max ? -std::numeric_limits<double>::infinity() : 0.0);
  const std::array strides = {strides_for(operand, operand, e.values), strides_for(operand, e.node.axes, e.values)};
  walk(e.operands[0]->shape, strides, [&](const std::array<size_t, 2>& at) {
    const double value = e.operands[0]->data[at[0]];
    double& total = result.data[at[1]];
    total = !is_max ? total + value : (value > total || std::isnan(value) ? value : total);
    ++e.flops;
  });
  if (e.node.attributes.mode == kMean) {
    const double count = static_cast<double>(e.operands[0]->size()) / static_cast<double>(result.size());
    for (double& value : result.data) value /= count;
  }
  return result;
}

Count flops(const OperandAxes& operands, const Node&) { return elements(*operands[0]); }

Moments moments(const std::vector<Moments>& operands, const OperandAxes& axes, const Node& node, const Values& values) {
  const double count = count_along(*axes[0], node.attributes.from, values);
  const Moments& in = operands[0];
  const double scale = node.attributes.mode == kSum ? count : 1.0;
  Moments out{0, 0, scale * in.low, scale * in.high};
  if (node.attributes.mode == kMax) {
    // Expectation of the maximum of n normal values, to first order: sqrt(2 ln n) less its slowly falling correction.
    const double root = std::sqrt(2 * std::log(std::max(count, 2.0)));
    const double rise = count < 2 ? 0 : std::max(0.56, root - (std::log(root * root / 2) + 2.53) / (2 * root));
    out.mean = in.mean + rise * std::sqrt(in.variance());
    out.square = out.mean * out.mean + in.variance() / (1 + root * root / 2);
    return out;
  }
  // Neighbouring activations of real images are alike: beyond 16 values the mean stops losing variance.
  const double independent = std::min(count, 16.0);
  out.mean = scale * in.mean;
  out.square = out.mean * out.mean + scale * scale * in.variance() / independent;
  return out;
}

void propose(const Proposal& proposal, Random& random, std::vector<Attributes>& found) {
  AxisNames windows, spatial, channels;
  for (const Axis& axis : proposal.operand()) {
    if (axis.role == Role::kWindow) windows.push_back(axis.name);
    if (axis.role == Role::kSpatial) spatial.push_back(axis.name);
    if (axis.role == Role::kChannel) channels.push_back(axis.name);
  }
  const auto offer = [&](AxisNames axes, int mode) {
    Attributes attributes;
    attributes.from = std::move(axes);
    attributes.mode = mode;
    found.push_back(std::move(attributes));
  };
  if (!windows.empty()) offer(windows, random.chance(0.3) ? kMax : random.chance(0.5) ? kSum : kMean);
  if (windows.empty() && !spatial.empty()) {
    offer(spatial, random.chance(0.2) ? kMax : kMean);
    if (spatial.size() > 1) offer({random.pick(spatial)}, kMean);
  }
  if (channels.size() > 1)
    offer({random.pick(channels)}, random.chance(0.2) ? kMax : random.chance(0.5) ? kSum : kMean);
}

int lower(const Node& node, const OperandAxes&, const std::vector<int>& inputs, CoreProgram& program) {
  CoreOp op = core_op(CoreKind::kReduce, node, inputs);
  op.from = node.attributes.from;
  op.function = node.primitive->modes[static_cast<size_t>(node.attributes.mode)];
  return program.add(std::move(op));
}

}  // namespace

const Primitive& fold_primitive() {
  static const Primitive primitive{
      .name = "fold",
      .summary = "reduces axes by sum, mean or max",
      .formula = "y[..] = sum (mean, max) of x[.., i, ..] over i",
      .grammar = kFrom | kModes,
      .properties = kKeepsZero | kKeepsSign | kNests,
      .linear_modes = 1u << kSum | 1u << kMean,
      .modes = {"sum", "mean", "max"},
      .constraints = {{"fold C1", "at least one axis, each of the operand and named once"}},
      .example = "fold(x, mean: [H, W])",
      .weight = 0.5,
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

// norm: brings a value to a standard scale along axes. Layer normalisation (Ba et al. 2016, arXiv 1607.06450) and RMS normalisation (Zhang
// and Sennrich 2019, arXiv 1910.07467) as PyTorch's layer_norm and rms_norm without weights; l1 and l2 as its normalize. The affine part
// is scale and bias.
#include <cmath>

#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"
#include "canvas/prims/safe.h"

namespace canvas {

namespace {

enum Mode { kLayer, kRms, kL1, kL2 };

constexpr double kHalfNormal = 0.7978845608028654;  // mean of |z| for a standard normal z

Result<Axes> infer(Inference& in) {
  if (in.attributes.from.empty()) return Fault{"norm C1", "at least one axis", "none", "write norm(x, layer: [C])"};
  if (auto fault = put_in_order(in.attributes.from, in.operand(), "norm C1", in.variables)) return *fault;
  return in.operand();
}

Tensor evaluate(const Evaluation& e) {
  const Axes& operand = *e.operand_axes[0];
  const int mode = e.node.attributes.mode;
  const Axes kept = without(operand, e.node.attributes.from);
  const double count = count_along(operand, e.node.attributes.from, e.values);
  Tensor result = *e.operands[0];
  const std::array strides = {strides_for(operand, operand, e.values), strides_for(operand, kept, e.values)};
  const auto each = [&](auto visit) {
    walk(result.shape, strides, [&](const std::array<size_t, 2>& at) { visit(result.data[at[0]], at[1]); });
  };
  if (mode == kLayer) {
    Tensor mean(extents_of(kept, e.values));
    each([&](double x, size_t group) { mean.data[group] += x / count; });
    each([&](double& x, size_t group) { x -= mean.data[group]; });
  }
  Tensor total(extents_of(kept, e.values));
  each([&](double x, size_t group) { total.data[group] += mode == kL1 ? std::fabs(x) : x * x; });
  for (double& value : total.data) value = mode == kL1 ? value * value : mode == kL2 ? value : value / count;
  each([&](double& x, size_t group) { x = safe::norm(x, total.data[group]); });
  e.flops += (mode == kLayer ? 5 : 3) * result.size();  // mean, difference; square or modulus, sum, product
  return result;
}

Count flops(const OperandAxes&, const Node& node) {
  return Size::constant(node.attributes.mode == kLayer ? 5 : 3) * elements(node.axes);
}

Moments moments(const std::vector<Moments>& operands, const OperandAxes& axes, const Node& node, const Values& values) {
  const double count = count_along(*axes[0], node.attributes.from, values);
  const Moments& in = operands[0];
  const int mode = node.attributes.mode;
  if (mode == kLayer) {
    const double left = in.variance() * (1 - 1 / count);  // the mean takes its share
    return {0, left / (left + safe::kUnderRoot)};
  }
  const double modulus = std::max(std::fabs(in.mean), kHalfNormal * std::sqrt(in.variance()));
  const double norm = mode == kRms ? in.square : mode == kL2 ? count * in.square : count * modulus * count * modulus;
  const double most = mode == kRms ? std::sqrt(count) : 1;  // of one element beside zeros
  return {safe::norm(in.mean, norm), in.square / (norm + safe::kUnderRoot), in.low >= 0 ? 0 : -most,
          in.high <= 0 ? 0 : most};
}

void propose(const Proposal& proposal, Random& random, std::vector<Attributes>& found) {
  Attributes attributes;
  attributes.mode = static_cast<int>(random.weighted({4, 4, 1, 2}));
  for (const Axis& axis : proposal.operand()) {
    if (axis.role == Role::kChannel) attributes.from.push_back(axis.name);
  }
  if (attributes.from.empty()) return;
  found.push_back(attributes);
  if (attributes.from.size() == 1) return;
  attributes.from = {random.pick(attributes.from)};
  found.push_back(attributes);
}

int lower(const Node& node, const OperandAxes& operands, const std::vector<int>& inputs, CoreProgram& program) {
  const int mode = node.attributes.mode;
  const Axes kept = without(*operands[0], node.attributes.from);
  const auto reduce = [&](int of, const char* function) {
    CoreOp op = core_step(CoreKind::kReduce, {of}, kept);
    op.from = node.attributes.from;
    op.function = function;
    return program.add(std::move(op));
  };
  const auto map = [&](std::vector<int> of, const Primitive& function, const Axes& axes) {
    CoreOp op = core_step(CoreKind::kMap, std::move(of), axes);
    apply(op, function);
    return program.add(std::move(op));
  };
  int x = inputs[0];
  if (mode == kLayer) x = map({x, reduce(x, "mean")}, sub_primitive(), node.axes);
  const Primitive& measure = mode == kL1 ? abs_primitive() : square_primitive();
  int total = reduce(map({x}, measure, node.axes), mode == kL1 || mode == kL2 ? "sum" : "mean");
  if (mode == kL1) total = map({total}, square_primitive(), kept);
  CoreOp last = core_op(CoreKind::kMap, node, {x, total});
  last.function = "norm";
  last.scalar.torch = safe::kNorm.torch;
  return program.add(std::move(last));
}

}  // namespace

const Primitive& norm_primitive() {
  static const Primitive primitive{
      .name = "norm",
      .summary = "brings a value to a standard scale along axes",
      .formula =
          "y = x / sqrt(v + 0.000001); layer: x less its mean, v the mean of squares; rms: v the mean of squares; "
          "l1: v the squared sum of |x|; l2: v the sum of squares",
      .grammar = kFrom | kModes,
      .properties = kKeepsZero | kKeepsAxes,
      .shift_free_modes = 1u << kLayer,
      .scale_free_modes = 1u << kLayer | 1u << kRms | 1u << kL1 | 1u << kL2,
      .modes = {"layer", "rms", "l1", "l2"},
      .constraints = {{"norm C1", "at least one axis, each of the operand and named once"}},
      .example = "norm(x, layer: [C])",
      .weight = 0.2,
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

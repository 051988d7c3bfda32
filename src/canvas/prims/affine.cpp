// scale and bias: one trained factor or addend per index of the listed axes.
#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"

namespace canvas {

namespace {

Result<Axes> infer(Inference& in, const char* label, const char* example) {
  if (in.attributes.from.empty()) return Fault{label, "at least one axis", "none", example};
  if (auto fault = put_in_order(in.attributes.from, in.operand(), label, in.variables)) return *fault;
  return in.operand();
}

Result<Axes> infer_scale(Inference& in) { return infer(in, "scale C1", "write scale(x, [C])"); }
Result<Axes> infer_bias(Inference& in) { return infer(in, "bias C1", "write bias(x, [C])"); }

Axes parameter(const Axes& operand, const Attributes& attributes) { return select(operand, attributes.from); }

template <class Function>
Tensor evaluate(const Evaluation& e, Function function) {
  const Axes& operand = *e.operand_axes[0];
  Tensor result(e.extents());
  const std::array strides = {strides_for(operand, operand, e.values),
                              strides_for(operand, parameter(operand, e.node.attributes), e.values)};
  walk(result.shape, strides, [&](const std::array<size_t, 2>& at) {
    result.data[at[0]] = function(e.operands[0]->data[at[0]], e.parameter->data[at[1]]);
    ++e.flops;
  });
  return result;
}

Tensor evaluate_scale(const Evaluation& e) {
  return evaluate(e, [](double x, double w) { return x * w; });
}
Tensor evaluate_bias(const Evaluation& e) {
  return evaluate(e, [](double x, double w) { return x + w; });
}

void propose(const Proposal& proposal, Random&, std::vector<Attributes>& found) {
  Attributes attributes;
  for (const Axis& axis : proposal.operand()) {
    if (axis.role != Role::kSpatial) attributes.from.push_back(axis.name);
  }
  if (!attributes.from.empty()) found.push_back(std::move(attributes));
}

int lower(const Node& node, const OperandAxes& operands, const std::vector<int>& inputs, CoreProgram& program) {
  CoreOp weight{CoreKind::kParameter, {}, parameter(*operands[0], node.attributes), {}, {}, {}, "", "", node.name};
  const int weights = program.add(std::move(weight));
  CoreOp map = core_op(CoreKind::kMap, node, {inputs[0], weights});
  apply(map, node.primitive->initial == Initial::kOne ? mul_primitive() : add_primitive());
  return program.add(std::move(map));
}

}  // namespace

const Primitive& scale_primitive() {
  static const Primitive primitive{
      .name = "scale",
      .summary = "multiplies by a parameter along axes",
      .formula = "y[.., i, ..] = w[i] * x[.., i, ..]",
      .grammar = kFrom,
      .properties = kLinear | kKeepsAxes,
      .constraints = {{"scale C1", "at least one axis, each of the operand and named once"}},
      .example = "scale(x, [C])",
      .weight = 0.1,
      .initial = Initial::kOne,
      .infer = infer_scale,
      .evaluate = evaluate_scale,
      .flops = flop_per_element,
      .parameter = parameter,
      .moments = same_moments,
      .propose = propose,
      .lower = lower,
  };
  return primitive;
}

const Primitive& bias_primitive() {
  static const Primitive primitive{
      .name = "bias",
      .summary = "adds a parameter along axes",
      .formula = "y[.., i, ..] = x[.., i, ..] + b[i]",
      .grammar = kFrom,
      .properties = kKeepsAxes,
      .constraints = {{"bias C1", "at least one axis, each of the operand and named once"}},
      .example = "bias(x, [C])",
      .weight = 0.1,
      .initial = Initial::kZero,
      .infer = infer_bias,
      .evaluate = evaluate_bias,
      .flops = flop_per_element,
      .parameter = parameter,
      .moments = same_moments,
      .propose = propose,
      .lower = lower,
  };
  return primitive;
}

}  // namespace canvas

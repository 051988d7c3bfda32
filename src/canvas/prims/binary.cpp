// add, sub, mul: two values, element by element, broadcast by axis name. Residuals and gates.
#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"

namespace canvas {

namespace {

Result<Axes> infer_add(Inference& in) { return broadcast(in, "add C1"); }
Result<Axes> infer_sub(Inference& in) { return broadcast(in, "sub C1"); }
Result<Axes> infer_mul(Inference& in) { return broadcast(in, "mul C1"); }

template <class Function>
Tensor evaluate(const Evaluation& e, Function function) {
  Tensor result(e.extents());
  const std::array strides = {strides_for(e.node.axes, *e.operand_axes[0], e.values),
                              strides_for(e.node.axes, *e.operand_axes[1], e.values)};
  size_t next = 0;
  walk(result.shape, strides, [&](const std::array<size_t, 2>& at) {
    result.data[next++] = function(e.operands[0]->data[at[0]], e.operands[1]->data[at[1]]);
    ++e.flops;
  });
  return result;
}

Tensor evaluate_add(const Evaluation& e) {
  return evaluate(e, [](double x, double y) { return x + y; });
}
Tensor evaluate_sub(const Evaluation& e) {
  return evaluate(e, [](double x, double y) { return x - y; });
}
Tensor evaluate_mul(const Evaluation& e) {
  return evaluate(e, [](double x, double y) { return x * y; });
}

// The two operands are taken as independent.
Moments moments_of_sum(const Moments& x, const Moments& y, double sign) {
  const double mean = x.mean + sign * y.mean;
  return {mean, x.variance() + y.variance() + mean * mean};
}

Moments moments_add(const std::vector<Moments>& in, const std::vector<const Axes*>&, const Node&, const Values&) {
  return moments_of_sum(in[0], in[1], 1);
}
Moments moments_sub(const std::vector<Moments>& in, const std::vector<const Axes*>&, const Node&, const Values&) {
  return moments_of_sum(in[0], in[1], -1);
}
Moments moments_mul(const std::vector<Moments>& in, const std::vector<const Axes*>&, const Node& node, const Values&) {
  if (node.inputs[0] != node.inputs[1]) return {in[0].mean * in[1].mean, in[0].square * in[1].square};
  const double v = in[0].variance(), m = in[0].mean;  // the square of a normal value
  return {in[0].square, m * m * m * m + 6 * m * m * v + 3 * v * v};
}

void propose(const Proposal&, Random&, std::vector<Attributes>& found) { found.emplace_back(); }

int lower(const Node& node, const std::vector<const Axes*>&, const std::vector<int>& inputs, CoreProgram& program) {
  CoreOp map = core_op(CoreKind::kMap, node, inputs);
  map.function = node.primitive->name;
  return program.add(std::move(map));
}

Primitive binary(const char* name, const char* summary, const char* formula, unsigned properties, const char* label) {
  return Primitive{
      .name = name,
      .summary = summary,
      .formula = formula,
      .arity = 2,
      .properties = kPointwise | properties,
      .constraints = {{label, "axes of the same name have the same size"}},
      .flops = flop_per_element,
      .propose = propose,
      .lower = lower,
  };
}

}  // namespace

const Primitive& add_primitive() {
  static const Primitive primitive = [] {
    Primitive p = binary("add", "the sum of two values", "z = x + y", kLinear | kCommutative, "add C1");
    p.infer = infer_add;
    p.evaluate = evaluate_add;
    p.moments = moments_add;
    return p;
  }();
  return primitive;
}

const Primitive& sub_primitive() {
  static const Primitive primitive = [] {
    Primitive p = binary("sub", "the difference of two values", "z = x - y", kLinear, "sub C1");
    p.infer = infer_sub;
    p.evaluate = evaluate_sub;
    p.moments = moments_sub;
    return p;
  }();
  return primitive;
}

const Primitive& mul_primitive() {
  static const Primitive primitive = [] {
    Primitive p = binary("mul", "the product of two values", "z = x * y", kCommutative, "mul C1");
    p.infer = infer_mul;
    p.evaluate = evaluate_mul;
    p.moments = moments_mul;
    return p;
  }();
  return primitive;
}

}  // namespace canvas

// add, sub, mul, div, max, min: two values, element by element, broadcast by axis name. Residuals and gates. The table at the end is the
// whole list.
#include <algorithm>
#include <cmath>

#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"
#include "canvas/prims/safe.h"

namespace canvas {

namespace {

using Function = double (*)(double, double);

double add(double x, double y) { return x + y; }
double subtract(double x, double y) { return x - y; }
double multiply(double x, double y) { return x * y; }
double larger(double x, double y) { return x > y || std::isnan(x) ? x : y; }  // NaN stays NaN
double smaller(double x, double y) { return x < y || std::isnan(x) ? x : y; }

template <Function function>
Tensor evaluate(const Evaluation& e) {
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

// Moments of the result for two normal operands, which are taken as independent.
using MomentsOf = Moments (*)(const Moments& x, const Moments& y);

Moments moments_add(const Moments& x, const Moments& y) {
  const double mean = x.mean + y.mean;
  return {mean, x.variance() + y.variance() + mean * mean, x.low + y.low, x.high + y.high};
}
Moments negated(const Moments& x) { return {-x.mean, x.square, -x.high, -x.low}; }
Moments moments_sub(const Moments& x, const Moments& y) { return moments_add(x, negated(y)); }
Moments moments_mul(const Moments& x, const Moments& y) {
  Moments out{x.mean * y.mean, x.square * y.square};
  bound_product(out, x, y);
  return out;
}
Moments moments_div(const Moments& x, const Moments& y) {
  Moments inverse = moments_of([](double z) { return safe::div(1, z); }, y, 4096);
  inverse.low = y.low >= 0 ? 0 : -safe::kLargestInverse;
  inverse.high = y.high <= 0 ? 0 : safe::kLargestInverse;
  return moments_mul(x, inverse);
}
// Clark 1961, The greatest of a finite set of random variables.
Moments moments_max(const Moments& x, const Moments& y) {
  const double spread = std::sqrt(std::max(x.variance() + y.variance(), 1e-12));
  const double gap = (x.mean - y.mean) / spread;
  const double above = 0.5 * std::erfc(-gap / std::sqrt(2.0));  // probability that x is the larger
  const double density = 0.3989422804014327 * std::exp(-0.5 * gap * gap) * spread;
  return {x.mean * above + y.mean * (1 - above) + density,
          x.square * above + y.square * (1 - above) + (x.mean + y.mean) * density, std::max(x.low, y.low),
          std::max(x.high, y.high)};
}
Moments moments_min(const Moments& x, const Moments& y) { return negated(moments_max(negated(x), negated(y))); }

template <Function function, MomentsOf moments_of_two>
Moments moments(const std::vector<Moments>& in, const OperandAxes&, const Node& node, const Values&) {
  if (node.inputs[0] != node.inputs[1]) return moments_of_two(in[0], in[1]);
  return moments_of([](double z) { return function(z, z); }, in[0], 96);
}

template <Function function, MomentsOf moments_of_two>
Primitive binary(const char* name, const char* summary, const char* formula, const char* label,
                 Result<Axes> (*infer)(Inference&), const char* example, double weight, const char* torch,
                 unsigned properties = 0) {
  return Primitive{
      .name = name,
      .summary = summary,
      .formula = formula,
      .arity = 2,
      .properties = kPointwise | properties,
      .constraints = {{label, "axes of the same name have the same size"}},
      .example = example,
      .weight = weight,
      .infer = infer,
      .evaluate = evaluate<function>,
      .flops = flop_per_element,
      .moments = moments<function, moments_of_two>,
      .propose = propose_plain,
      .lower = lower_map,
      .torch = torch,
  };
}

}  // namespace

// Name, function, summary, formula, example, how often it is sampled, PyTorch, properties.
#define CANVAS_BINARY(name, function, summary, formula, ...)                                                          \
  const Primitive& name##_primitive() {                                                                               \
    static const Primitive primitive = binary<function, moments_##name>(                                              \
        #name, summary, formula, #name " C1", [](Inference& in) { return broadcast(in, #name " C1"); }, __VA_ARGS__); \
    return primitive;                                                                                                 \
  }

CANVAS_BINARY(add, add, "the sum of two values", "z = x + y", "add(x, fold(x, mean: [H, W]))", 1.5, "{0} + {1}",
              kLinear | kCommutative | kAssociative | kKeepsSign)
CANVAS_BINARY(sub, subtract, "the difference of two values", "z = x - y", "sub(x, fold(x, max: [C]))", 0.2, "{0} - {1}",
              kLinear)
CANVAS_BINARY(mul, multiply, "the product of two values", "z = x * y", "mul(x, sigmoid(fold(x, mean: [H, W])))", 0.8,
              "{0} * {1}", kCommutative | kAssociative | kScales | kKeepsZero | kKeepsSign)
CANVAS_BINARY(div, safe::div, "the quotient of two values", safe::kDiv.formula, "div(x, exp(fold(x, mean: [C])))", 0.05,
              safe::kDiv.torch, kKeepsZero | kKeepsSign)
CANVAS_BINARY(max, larger, "the larger of two values", "z = max(x, y)", "max(x, shift(x, H: 1))", 0.05,
              "torch.maximum({0}, {1})", kCommutative | kAssociative | kIdempotent | kKeepsZero | kKeepsSign)
CANVAS_BINARY(min, smaller, "the smaller of two values", "z = min(x, y)", "min(x, fold(x, mean: [C]))", 0.05,
              "torch.minimum({0}, {1})", kCommutative | kAssociative | kIdempotent | kKeepsZero | kKeepsSign)

#undef CANVAS_BINARY

}  // namespace canvas

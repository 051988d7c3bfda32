// The activations: one function applied to every element. The table at the end is the whole list: one line each.
#include <cmath>

#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"
#include "canvas/prims/safe.h"

namespace canvas {

namespace {

using Function = double (*)(double);

double relu(double x) { return x < 0 ? 0.0 : x; }  // NaN stays NaN
double gelu(double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double silu(double x) { return x * sigmoid(x); }
double negate(double x) { return -x; }
double square(double x) { return x * x; }

Result<Axes> infer(Inference& in) { return in.operand(); }

template <Function function>
Tensor evaluate(const Evaluation& e) {
  Tensor result = *e.operands[0];
  for (double& value : result.data) {
    value = function(value);
    ++e.flops;
  }
  return result;
}

template <Function function>
Moments moments(const std::vector<Moments>& operands, const OperandAxes&, const Node&, const Values&) {
  return moments_of(function, operands[0], 96);
}

template <Function function>
Primitive pointwise(const char* name, const char* formula, const char* example, double weight, const char* torch,
                    unsigned properties = 0) {
  return Primitive{
      .name = name,
      .summary = "an activation",
      .formula = formula,
      .properties = kPointwise | kKeepsAxes | properties,
      .order = kMaps,
      .example = example,
      .weight = weight,
      .infer = infer,
      .evaluate = evaluate<function>,
      .flops = flop_per_element,
      .moments = moments<function>,
      .propose = propose_plain,
      .lower = lower_map,
      .torch = torch,
  };
}

}  // namespace

// Name, function, formula, how often it is sampled, PyTorch, properties.
#define CANVAS_POINTWISE(name, function, formula, ...)                                                \
  const Primitive& name##_primitive() {                                                               \
    static const Primitive primitive = pointwise<function>(#name, formula, #name "(x)", __VA_ARGS__); \
    return primitive;                                                                                 \
  }

CANVAS_POINTWISE(relu, relu, "y = max(x, 0)", 1.0, "F.relu({0})", kKeepsZero | kIdempotent | kNotNegative)
CANVAS_POINTWISE(gelu, gelu, "y = x * (1 + erf(x / sqrt(2))) / 2", 0.2, "F.gelu({0})", kKeepsZero | kKeepsSign)
CANVAS_POINTWISE(silu, silu, "y = x / (1 + exp(-x))", 0.3, "F.silu({0})", kKeepsZero | kKeepsSign)
CANVAS_POINTWISE(sigmoid, sigmoid, "y = 1 / (1 + exp(-x))", 0.4, "torch.sigmoid({0})", kNotNegative)
CANVAS_POINTWISE(tanh, std::tanh, "y = tanh(x)", 0.1, "torch.tanh({0})", kKeepsZero | kKeepsSign)
CANVAS_POINTWISE(abs, std::fabs, "y = |x|", 0.1, "{0}.abs()", kKeepsZero | kIdempotent | kNotNegative)
CANVAS_POINTWISE(exp, safe::exp, safe::kExp.formula, 0.02, safe::kExp.torch, kNotNegative)
CANVAS_POINTWISE(neg, negate, "y = -x", 0.02, "-{0}", kKeepsZero | kLinear | kInvolution)
CANVAS_POINTWISE(sin, std::sin, "y = sin(x)", 0.03, "{0}.sin()", kKeepsZero)
CANVAS_POINTWISE(sqrt, safe::sqrt, safe::kSqrt.formula, 0.02, safe::kSqrt.torch, kNotNegative)
CANVAS_POINTWISE(square, square, "y = x * x", 0.05, "{0}.square()", kKeepsZero | kNotNegative)

#undef CANVAS_POINTWISE

}  // namespace canvas

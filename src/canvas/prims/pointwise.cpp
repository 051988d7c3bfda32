// The activations: one function applied to every element. The table at the end is the whole list; the functions with a numeric hazard
// (exp, sqrt) have a safe definition, which every emitter uses too.
#include <cmath>

#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"

namespace canvas {

namespace {

using Function = double (*)(double);

double relu(double x) { return x < 0 ? 0.0 : x; }  // NaN stays NaN
double gelu(double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double silu(double x) { return x * sigmoid(x); }
double safe_exp(double x) { return std::exp(x > 10.0 ? 10.0 : x); }
double safe_sqrt(double x) { return std::sqrt((x < 0 ? 0.0 : x) + 1e-6); }
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

// Moments of function(z) for a normal z, by the trapezoidal rule over +-6 deviations.
template <Function function>
Moments moments(const std::vector<Moments>& operands, const std::vector<const Axes*>&, const Node&, const Values&) {
  constexpr int kSteps = 96;
  const double deviation = std::sqrt(std::max(operands[0].variance(), 1e-12));
  double weights = 0;
  Moments out{0, 0};
  for (int i = 0; i <= kSteps; ++i) {
    const double z = 12.0 * i / kSteps - 6.0;
    const double weight = std::exp(-0.5 * z * z);
    const double y = function(operands[0].mean + deviation * z);
    weights += weight;
    out.mean += weight * y;
    out.square += weight * y * y;
  }
  out.mean /= weights;
  out.square /= weights;
  return out;
}

void propose(const Proposal&, Random&, std::vector<Attributes>& found) { found.emplace_back(); }

int lower(const Node& node, const std::vector<const Axes*>&, const std::vector<int>& inputs, CoreProgram& program) {
  CoreOp map = core_op(CoreKind::kMap, node, inputs);
  map.function = node.primitive->name;
  return program.add(std::move(map));
}

template <Function function>
Primitive pointwise(const char* name, const char* formula, unsigned properties = 0) {
  return Primitive{
      .name = name,
      .summary = "an activation",
      .formula = formula,
      .properties = kPointwise | properties,
      .order = kMaps,
      .infer = infer,
      .evaluate = evaluate<function>,
      .flops = flop_per_element,
      .moments = moments<function>,
      .propose = propose,
      .lower = lower,
  };
}

}  // namespace

#define CANVAS_POINTWISE(name, function, ...)                                   \
  const Primitive& name##_primitive() {                                         \
    static const Primitive primitive = pointwise<function>(#name, __VA_ARGS__); \
    return primitive;                                                           \
  }

CANVAS_POINTWISE(relu, relu, "y = max(x, 0)", kIdempotent | kKeepsZero)
CANVAS_POINTWISE(gelu, gelu, "y = x * (1 + erf(x / sqrt(2))) / 2", kKeepsZero)
CANVAS_POINTWISE(silu, silu, "y = x / (1 + exp(-x))", kKeepsZero)
CANVAS_POINTWISE(sigmoid, sigmoid, "y = 1 / (1 + exp(-x))")
CANVAS_POINTWISE(tanh, std::tanh, "y = tanh(x)", kKeepsZero)
CANVAS_POINTWISE(abs, std::fabs, "y = |x|", kIdempotent | kKeepsZero)
CANVAS_POINTWISE(exp, safe_exp, "y = exp(min(x, 10))")
CANVAS_POINTWISE(neg, negate, "y = -x", kLinear | kInvolution | kKeepsZero)
CANVAS_POINTWISE(sin, std::sin, "y = sin(x)", kKeepsZero)
CANVAS_POINTWISE(sqrt, safe_sqrt, "y = sqrt(max(x, 0) + 1e-6)")
CANVAS_POINTWISE(square, square, "y = x * x", kKeepsZero)

#undef CANVAS_POINTWISE

}  // namespace canvas

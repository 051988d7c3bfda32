// The interpreter runs every legal kernel at legal sizes: in bounds, to a result of the shape that was inferred, with the operations
// and parameters that the cost model counts, and binding with it. The canonical form computes the same.
#include <algorithm>
#include <cmath>
#include <limits>

#include "canvas/analyze/cost.h"
#include "canvas/eval/interpreter.h"
#include "canvas/ir/canonical.h"
#include "canvas/ir/primitive.h"
#include "canvas/solve/binding.h"
#include "canvas/text/printer.h"
#include "inputs.h"

namespace {

using namespace canvas;

constexpr double kMostElements = 20'000, kMostOperations = 100'000;

// Sizes for the layer: drawn from the bytes where that is legal, otherwise what bind() chooses.
std::optional<Values> values_of(fuzz::Bytes& bytes, const Kernel& kernel, const Layer& layer) {
  Values values = layer.values();
  for (int v = kFirstDynamic; v < kernel.variables().count(); ++v)
    values[static_cast<size_t>(v)] = bytes.ConsumeIntegralInRange(1, 8);
  if (!check_sizes(kernel, layer, values)) return values;
  const auto binding = bind(kernel, {layer}, {});
  return binding ? std::optional(binding->layers[0].values) : std::nullopt;
}

std::vector<int64_t> extents(const Axes& axes, const Values& values) {
  std::vector<int64_t> shape;
  for (const Axis& axis : axes) shape.push_back(axis.size.evaluate(values).value());
  return shape;
}

bool is_small(const Kernel& kernel, const Values& values) {
  const Cost cost = CostModel(kernel).evaluate(values);
  double elements = cost.params;
  for (const Node& node : kernel.nodes()) elements += static_cast<double>(volume(extents(node.axes, values)));
  return elements < kMostElements && cost.flops < kMostOperations;
}

Tensor filled(const std::vector<int64_t>& shape, Random& random, double special) {
  Tensor tensor(shape);
  for (double& value : tensor.data) value = random.chance(0.05) ? special : random.normal();
  return tensor;
}

// What bind() reckons with is what the cost model says.
void check_prices(const Kernel& kernel, const Layer& layer) {
  const auto binding = bind(kernel, {layer}, {});
  if (!binding) return;
  const BoundLayer& bound = binding->layers[0];
  const Cost cost = CostModel(kernel).evaluate(bound.values);
  fuzz::law(bound.cost.flops == cost.flops && bound.cost.params == cost.params && bound.cost.memory == cost.memory,
            "binding's costs are those of the cost model", print(kernel) + layer.str());
}

// The result where each parameter is one number all over, told by the original value's index: then the order of its axes, which the
// canonical form may change, means nothing.
std::vector<double> with_plain_parameters(const Kernel& kernel, const Values& values, const Tensor& x,
                                          const std::vector<int>& origin) {
  Parameters parameters;
  for (const auto& [name, shape] : parameter_shapes(kernel, values)) {
    const auto node = std::find_if(kernel.nodes().begin(), kernel.nodes().end(),
                                   [&, wanted = name](const Node& other) { return other.name == wanted; });
    const int value = origin[static_cast<size_t>(node - kernel.nodes().begin())];
    parameters[name] = Tensor(shape, (value % 2 == 0 ? 0.5 : -0.25) * (1 + value % 5));
  }
  return interpret(kernel, values, x, parameters).result.data;
}

// All free sizes are the same number here, since the canonical form numbers them anew.
void check_canonical(const Kernel& kernel, const Layer& layer, int64_t free_size, Random& random) {
  const Canonical form = canonical(kernel);
  Values values = layer.values();
  std::fill(values.begin() + kFirstDynamic, values.end(), free_size);
  if (check_sizes(kernel, layer, values) || !is_small(kernel, values)) return;
  const std::string text = print(kernel) + print(form.kernel) + layer.str();
  fuzz::law(!check_sizes(form.kernel, layer, values), "the canonical form takes the same sizes", text);
  const Tensor x = filled(extents(kernel.signature().from, values), random, 1);
  std::vector<int> same(kernel.nodes().size());
  for (size_t i = 0; i < same.size(); ++i) same[i] = static_cast<int>(i);
  const std::vector<double> direct = with_plain_parameters(kernel, values, x, same);
  const std::vector<double> rewritten = with_plain_parameters(form.kernel, values, x, form.origin);
  double largest = 0;
  for (double value : direct) largest = std::max(largest, std::abs(value));
  if (!(largest < 1e6)) return;  // rounding is too much of it
  for (size_t i = 0; i < direct.size(); ++i) {
    const bool close = std::abs(direct[i] - rewritten[i]) <= 1e-6 * (1 + largest);
    fuzz::law(close, "the canonical form computes the same", text);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  const auto kernel = fuzz::kernel_of(input);
  if (!kernel || kernel->signature().from.size() > 4 || kernel->signature().from.size() < 2) return 0;
  const Layer layer = fuzz::small_layer(input.bytes, kernel->signature().from.size() - 1);
  const auto values = values_of(input.bytes, *kernel, layer);
  if (!values || !is_small(*kernel, *values)) return 0;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const double special[] = {0, 1, -kInfinity, kInfinity, std::numeric_limits<double>::quiet_NaN(), 1e308, -1e-308};
  const double value = input.bytes.PickValueInArray(special);
  Random random(input.bytes.ConsumeIntegral<uint64_t>());
  Parameters parameters;
  for (const auto& [name, shape] : parameter_shapes(*kernel, *values)) parameters[name] = filled(shape, random, value);
  const Tensor x = filled(extents(kernel->signature().from, *values), random, value);
  const Interpretation run = interpret(*kernel, *values, x, parameters);
  const std::string text = print(*kernel) + layer.str();
  fuzz::law(run.result.shape == extents(kernel->signature().to, *values), "the result has the inferred shape", text);
  const Cost cost = CostModel(*kernel).evaluate(*values);
  fuzz::law(static_cast<double>(run.flops) == cost.flops, "the interpreter counts the operations of the cost model",
            text);
  double held = 0;
  for (const auto& [name, tensor] : parameters) held += static_cast<double>(tensor.data.size());
  fuzz::law(held == cost.params, "parameters hold the numbers of the cost model", text);
  check_prices(*kernel, layer);
  check_canonical(*kernel, layer, input.bytes.ConsumeIntegralInRange(1, 4), random);
  return 0;
}

// Builder answers whatever it is told, and bind() whatever the layers and the budget: with a value, a Fault or an ArgumentError.
#include <cmath>

#include "canvas/solve/binding.h"
#include "canvas/text/printer.h"
#include "inputs.h"

namespace {

using namespace canvas;

void check_binding(const Binding& binding, const Budget& budget, const std::vector<Layer>& layers) {
  const std::string text = print(*binding.kernel);
  fuzz::law(binding.layers.size() == layers.size(), "every layer is bound", text);
  for (const BoundLayer& bound : binding.layers) {
    const auto fault = check_sizes(*bound.kernel, bound.layer, bound.values);
    fuzz::law(!fault, "bound sizes are legal", text + bound.layer.str());
    fuzz::law(std::isfinite(bound.cost.flops + bound.cost.params + bound.cost.memory), "bound costs are finite", text);
  }
  const Cost original = total_cost(layers);
  const auto keeps = [](const std::optional<Range>& range, double used) {
    return !range || (used <= range->high * (1 + 1e-9) && used * (1 + 1e-9) >= range->low);
  };
  fuzz::law(keeps(budget.flops, binding.cost.flops / original.flops) &&
                keeps(budget.params, binding.cost.params / original.params) &&
                keeps(budget.memory, binding.cost.memory / original.memory),
            "a binding keeps the budget", text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Bytes bytes(data, size);
  const auto kernel = fuzz::built(bytes);
  if (!kernel) return 0;
  fuzz::check_text(*kernel);
  std::vector<Layer> layers;
  for (int i = bytes.ConsumeIntegralInRange(0, 3); i > 0; --i) {
    const bool small = bytes.ConsumeBool();
    layers.push_back(small ? fuzz::small_layer(bytes, kernel->signature().from.size() - 1) : fuzz::wild_layer(bytes));
  }
  const Budget budget = fuzz::wild_budget(bytes);
  try {
    const auto binding = bind(*kernel, layers, budget);
    if (binding)
      check_binding(*binding, budget, layers);
    else
      fuzz::law(!binding.fault().str().empty(), "a refusal gives its reason", print(*kernel));
  } catch (const ArgumentError&) {
  }
  return 0;
}

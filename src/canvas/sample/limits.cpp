#include "canvas/sample/limits.h"

#include <algorithm>
#include <cmath>

#include "canvas/prims/registry.h"
#include "canvas/sample/closing.h"

namespace canvas {

void Limits::check() const {
  if (min_primitives < 1 || max_primitives < min_primitives || max_primitives > 64) {
    throw ArgumentError("the number of primitives must satisfy 1 <= min_primitives <= max_primitives <= 64, got " +
                        std::to_string(min_primitives) + " and " + std::to_string(max_primitives));
  }
  if (max_primitives < 3)
    throw ArgumentError("max_primitives must be at least 3: a window, a contraction and a stride");
  if (max_weighted < 1) throw ArgumentError("max_weighted must be at least 1, got " + std::to_string(max_weighted));
  if (max_width < 1 || max_width > 8)
    throw ArgumentError("max_width must be from 1 to 8, got " + std::to_string(max_width));
  if (max_variables < 0 || max_variables > kMaxVariables - kFirstDynamic) {
    throw ArgumentError("max_variables must be from 0 to 8, got " + std::to_string(max_variables));
  }
  if (!(idioms >= 0 && idioms < 1))
    throw ArgumentError("idioms must be a share from 0 to below 1, got " + std::to_string(idioms));
  for (const auto& [name, weight] : weights) {
    if (!find_primitive(name)) throw ArgumentError("no primitive is called '" + name + "'; see docs/language.md");
    if (!(weight >= 0) || !std::isfinite(weight)) throw ArgumentError("the weight of " + name + " must be 0 or more");
  }
  const bool any = std::any_of(primitives().begin(), primitives().end(),
                               [&](const Primitive* primitive) { return weight_of(*primitive, weights) > 0; });
  if (!any) throw ArgumentError("the weights forbid every primitive; give at least one a weight above 0");
}

void Limits::heat(double temperature) {
  if (!(temperature > 0) || !std::isfinite(temperature))
    throw ArgumentError("the temperature must be a number above 0, got " + std::to_string(temperature));
  std::map<std::string, double> heated;
  for (const Primitive* primitive : primitives()) {
    const double weight = weight_of(*primitive, weights);
    heated[primitive->name] = weight > 0 ? std::pow(weight, 1 / temperature) : 0;
  }
  check();
  weights = std::move(heated);
}

}  // namespace canvas

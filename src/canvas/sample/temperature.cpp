// Limits::heat of limits.h.
#include <cmath>

#include "canvas/prims/registry.h"
#include "canvas/sample/closing.h"
#include "canvas/sample/limits.h"

namespace canvas {

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

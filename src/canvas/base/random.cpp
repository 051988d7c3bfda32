#include "canvas/base/random.h"

#include <cmath>
#include <numbers>

#include "canvas/base/error.h"

namespace canvas {

size_t Script::answer(size_t options) {
  if (place_ == choices_.size()) choices_.push_back({0, options});
  return choices_[place_++].taken;
}

bool Script::next() {
  place_ = 0;
  while (!choices_.empty() && ++choices_.back().taken == choices_.back().options) choices_.pop_back();
  return !choices_.empty();
}

double Random::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

size_t Random::weighted(const std::vector<double>& weights) {
  double total = 0;
  for (double weight : weights) total += weight;
  require(total > 0, "a weighted draw needs a positive weight");
  if (script_) {
    std::vector<size_t> possible;
    for (size_t i = 0; i < weights.size(); ++i) {
      if (weights[i] > 0) possible.push_back(i);
    }
    return pick(possible);
  }
  double rest = uniform() * total;
  for (size_t i = 0; i < weights.size(); ++i) {
    rest -= weights[i];
    if (rest < 0) return i;
  }
  for (size_t i = weights.size(); i-- > 0;) {
    if (weights[i] > 0) return i;  // rounding: the last possible one
  }
  return 0;
}

}  // namespace canvas

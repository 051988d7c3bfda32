#include "canvas/search/guide.h"

#include <algorithm>
#include <cmath>

namespace canvas {

namespace {

constexpr double kNoise = 0.4;  // of the deviation of results, what features leave unexplained

}  // namespace

void Guide::learn(const Features& features, const std::optional<Point>& objectives) {
  failure_.add(features, {objectives ? 0.0 : 1.0});
  if (!objectives) return;
  if (!outcome_) outcome_.emplace(kFeatures, objectives->size(), kNoise);
  outcome_->add(features, *objectives);
  const auto beats = [&](const Point& point) { return dominates(point, *objectives) || point == *objectives; };
  if (std::any_of(front_.begin(), front_.end(), beats)) return;
  std::erase_if(front_, [&](const Point& point) { return dominates(*objectives, point); });
  front_.push_back(*objectives);
}

size_t Guide::choose(const std::vector<Features>& proposals, Random& random) const {
  const size_t dimensions = front_.front().size();
  Point least = front_.front(), most = front_.front();
  for (const Point& point : front_) {
    for (size_t i = 0; i < dimensions; ++i) {
      least[i] = std::min(least[i], point[i]);
      most[i] = std::max(most[i], point[i]);
    }
  }
  const Regression::Drawn outcome = outcome_->draw(random), failure = failure_.draw(random);
  std::vector<double> weights;
  for (size_t i = 0; i < dimensions; ++i) weights.push_back(-std::log(1 - random.uniform()));
  double total = 0;
  for (const double weight : weights) total += weight;
  size_t best = 0;
  double lowest = HUGE_VAL;
  for (size_t proposal = 0; proposal < proposals.size(); ++proposal) {
    const Point predicted = outcome.of(proposals[proposal]);
    double worst = -HUGE_VAL, sum = 0;
    for (size_t i = 0; i < dimensions; ++i) {
      // A front of one point has no scale: the deviation of all results serves.
      const double scale = most[i] > least[i] ? most[i] - least[i] : outcome.deviation[i];
      const double value = weights[i] / total * (predicted[i] - least[i]) / scale;
      worst = std::max(worst, value);
      sum += value;
    }
    const double failed = std::clamp(failure.of(proposals[proposal])[0], 0.0, 1.0);
    const double value = worst + 0.05 * sum + failed;
    if (value < lowest) {
      lowest = value;
      best = proposal;
    }
  }
  return best;
}

}  // namespace canvas

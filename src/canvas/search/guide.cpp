#include "canvas/search/guide.h"

#include <algorithm>
#include <cmath>

namespace canvas {

namespace {

constexpr double kNoise = 0.6;      // of the deviation of results, what features leave unexplained
constexpr size_t kDraws = 16;       // functions that are drawn
constexpr size_t kDirections = 64;  // and directions in which the front may grow
constexpr double kBeyond = 0.1;     // of the front's range, how far behind its worst a point still counts

// How far a point goes beyond the worst in a direction, in ranges; its power is in the mean over directions the hypervolume.
double reach(const Point& point, const Point& worst, const Point& range, const Point& direction) {
  double least = HUGE_VAL;
  for (size_t i = 0; i < point.size(); ++i) {
    least = std::min(least, (worst[i] - point[i]) / range[i] / direction[i]);
  }
  return least;
}

double power(double base, size_t exponent) {
  double result = std::max(base, 0.0);
  for (size_t i = 1; i < exponent; ++i) result *= base;
  return result;
}

// A random direction with all coordinates positive.
Point direction(size_t dimensions, Random& random) {
  Point made(dimensions);
  double squares = 0;
  for (double& value : made) {
    value = std::max(std::abs(random.normal()), 1e-3);
    squares += value * value;
  }
  for (double& value : made) value /= std::sqrt(squares);
  return made;
}

}  // namespace

void Guide::learn(const Features& features, const std::optional<Point>& objectives, const Point& known) {
  failure_.add(features, objectives ? 0.0 : 1.0);
  const Point& values = objectives ? *objectives : known;
  if (outcomes_.empty()) outcomes_.assign(values.size(), Regression(kFeatures, kNoise));
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) outcomes_[i].add(features, values[i]);
  }
  if (!objectives) return;
  const auto beats = [&](const Point& point) { return dominates(point, *objectives) || point == *objectives; };
  if (std::any_of(front_.begin(), front_.end(), beats)) return;
  std::erase_if(front_, [&](const Point& point) { return dominates(*objectives, point); });
  front_.push_back(*objectives);
}

bool Guide::ready() const {
  const auto known = [](const Regression& outcome) { return outcome.examples() >= 2; };
  return !front_.empty() && std::all_of(outcomes_.begin(), outcomes_.end(), known);
}

Guide::Scale Guide::scale() const {
  Scale result{front_.front(), front_.front()};
  for (size_t i = 0; i < result.worst.size(); ++i) {
    double least = HUGE_VAL;
    for (const Point& point : front_) {
      least = std::min(least, point[i]);
      result.worst[i] = std::max(result.worst[i], point[i]);
    }
    // A front of one point has no range: the deviation of all results serves.
    result.range[i] = result.worst[i] > least ? result.worst[i] - least : outcomes_[i].deviation();
    result.worst[i] += kBeyond * result.range[i];
  }
  return result;
}

size_t Guide::choose(const std::vector<Features>& proposals, Random& random) const {
  const size_t dimensions = front_.front().size();
  std::vector<std::vector<Regression::Drawn>> outcomes;  // by objective
  for (const Regression& outcome : outcomes_) outcomes.push_back(outcome.draw(kDraws, random));
  const std::vector<Regression::Drawn> failures = failure_.draw(kDraws, random);
  const auto [worst, range] = scale();
  std::vector<Point> directions;
  std::vector<double> reached(kDirections, -HUGE_VAL);  // by the front
  for (double& most : reached) {
    directions.push_back(direction(dimensions, random));
    for (const Point& point : front_) most = std::max(most, reach(point, worst, range, directions.back()));
  }
  Point predicted(dimensions);
  size_t best = 0;
  std::pair<double, double> most = {-1, 0};
  for (size_t proposal = 0; proposal < proposals.size(); ++proposal) {
    double growth = 0, near = 0;  // how near it comes decides where no growth is in sight
    for (size_t drawn = 0; drawn < kDraws; ++drawn) {
      for (size_t i = 0; i < dimensions; ++i) predicted[i] = outcomes[i][drawn].of(proposals[proposal]);
      const double fails = std::clamp(failures[drawn].of(proposals[proposal]), 0.0, 1.0);
      for (size_t i = 0; i < kDirections; ++i) {
        const double reaches = reach(predicted, worst, range, directions[i]);
        growth += (1 - fails) * std::max(0.0, power(reaches, dimensions) - power(reached[i], dimensions));
        near += reaches - reached[i] - fails;
      }
    }
    if (const std::pair found(growth, near); found > most) {
      most = found;
      best = proposal;
    }
  }
  return best;
}

}  // namespace canvas

#include "canvas/search/guide.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "canvas/base/error.h"

namespace canvas {

namespace {

constexpr double kNoise = 0.6;      // of the deviation of results, what features leave unexplained
constexpr double kChange = 0.5;     // from one search to another, the deviation of what a feature tells
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

// What is known of an objective before there are results.
Regression beginning(const Features& expected) {
  Regression found(kFeatures, kNoise);
  if (!expected.empty()) found.expect(expected, kChange);
  return found;
}

void check(const Features& numbers) {
  const bool finite = std::all_of(numbers.begin(), numbers.end(), [](double value) { return std::isfinite(value); });
  if (numbers.size() == kFeatures && finite) return;
  throw ArgumentError("what a guide knows of an objective must be " + std::to_string(kFeatures) +
                      " finite numbers, got " + std::to_string(numbers.size()) + "; it may be of another version");
}

}  // namespace

Features taught(const std::vector<Features>& features, const std::vector<double>& outputs, const Features& expected) {
  if (features.size() != outputs.size()) throw ArgumentError("each example needs features and an output");
  if (!expected.empty()) check(expected);
  Regression found = beginning(expected);
  for (size_t i = 0; i < features.size(); ++i) {
    check(features[i]);
    found.add(features[i], outputs[i]);
  }
  return found.means();
}

Guide::Guide(std::vector<Features> prior) : prior_(std::move(prior)) {
  for (const Features& coefficients : prior_) {
    if (!coefficients.empty()) check(coefficients);
  }
}

void Guide::learn(const Features& features, const std::optional<Point>& objectives, const Point& known) {
  failure_.add(features, objectives ? 0.0 : 1.0);
  const Point& values = objectives ? *objectives : known;
  if (outcomes_.empty()) outcomes_ = expected(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) outcomes_[i].add(features, values[i]);
  }
  if (!objectives) return;
  const auto beats = [&](const Point& point) { return dominates(point, *objectives) || point == *objectives; };
  if (std::any_of(front_.begin(), front_.end(), beats)) return;
  std::erase_if(front_, [&](const Point& point) { return dominates(*objectives, point); });
  front_.push_back(*objectives);
}

std::vector<Regression> Guide::expected(size_t objectives) const {
  std::vector<Regression> found;
  for (size_t i = 0; i < objectives; ++i) found.push_back(beginning(i < prior_.size() ? prior_[i] : Features{}));
  return found;
}

bool Guide::informed() const {
  const auto known = [](const Regression& outcome) { return outcome.examples() >= 2; };
  return !front_.empty() && std::all_of(outcomes_.begin(), outcomes_.end(), known);
}

Guide::Scale Guide::scale() const {
  if (!informed()) return {Point(prior_.size(), 1.0), Point(prior_.size(), 2.0)};  // of outputs of deviation 1
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

std::vector<size_t> Guide::ranked(const std::vector<Features>& proposals, Random& random) const {
  const bool informed = this->informed();
  const std::vector<Regression> begun = informed ? std::vector<Regression>() : expected(prior_.size());
  const std::vector<Regression>& learned = informed ? outcomes_ : begun;
  const size_t dimensions = learned.size();
  std::vector<std::vector<Regression::Drawn>> outcomes;  // by objective
  for (size_t i = 0; i < dimensions; ++i) {
    // Before there are results, an objective of which nothing is known is the same for all.
    const bool unknown = !informed && prior_[i].empty();
    outcomes.push_back(unknown ? std::vector(kDraws, Regression::Drawn{Features(kFeatures, 0.0), 0, 1})
                               : learned[i].draw(kDraws, random));
  }
  const std::vector<Regression::Drawn> failures = failure_.draw(kDraws, random);
  const auto [worst, range] = scale();
  std::vector<Point> directions;
  std::vector<double> reached(kDirections, informed ? -HUGE_VAL : 0.0);  // by the front
  for (double& most : reached) {
    directions.push_back(direction(dimensions, random));
    if (!informed) continue;
    for (const Point& point : front_) most = std::max(most, reach(point, worst, range, directions.back()));
  }
  Point predicted(dimensions);
  std::vector<std::pair<double, double>> promise;
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
    promise.emplace_back(growth, near);
  }
  std::vector<size_t> order(proposals.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return promise[a] > promise[b]; });
  return order;
}

}  // namespace canvas

#include "canvas/search/pareto.h"

#include <algorithm>
#include <limits>
#include <map>

namespace canvas {

bool dominates(const Point& a, const Point& b) {
  bool better = false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] > b[i]) return false;
    better = better || a[i] < b[i];
  }
  return better;
}

namespace {

// Whoever dominates a point comes before it.
std::vector<size_t> sorted(const std::vector<Point>& points) {
  std::vector<size_t> order(points.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return points[a] != points[b] ? points[a] < points[b] : a < b; });
  return order;
}

// Whether one of a front, whose members came in that order, dominates the point. With two objectives the last one does, if any.
bool dominated(const std::vector<Point>& points, const std::vector<size_t>& front, const Point& point) {
  const size_t most = point.size() == 2 ? 1 : front.size();
  for (size_t i = 0; i < most; ++i) {
    if (dominates(points[front[front.size() - 1 - i]], point)) return true;
  }
  return false;
}

}  // namespace

// Each point in turn goes into the first front where none dominates it (Zhang, Tian, Cheng and Jin 2015).
std::vector<int> ranks(const std::vector<Point>& points) {
  std::vector<int> rank(points.size(), -1);
  std::vector<std::vector<size_t>> fronts;
  for (size_t i : sorted(points)) {
    size_t at = 0;
    while (at < fronts.size() && dominated(points, fronts[at], points[i])) ++at;
    if (at == fronts.size()) fronts.emplace_back();
    fronts[at].push_back(i);
    rank[i] = static_cast<int>(at);
  }
  return rank;
}

std::vector<size_t> front(const std::vector<Point>& points) {
  std::vector<size_t> found;
  for (size_t i : sorted(points)) {
    if (found.empty() || !dominated(points, found, points[i])) found.push_back(i);
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<double> crowding(const std::vector<Point>& points, const std::vector<int>& rank) {
  std::vector<double> distance(points.size(), 0);
  std::map<int, std::vector<size_t>> fronts;
  for (size_t i = 0; i < points.size(); ++i) fronts[rank[i]].push_back(i);
  for (auto& [level, members] : fronts) {
    for (size_t axis = 0; axis < points[members[0]].size(); ++axis) {
      std::stable_sort(members.begin(), members.end(),
                       [&](size_t a, size_t b) { return points[a][axis] < points[b][axis]; });
      const double span = points[members.back()][axis] - points[members.front()][axis];
      distance[members.front()] = distance[members.back()] = std::numeric_limits<double>::infinity();
      for (size_t k = 1; k + 1 < members.size() && span > 0; ++k) {
        distance[members[k]] += (points[members[k + 1]][axis] - points[members[k - 1]][axis]) / span;
      }
    }
  }
  return distance;
}

}  // namespace canvas

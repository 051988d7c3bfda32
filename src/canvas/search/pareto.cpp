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

std::vector<int> ranks(const std::vector<Point>& points) {
  std::vector<int> rank(points.size(), -1);
  size_t left = points.size();
  for (int current = 0; left > 0; ++current) {
    std::vector<size_t> front;
    for (size_t i = 0; i < points.size(); ++i) {
      if (rank[i] >= 0) continue;
      bool dominated = false;
      for (size_t j = 0; j < points.size() && !dominated; ++j)
        dominated = rank[j] < 0 && dominates(points[j], points[i]);
      if (!dominated) front.push_back(i);
    }
    for (size_t i : front) rank[i] = current;
    left -= front.size();
  }
  return rank;
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

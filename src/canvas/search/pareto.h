// Non-dominated ranking of points; every coordinate is "lower is better".
#pragma once

#include <cstddef>
#include <vector>

namespace canvas {

using Point = std::vector<double>;

// At least as good everywhere and better somewhere.
bool dominates(const Point& a, const Point& b);

// 0 for the front, 1 for the front of the rest, and so on (Deb et al. 2002, NSGA-II).
std::vector<int> ranks(const std::vector<Point>& points);

// Those that no other dominates, ascending.
std::vector<size_t> front(const std::vector<Point>& points);

// Crowding distance within equal ranks: how much room a point has to itself; infinite at the ends.
std::vector<double> crowding(const std::vector<Point>& points, const std::vector<int>& rank);

}  // namespace canvas

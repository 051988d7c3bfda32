#include "canvas/solve/relaxation.h"

#include <algorithm>

namespace canvas {

namespace {

constexpr double kRounding = 1e-12;
constexpr size_t kUsualCorners = 16;  // of a group's hull

double cross(const Point& a, const Point& b) { return a.flops * b.params - a.params * b.flops; }

// The convex hull, counter-clockwise from the least point (monotone chain, Andrew 1979); the points ascend and differ.
void hull(std::span<const Point> points, std::vector<Point>& out) {
  out.clear();
  const auto chain = [&](auto first, auto last) {
    const size_t start = out.size();
    for (auto it = first; it != last; ++it) {
      while (out.size() >= start + 2 && cross(out.back() - out[out.size() - 2], *it - out.back()) <= 0) out.pop_back();
      out.push_back(*it);
    }
    out.pop_back();
  };
  if (points.size() == 1) {
    out.push_back(points[0]);
    return;
  }
  chain(points.begin(), points.end());
  chain(points.rbegin(), points.rend());
}

// What of a convex polygon has inside(p) >= 0, where `inside` is linear (Sutherland and Hodgman 1974).
template <class Corner, class Inside>
void clip(std::vector<Corner>& polygon, const Inside& inside) {
  std::vector<Corner> kept;
  kept.reserve(polygon.size() + 2);
  for (size_t i = 0; i < polygon.size(); ++i) {
    const Corner& here = polygon[i];
    const Corner& next = polygon[(i + 1) % polygon.size()];
    const double a = inside(here.at), b = inside(next.at);
    if (a >= 0) kept.push_back(here);
    if ((a >= 0) != (b >= 0) && polygon.size() > 1) {
      const Point at = here.at + (next.at - here.at) * (a / (a - b));
      kept.push_back({at, a >= 0 ? -1 : here.edge});
    }
  }
  polygon = std::move(kept);
}

}  // namespace

Mixtures::Mixtures(const std::vector<Group>& groups) : groups_(groups) {
  std::vector<Point> corners;
  Point start;
  starts_.reserve(groups.size());
  edges_.reserve(groups.size() * kUsualCorners);
  for (size_t g = 0; g < groups.size(); ++g) {
    hull(groups[g].points, corners);
    const auto copies = static_cast<double>(groups[g].copies);
    starts_.push_back(corners[0]);
    start = start + corners[0] * copies;
    for (size_t i = 0; corners.size() > 1 && i < corners.size(); ++i) {
      const Point step = (corners[(i + 1) % corners.size()] - corners[i]) * copies;
      const bool back = step.flops < 0 || (step.flops == 0 && step.params < 0);
      edges_.push_back({back ? 1.0 : 0.0, step.flops == 0 ? HUGE_VAL : step.params / step.flops, step, g});
    }
  }
  std::sort(edges_.begin(), edges_.end(), [](const Edge& a, const Edge& b) {
    if (a.half != b.half) return a.half < b.half;
    return a.slope != b.slope ? a.slope < b.slope : a.group < b.group;
  });
  corners_.reserve(edges_.size() + 1);
  for (size_t i = 0; i < edges_.size(); ++i) {
    corners_.push_back({start, static_cast<int>(i)});
    start = start + edges_[i].vector;
  }
  if (corners_.empty()) corners_.push_back({start, -1});
}

// Adds `weight` times each group's part (of one copy) in the point `at` on an edge.
void Mixtures::share(int edge, const Point& at, double weight, const Point& scale, std::vector<Point>& shares) const {
  for (size_t g = 0; g < groups_.size(); ++g) shares[g] = shares[g] + starts_[g] * weight;
  for (int i = 0; i <= edge; ++i) {
    const Edge& step = edges_[static_cast<size_t>(i)];
    double part = 1;
    if (i == edge) {
      const Point done = at - corners_[static_cast<size_t>(i)].at;
      const double length = std::abs(step.vector.flops) / scale.flops + std::abs(step.vector.params) / scale.params;
      part = (std::abs(done.flops) / scale.flops + std::abs(done.params) / scale.params) / length;
    }
    const double copies = static_cast<double>(groups_[step.group].copies);
    shares[step.group] = shares[step.group] + step.vector * (weight * std::min(part, 1.0) / copies);
  }
}

// The shares in a point inside the polygon: it lies between the two ends of its level.
void Mixtures::share_inside(const Point& at, const Point& scale, std::vector<Point>& shares) const {
  std::vector<std::pair<Point, int>> ends;
  for (size_t i = 0; i < corners_.size(); ++i) {
    const Point &a = corners_[i].at, &b = corners_[(i + 1) % corners_.size()].at;
    if ((a.params > at.params) == (b.params > at.params)) continue;
    ends.emplace_back(a + (b - a) * ((at.params - a.params) / (b.params - a.params)), corners_[i].edge);
  }
  if (ends.size() != 2 || ends[0].first.flops == ends[1].first.flops) return share(-1, at, 1, scale, shares);
  const double part = (at.flops - ends[0].first.flops) / (ends[1].first.flops - ends[0].first.flops);
  for (const auto& [end, weight] : {std::pair(ends[0], 1 - part), std::pair(ends[1], part)})
    share(end.second, end.first, std::clamp(weight, 0.0, 1.0), scale, shares);
}

std::vector<Mixtures::Corner> Mixtures::clipped(std::vector<Corner> polygon, const Box& box) {
  const double f = 1 + kRounding;
  if (box.flops.high < HUGE_VAL) clip(polygon, [&](const Point& p) { return box.flops.high * f - p.flops; });
  if (box.params.high < HUGE_VAL) clip(polygon, [&](const Point& p) { return box.params.high * f - p.params; });
  if (box.flops.low > 0) clip(polygon, [&](const Point& p) { return p.flops * f - box.flops.low; });
  if (box.params.low > 0) clip(polygon, [&](const Point& p) { return p.params * f - box.params.low; });
  return polygon;
}

Relaxation Mixtures::best_in(const Box& box) const {
  Relaxation result;
  const std::vector<Corner> corners = clipped(corners_, box);
  if (corners.empty()) return result;
  result.feasible = true;
  // The best lies on the rim: at a corner, or inside an edge, where the capacity's slope along it is zero.
  size_t at = 0;
  bool inside_edge = false;
  double best = -1;
  for (size_t i = 0; i < corners.size(); ++i) {
    const Point& here = corners[i].at;
    result.most = {std::max(result.most.flops, here.flops), std::max(result.most.params, here.params)};
    if (capacity(here) > best) best = capacity(here), at = i, inside_edge = false, result.best = here;
    const Point step = corners[(i + 1) % corners.size()].at - here;
    const double curve = 2 * step.flops * step.params;
    const double along = curve == 0 ? 0 : -(here.flops * step.params + here.params * step.flops) / curve;
    if (along <= 0 || along >= 1) continue;
    const Point between = here + step * along;
    if (capacity(between) > best) best = capacity(between), at = i, inside_edge = true, result.best = between;
  }
  const Point scale{std::max(result.best.flops, 0.5), std::max(result.best.params, 0.5)};
  result.shares.resize(groups_.size());
  const int out = corners[at].edge;
  const int in = inside_edge ? out : corners[(at + corners.size() - 1) % corners.size()].edge;
  if (out < 0 && in < 0 && corners.size() > 1) {  // a corner of the box
    share_inside(result.best, scale, result.shares);
    return result;
  }
  share(std::max(in, out), result.best, 1, scale, result.shares);
  if (inside_edge && out < 0) return result;
  // The outward normal of the edge; where two meet, the capacity's slope as far as it lies between theirs.
  const auto outward = [&](int edge) {
    const Point& step = edges_[static_cast<size_t>(edge)].vector;
    const Point normal{step.params, -step.flops};
    const double size = std::abs(normal.flops) * scale.flops + std::abs(normal.params) * scale.params;
    return size == 0 ? Point{} : normal * (1 / size);
  };
  const Point slope{0.5 / scale.flops, 0.5 / scale.params};
  if (in < 0 && out < 0) return result;
  if (in < 0 || out < 0 || inside_edge) {
    result.normal = outward(std::max(in, out));
  } else {
    const Point first = outward(in), last = outward(out);
    result.normal = cross(first, slope) < 0 ? first : cross(slope, last) < 0 ? last : slope;
  }
  return result;
}

}  // namespace canvas

#include "canvas/solve/target.h"

#include <algorithm>
#include <cmath>

namespace canvas {

void sum_up(const std::vector<Group>& groups, Choice& choice) {
  choice.total = {};
  choice.seconds = 0;
  for (size_t d = 0; d < choice.group.size(); ++d) {
    const Group& group = groups[choice.group[d]];
    choice.total = choice.total + group.points[choice.pick[d]];
    if (!group.seconds.empty()) choice.seconds += group.seconds[choice.pick[d]];
  }
}

Target::Target(const std::vector<Group>& groups, const Box& box, const Relaxation& relaxed)
    : groups_(groups), box_(box), relaxed_(relaxed) {
  unit_ = {1 / std::max(relaxed_.best.flops, 0.5), 1 / std::max(relaxed_.best.params, 0.5)};
  if (relaxed_.most.flops < 0.5 || relaxed_.most.params < 0.5) relaxed_.normal = {};
  for (const Group& group : groups) {
    double top = -HUGE_VAL;
    for (const Point& point : group.points)
      top = std::max(top, relaxed_.normal.flops * point.flops + relaxed_.normal.params * point.params);
    top_.push_back(top);
    top_total_ += group.copies * top;
  }
}

bool Target::within(const Point& total) const {
  const double f = 1 + kSumRounding;
  return total.flops <= box_.flops.high * f && total.flops * f >= box_.flops.low &&
         total.params <= box_.params.high * f && total.params * f >= box_.params.low;
}

double Target::allowed_loss(double worth) const {
  if (paid_ && !penalty_->capped()) return paid_->allowed_loss(worth);
  const Point& normal = relaxed_.normal;
  if (at_corner()) return HUGE_VAL;
  const Interval f{std::max(box_.flops.low, 0.5), std::min(box_.flops.high, relaxed_.most.flops)};
  const Interval p{std::max(box_.params.low, 0.5), std::min(box_.params.high, relaxed_.most.params)};
  double least = HUGE_VAL;
  const auto look = [&](double flops, double params) {
    constexpr double kSlack = 1 + 1e-9;
    const bool inside = flops * kSlack >= f.low && flops <= f.high * kSlack && params * kSlack >= p.low &&
                        params <= p.high * kSlack && flops * params * kSlack >= worth;
    if (inside) least = std::min(least, normal.flops * flops + normal.params * params);
  };
  for (double flops : {f.low, f.high}) {
    look(flops, worth / flops);
    for (double params : {p.low, p.high}) look(flops, params), look(worth / params, params);
  }
  if (normal.flops > 0 && normal.params > 0) {
    const double flops = std::sqrt(worth * normal.params / normal.flops);
    look(flops, worth / flops);
  }
  return least == HUGE_VAL ? -1 : top_total_ - least + kSumRounding * 10;
}

Box Target::better(double worth) const {
  const Point& n = relaxed_.normal;
  // The own cost F of a better choice, whose other cost P is at most what the relaxation leaves for it.
  const auto range = [&](const Interval& own, double most_own, double most_other, double normal, double normal_other) {
    const double least = most_other > 0.5 ? worth / most_other : 0;
    Interval found{std::max(own.low, least > 0.5 ? least : 0), std::min(own.high, most_own)};  // 0 counts as 0.5
    if (normal_other > 0) {  // normal F^2 - top F + normal_other worth <= 0
      const double under = top_total_ * top_total_ - 4 * normal * normal_other * worth;
      if (under >= 0) {
        const double root = std::sqrt(under);
        found.low = std::max(found.low, 2 * normal_other * worth / (top_total_ + root));
        if (normal > 0) found.high = std::min(found.high, (top_total_ + root) / (2 * normal));
      }
    }
    return Interval{found.low * (1 - kSumRounding), found.high * (1 + kSumRounding)};
  };
  const double flops = std::min(box_.flops.high, relaxed_.most.flops);
  const double params = std::min(box_.params.high, relaxed_.most.params);
  Box found{range(box_.flops, flops, params, n.flops, n.params), range(box_.params, params, flops, n.params, n.flops)};
  if (timed()) {
    const double least = penalty_->least_seconds(worth, found.flops.low, found.params.low);
    found.seconds = {std::max(box_.seconds.low, least) * (1 - kSumRounding), box_.seconds.high * (1 + kSumRounding)};
  }
  return found;
}

}  // namespace canvas

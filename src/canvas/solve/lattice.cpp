#include "canvas/solve/lattice.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <tuple>

namespace canvas {

namespace {

using Wide = __int128;

constexpr double kLargestWhole = 9007199254740992.0;  // doubles count no further
constexpr double kRounding = 1e-11;
constexpr int kMostRows = 20000;

Interval moved(const Interval& interval, double ground, int64_t step) {
  if (step == 0) return interval;
  const auto unit = static_cast<double>(step);
  Interval result = interval;
  if (interval.high < kLargestWhole)
    result.high = ground + std::floor((interval.high * (1 + kRounding) - ground) / unit) * unit;
  if (interval.low > 0) result.low = ground + std::ceil((interval.low * (1 - kRounding) - ground) / unit) * unit;
  return result;
}

}  // namespace

Lattice::Lattice(const std::vector<Group>& groups) {
  for (const Group& group : groups) {
    const Point& first = group.points[0];
    for (const Point& point : group.points) {
      known_ = known_ && point.flops <= kLargestWhole && point.params <= kLargestWhole;
      if (!known_) return;
      add(static_cast<int64_t>(point.flops) - static_cast<int64_t>(first.flops),
          static_cast<int64_t>(point.params) - static_cast<int64_t>(first.params));
    }
    ground_ = {ground_.flops + first.flops * group.copies, ground_.params + first.params * group.copies};
  }
  known_ = ground_.flops <= kLargestWhole && ground_.params <= kLargestWhole;
}

// Keeps the generators in Hermite form, by Euclid on the first coordinate.
void Lattice::add(int64_t flops, int64_t params) {
  if (step_flops_ > 0 && step_params_ > 0 && flops % step_flops_ == 0) {  // most points lie on it already
    int64_t rest = 0;
    if (!__builtin_mul_overflow(flops / step_flops_, skew_, &rest) && !__builtin_sub_overflow(params, rest, &rest) &&
        rest % step_params_ == 0)
      return;
  }
  Wide x = flops, y = params, a = step_flops_, b = skew_;
  while (x != 0) {
    const Wide times = a / x;
    std::tie(a, b, x, y) = std::tuple(x, y, a - times * x, b - times * y);
    if (step_params_ > 0) b %= step_params_, y %= step_params_;
  }
  if (a < 0) a = -a, b = -b;
  const Wide rest = y < 0 ? -y : y;
  if (a > INT64_MAX || rest > INT64_MAX) {
    known_ = false;
    return;
  }
  step_flops_ = static_cast<int64_t>(a);
  step_params_ = std::gcd(step_params_, static_cast<int64_t>(rest));
  if (step_params_ > 0) b %= step_params_;
  if (b > INT64_MAX || b < -INT64_MAX) known_ = false;
  skew_ = static_cast<int64_t>(b);
}

Box Lattice::shrink(const Box& box) const {
  if (!known_) return box;
  return {moved(box.flops, ground_.flops, step_flops_),
          moved(box.params, ground_.params, std::gcd(step_params_, std::abs(skew_))), box.seconds};
}

double Lattice::bound(const Box& box, double bound) const {
  if (!known_ || step_flops_ == 0 || step_params_ == 0 || !(box.flops.high < kLargestWhole) ||
      !(box.params.high < kLargestWhole))
    return bound;
  const auto unit = static_cast<double>(step_params_);
  const double top = std::floor((box.flops.high * (1 + kRounding) - ground_.flops) / static_cast<double>(step_flops_));
  double best = 0;
  for (int row = 0; row < kMostRows; ++row) {
    const double flops = ground_.flops + (top - row) * static_cast<double>(step_flops_);
    if (flops < std::max(1.0, box.flops.low * (1 - kRounding)) || capacity({flops, box.params.high}) <= best)
      return std::min(best, bound);
    const auto skew = static_cast<double>(static_cast<int64_t>(Wide(top - row) * skew_ % step_params_));
    const double ground = ground_.params + skew;
    const double params = ground + std::floor((box.params.high * (1 + kRounding) - ground) / unit) * unit;
    if (params >= box.params.low * (1 - kRounding)) best = std::max(best, capacity({flops, params}));
  }
  return bound;
}

}  // namespace canvas

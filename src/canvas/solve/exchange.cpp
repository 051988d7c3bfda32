#include "canvas/solve/exchange.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "canvas/base/random.h"

namespace canvas {

namespace {

constexpr double kLossWeight = 100;  // a change by 1 % is tried as early as one that loses 0.01 %
constexpr int kEqualDecisions = 2;   // of those that are alike: the others could make the same changes
constexpr size_t kManyPoints = 64;   // of more, those are tried that are 1, 2, 4, ... places away
constexpr size_t kUsualPoints = 16;
constexpr size_t kManyMoves = 128;
constexpr size_t kPairsASum = 64;  // looked at in all
constexpr double kFiner = 16;      // than what is missing: half of the changes

struct Move {
  Point change;
  uint32_t decision, pick;
  double measure;
  double seconds;
};

// Two moves at most.
struct Sum {
  double key, other;  // the cost that the sums are sorted by, and another
  uint32_t first, second;
};

// By how much longer one point takes than another.
double seconds(const Group& group, size_t from, size_t to) {
  return group.seconds.empty() ? 0 : group.seconds[to] - group.seconds[from];
}

// Calls visit(decision, group, its points, the point to change to) for all changes of a decision, few of which are alike.
template <class Skip, class Visit>
void each_change(const Target& target, const Choice& base, const Skip& skip, const Visit& visit) {
  std::vector<int> alike;  // decisions of the group so far, by what they pick
  for (uint32_t d = 0; d < base.group.size(); ++d) {
    const uint32_t g = base.group[d], pick = base.pick[d];
    const std::span<const Point> points = target.groups()[g].points;
    if (d == 0 || base.group[d - 1] != g) alike.assign(points.size(), 0);
    if (++alike[pick] > kEqualDecisions || skip()) continue;
    if (points.size() <= kManyPoints) {
      for (size_t k = 0; k < points.size(); ++k) {
        if (k != pick) visit(d, g, points, k);
      }
    } else {
      for (size_t step = 1; step < points.size(); step *= 2) {
        if (pick >= step) visit(d, g, points, pick - step);
        if (pick + step < points.size()) visit(d, g, points, pick + step);
      }
    }
  }
}

// Changes that a choice worth more than `worth` can have: all of them, or those of each n-th decision where they are many.
std::vector<Move> all_moves(const Target& target, uint64_t round, double worth, const Choice& base) {
  const double allowed = target.allowed_loss(worth);
  size_t points = 0;
  for (const Group& group : target.groups())
    points +=
        std::min(group.points.size(), kUsualPoints) * static_cast<size_t>(std::min(group.copies, kEqualDecisions));
  const size_t part = points / (target.timed() ? 4 * kManyMoves : kManyMoves) + 1;
  size_t passed = round;
  std::vector<Move> moves;
  moves.reserve(kManyMoves);
  each_change(
      target, base, [&] { return ++passed % part != 0; },
      [&](uint32_t d, uint32_t g, std::span<const Point> points_of, size_t k) {
        if (target.loss(g, k) <= allowed)
          moves.push_back({points_of[k] - points_of[base.pick[d]], d, static_cast<uint32_t>(k), 0,
                           seconds(target.groups()[g], base.pick[d], k)});
      });
  return moves;
}

std::vector<Move> select(const Target& target, size_t most, uint64_t round, const Choice& base) {
  const Point wanted = target.best() - base.total;
  const double wanted_time = target.timed() ? target.limit_of_time() - base.seconds : 0;
  const auto far = [&](const Point& cost, double time) {
    return target.distance(cost) + (target.timed() ? std::abs(time) / target.limit_of_time() : 0);
  };
  const double missing = far(wanted, wanted_time) + kSumRounding, finer = missing / kFiner;
  // How far off a size is, as a factor.
  const auto off = [](double size, double from) { return std::max(size / from, from / size); };
  Random random(round);
  std::vector<Move> moves;
  moves.reserve(base.group.size() * kUsualPoints);
  each_change(
      target, base, [&] { return round > 0 && random.chance(0.5); },
      [&](uint32_t d, uint32_t g, std::span<const Point> points, size_t k) {
        const Point change = points[k] - points[base.pick[d]];
        const double time = seconds(target.groups()[g], base.pick[d], k);
        const double lost = kLossWeight * target.guide(g, k);
        const double size = far(change, time) + lost, left = far(wanted - change, wanted_time - time) + lost;
        // Half of them are to make good what is missing, half to be fine.
        const double measure = moves.size() % 2 ? std::min(off(size, missing), 2 * left / missing) : off(size, finer);
        moves.push_back({change, d, static_cast<uint32_t>(k), measure, time});
      });
  const auto before = [](const Move& a, const Move& b) {
    return std::tie(a.measure, a.decision, a.pick) < std::tie(b.measure, b.decision, b.pick);
  };
  if (moves.size() > most) {
    std::nth_element(moves.begin(), moves.begin() + static_cast<std::ptrdiff_t>(most), moves.end(), before);
    moves.resize(most);
  }
  return moves;
}

// The cost that sums are sorted by is that which leaves the least room; the other is looked at as well.
enum class Key { kFlops, kParams, kSeconds };

std::pair<double, double> keyed(Key key, const Point& cost, double seconds) {
  if (key == Key::kSeconds) return {seconds, cost.flops};
  return key == Key::kFlops ? std::pair(cost.flops, cost.params) : std::pair(cost.params, cost.flops);
}

std::pair<Interval, Interval> keyed(Key key, const Box& box) {
  if (key == Key::kSeconds) return {box.seconds, box.flops};
  return key == Key::kFlops ? std::pair(box.flops, box.params) : std::pair(box.params, box.flops);
}

Key narrowest(const Target& target, const Box& box) {
  const auto share = [](const Interval& range) { return (range.high - range.low) / std::max(range.high, 1.0); };
  const Key key = share(box.flops) <= share(box.params) ? Key::kFlops : Key::kParams;
  if (!target.timed()) return key;
  const double time = (box.seconds.high - box.seconds.low) / box.seconds.high;
  return time < std::min(share(box.flops), share(box.params)) ? Key::kSeconds : key;
}

// No change, each move and, with `pairs`, all pairs of moves, in ascending order.
std::vector<Sum> sums_of(const std::vector<Move>& moves, bool pairs, Key key) {
  std::vector<Sum> sums = {{0, 0, UINT32_MAX, UINT32_MAX}};
  sums.reserve((pairs ? moves.size() * (moves.size() + 1) / 2 : moves.size()) + 1);
  for (uint32_t i = 0; i < moves.size(); ++i) {
    const auto [one, other] = keyed(key, moves[i].change, moves[i].seconds);
    sums.push_back({one, other, i, UINT32_MAX});
    for (uint32_t k = 0; pairs && k < i; ++k) {
      if (moves[k].decision == moves[i].decision) continue;
      const auto [more, more_other] = keyed(key, moves[k].change, moves[k].seconds);
      sums.push_back({one + more, other + more_other, i, k});
    }
  }
  std::sort(sums.begin(), sums.end(), [](const Sum& a, const Sum& b) {
    if (a.key != b.key) return a.key < b.key;
    return a.first != b.first ? a.first < b.first : a.second < b.second;
  });
  return sums;
}

// The base with two sums of moves; only what the sums do not say is summed anew.
struct Joint {
  Point total;
  double seconds;
};

Joint joint(const Choice& base, const std::vector<Move>& moves, const Sum& a, const Sum& b) {
  Joint all{base.total, base.seconds};
  for (uint32_t i : {a.first, a.second, b.first, b.second}) {
    if (i == UINT32_MAX) continue;
    all.total = all.total + moves[i].change;
    all.seconds += moves[i].seconds;
  }
  return all;
}

}  // namespace

bool exchange(const Target& target, size_t most, uint64_t round, double worth, Choice& base) {
  const std::vector<Move> moves = most > 0 ? select(target, most, round, base) : all_moves(target, round, worth, base);
  const Box better = target.better(worth);
  const Key by = narrowest(target, better);
  const std::vector<Sum> sums = sums_of(moves, most > 0, by);
  const auto apart = [&](const Sum& a, const Sum& b) {
    for (uint32_t i : {a.first, a.second}) {
      for (uint32_t k : {b.first, b.second}) {
        if (i != UINT32_MAX && k != UINT32_MAX && moves[i].decision == moves[k].decision) return false;
      }
    }
    return true;
  };
  const auto [key, other] = keyed(by, base.total, base.seconds);
  auto [keys, others] = keyed(by, better);
  const Sum *left = nullptr, *right = nullptr;
  size_t looked = 0, end = sums.size();
  for (size_t i = 0; i < end && looked <= kPairsASum * sums.size(); ++i) {
    const double key_i = key + sums[i].key, other_i = other + sums[i].other;
    while (end > i && key_i + sums[end - 1].key > keys.high) --end;
    for (size_t k = end; k-- > i;) {
      if (key_i + sums[k].key < keys.low) break;
      ++looked;
      const double other_k = other_i + sums[k].other;
      if (other_k < others.low || other_k > others.high) continue;
      const double key_k = key_i + sums[k].key;
      Joint all{by == Key::kFlops ? Point{key_k, other_k} : Point{other_k, key_k}, 0};
      if (target.timed()) all = joint(base, moves, sums[i], sums[k]);
      if (capacity(all.total) <= worth || !target.within(all.total) || !apart(sums[i], sums[k])) continue;
      if (target.timed() && !target.in_time(all.seconds)) continue;
      left = &sums[i], right = &sums[k];
      worth = capacity(all.total);
      std::tie(keys, others) = keyed(by, target.better(worth));
    }
  }
  if (!left) return false;
  for (const Sum* sum : {left, right}) {
    for (uint32_t i : {sum->first, sum->second}) {
      if (i != UINT32_MAX) base.pick[moves[i].decision] = moves[i].pick;
    }
  }
  sum_up(target.groups(), base);
  return true;
}

}  // namespace canvas

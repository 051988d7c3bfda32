#include "canvas/solve/listing.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace canvas {

namespace {

constexpr int64_t kPairsAState = 64;  // of the two halves, looked at when they are joined
constexpr double kSurelyTooMany = 3;  // more choices than this power of what fits: not even begun

// Points for some of the decisions, their costs counted above the least that these can cost.
struct State {
  Point sum;
  double loss;
  uint32_t parent, pick;  // in the list before, and of the decision that this list added
  double seconds;         // where time is limited
};

bool before(const State& a, const State& b) {
  if (a.sum.flops != b.sum.flops) return a.sum.flops < b.sum.flops;
  return a.sum.params != b.sum.params ? a.sum.params < b.sum.params : a.seconds < b.seconds;
}

bool alike(const State& a, const State& b) { return a.sum == b.sum && a.seconds == b.seconds; }

struct Level {
  size_t decision;
  std::vector<State> states;
};

// One half of the decisions, listed.
struct Half {
  std::vector<State> states = {{{0, 0}, 0, 0, 0, 0}};
  std::vector<Level> levels;
  Point span;  // what the decisions of this half can cost above their least
};

class Lister {
 public:
  Lister(const Target& target, size_t most, double worth, Choice& best)
      : target_(target), most_(most), worth_(worth), best_(best), allowed_(target.allowed_loss(worth)) {}

  bool run(bool any) {
    if (allowed_ < 0) return true;
    double choices = 0;
    for (size_t g = 0; g < target_.groups().size(); ++g) {
      if (!find_options(g)) return true;
      // As many as there are multisets.
      const double copies = target_.groups()[g].copies, others = static_cast<double>(options_[g].size()) - 1;
      if (others > 0) choices += std::lgamma(copies + others + 1) - std::lgamma(copies + 1) - std::lgamma(others + 1);
      if (choices > kSurelyTooMany * std::log(static_cast<double>(most_))) return false;
    }
    Half halves[2];
    for (size_t decision : order()) {
      Half& half = halves[halves[0].states.size() > halves[1].states.size()];
      if (!extend(half, decision)) return false;
      if (half.states.empty()) return true;
    }
    return join(halves, any);
  }

 private:
  // The points of a group that a better choice may take; false where there are none.
  bool find_options(size_t g) {
    const Group& group = target_.groups()[g];
    std::vector<State> steps;
    Point least{HUGE_VAL, HUGE_VAL}, top;
    for (uint32_t k = 0; k < group.points.size(); ++k) {
      const Point& point = group.points[k];
      const double loss = target_.loss(g, k);
      if (loss > allowed_) continue;
      least = {std::min(least.flops, point.flops), std::min(least.params, point.params)};
      top = {std::max(top.flops, point.flops), std::max(top.params, point.params)};
      steps.push_back({point, loss, 0, k, group.seconds.empty() ? 0 : group.seconds[k]});
    }
    if (steps.empty()) return false;
    for (State& step : steps) step.sum = step.sum - least;
    options_.push_back(std::move(steps));
    spans_.push_back(top - least);
    ground_ = ground_ + least * group.copies;
    span_ = span_ + spans_.back() * group.copies;
    return true;
  }

  // Large ones first, so that what is left over is bounded early.
  std::vector<size_t> order() const {
    std::vector<size_t> found(best_.group.size());
    for (size_t d = 0; d < found.size(); ++d) found[d] = d;
    const auto size = [&](size_t d) { return target_.distance(spans_[best_.group[d]]); };
    std::stable_sort(found.begin(), found.end(), [&](size_t a, size_t b) { return size(a) > size(b); });
    return found;
  }

  bool extend(Half& half, size_t decision) {
    const std::vector<State>& steps = options_[best_.group[decision]];
    half.span = half.span + spans_[best_.group[decision]];
    const Box better = target_.better(worth_);
    const Point rest = span_ - half.span;
    const Box kept{{better.flops.low - ground_.flops - rest.flops, better.flops.high - ground_.flops},
                   {better.params.low - ground_.params - rest.params, better.params.high - ground_.params}};
    // Each step gives a list in order; they are merged two by two.
    std::vector<State> next, merged;
    std::vector<size_t> ends = {0};
    for (const State& step : steps) {
      for (uint32_t parent = 0; parent < half.states.size(); ++parent) {
        const State& state = half.states[parent];
        const State made{state.sum + step.sum, state.loss + step.loss, parent, step.pick, state.seconds + step.seconds};
        if (kept.contains(made.sum) && made.loss <= allowed_) next.push_back(made);
      }
      if (next.size() > 2 * most_) return false;
      ends.push_back(next.size());
    }
    while (ends.size() > 2) {
      merged.resize(next.size());
      std::vector<size_t> joined = {0};
      for (size_t i = 0; i + 1 < ends.size(); i += 2) {
        const size_t last = std::min(i + 2, ends.size() - 1);
        const auto at = [&](size_t end) { return next.begin() + static_cast<std::ptrdiff_t>(ends[end]); };
        std::merge(at(i), at(i + 1), at(i + 1), at(last), merged.begin() + static_cast<std::ptrdiff_t>(ends[i]),
                   before);
        joined.push_back(ends[last]);
      }
      std::swap(next, merged);
      ends = std::move(joined);
    }
    next.erase(std::unique(next.begin(), next.end(), alike), next.end());
    half.levels.push_back({decision, std::move(half.states)});
    half.states = std::move(next);
    return half.states.size() <= most_;
  }

  // The best pair, one of each half; false where there were too many to look at all.
  bool join(const Half (&halves)[2], bool any) {
    const std::vector<State>&left = halves[0].states, &right = halves[1].states;
    std::optional<std::pair<size_t, size_t>> best;
    const int64_t most = kPairsAState * static_cast<int64_t>(std::max(most_, left.size() + right.size()));
    int64_t looked = 0;
    size_t end = right.size();
    Box range = target_.better(worth_);
    for (size_t i = 0; i < left.size() && looked <= most; ++i) {
      const Point sum = ground_ + left[i].sum;
      while (end > 0 && sum.flops + right[end - 1].sum.flops > range.flops.high) --end;
      for (size_t k = end; k-- > 0;) {
        const Point both = sum + right[k].sum;
        if (both.flops < range.flops.low || ++looked > most) break;
        if (!range.contains(both) || left[i].loss + right[k].loss > allowed_) continue;
        if (capacity(both) <= worth_ || !target_.within(both)) continue;
        if (target_.timed() && !target_.in_time(left[i].seconds + right[k].seconds)) continue;
        best = {i, k};
        worth_ = capacity(both);
        range = target_.better(worth_);
        if (any) break;
      }
      if (best && any) break;
    }
    if (best) {
      trace(halves[0], best->first);
      trace(halves[1], best->second);
      sum_up(target_.groups(), best_);
    }
    return looked <= most;
  }

  void trace(const Half& half, size_t at) {
    const std::vector<State>* states = &half.states;
    for (size_t level = half.levels.size(); level-- > 0;) {
      const State& state = (*states)[at];
      best_.pick[half.levels[level].decision] = state.pick;
      at = state.parent;
      states = &half.levels[level].states;
    }
  }

  const Target& target_;
  const size_t most_;
  double worth_;
  Choice& best_;
  const double allowed_;
  std::vector<std::vector<State>> options_;  // by group: the points that a better choice may take, above the least
  std::vector<Point> spans_;                 // by group: how far above the least they go
  Point ground_, span_;                      // the same of all decisions
};

}  // namespace

bool list_all(const Target& target, size_t most, bool any, double worth, Choice& best) {
  return Lister(target, most, worth, best).run(any);
}

}  // namespace canvas

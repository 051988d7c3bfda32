#include "canvas/solve/fill.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <tuple>

#include "canvas/base/random.h"
#include "canvas/solve/lattice.h"
#include "canvas/solve/passes.h"

namespace canvas {

namespace {

constexpr double kRounding = 1e-11;  // relative; sums of doubles are not finer
constexpr double kFair = 1e-5,
                 kPoor = 1e-3;  // the same after so many passes, for a dense problem (done() says what that is)
constexpr size_t kFewItems = 16, kFirstPasses = 6, kMorePasses = 12;
constexpr double kGoodEnough = 1e-6;        // of the geometric mean, where exactness costs too much
constexpr size_t kFewPasses = 6;            // where any choice will do
constexpr int64_t kMostPairs = 50'000'000;  // looked at in a pass
constexpr int kRetreats = 8;                // from the limits, for a first choice within them
constexpr double kLossWeight = 100;         // a layer's move by 1 % is tried as early as one that loses 0.01 %

// A choice for some of the items, its costs counted above the least that these items can cost.
struct State {
  double flops, params, loss;
  uint32_t parent, pick;  // in the list before, and of the item that this list added
};

bool by_costs(const State& a, const State& b) {
  if (a.flops != b.flops) return a.flops < b.flops;
  if (a.params != b.params) return a.params < b.params;
  return a.parent != b.parent ? a.parent < b.parent : a.pick < b.pick;
}

struct Level {
  size_t item;
  std::vector<State> states;
};

// One half of the items, listed.
struct Half {
  std::vector<State> states = {{0, 0, 0, 0, 0}};
  std::vector<Level> levels;
  Point span;  // what the items of this half can cost above their least
};

class Filler {
 public:
  Filler(const std::vector<Group>& groups, const Box& box, Aim aim)
      : groups_(groups), lattice_(groups), box_(lattice_.shrink(box)), aim_(aim) {}

  Filling run() {
    if (box_.flops.low <= box_.flops.high && box_.params.low <= box_.params.high) relaxed_ = relax(groups_, box_);
    if (!relaxed_.feasible) {
      result_.proven = true;
      return result_;
    }
    const Box within{{box_.flops.low, std::min(box_.flops.high, relaxed_.most.flops)},
                     {box_.params.low, std::min(box_.params.high, relaxed_.most.params)}};
    result_.bound = lattice_.bound(within, capacity(relaxed_.best)) * (1 + kRounding);
    measure();
    choose_base(relaxed_.shares);
    consider_base();
    near_ = base_;
    retreat();
    const size_t passes = aim_ == Aim::kAny ? kFewPasses : std::size(kPasses);
    for (size_t pass = 0; pass < passes && !done(pass); ++pass) {
      if (pass == 0) std::swap(base_, near_);
      choose_steps(kPasses[pass], pass);
      result_.proven = list_and_join(kPasses[pass].most);
      if (pass == 0 && !improved_) std::swap(base_, near_);
    }
    if (result_.proven) result_.bound = result_.found ? capacity(result_.total) : 0;
    if (result_.found) gather();
    return result_;
  }

 private:
  struct Item {  // one copy of a group
    size_t group;
    double nearest = 0;  // the smallest step from its base
  };

  // Whether the passes so far suffice. With many items and both limits binding there is no listing all, and the bound itself is often out of
  // reach by some 1e-6: then less and less is asked for.
  bool done(size_t passes) const {
    if (result_.proven) return true;
    if (!result_.found) return false;
    if (aim_ == Aim::kAny) return true;
    const double gap = std::sqrt(result_.bound / capacity(result_.total)) - 1;
    const bool dense = relaxed_.normal == Point{} && items_.size() > kFewItems;
    return gap <= (!dense || passes < kFirstPasses ? kGoodEnough : passes < kMorePasses ? kFair : kPoor);
  }

  double loss(size_t group, const Point& point) const {
    const Point& normal = relaxed_.normal;
    return std::max(0.0, top_[group] - normal.flops * point.flops - normal.params * point.params);
  }

  // Relative size of a difference in costs.
  double distance(double flops, double params) const {
    return std::abs(flops) / scale_.flops + std::abs(params) / scale_.params;
  }

  void measure() {
    scale_ = {std::max(relaxed_.best.flops, 0.5), std::max(relaxed_.best.params, 0.5)};
    if (relaxed_.most.flops < 0.5 || relaxed_.most.params < 0.5) relaxed_.normal = {};
    for (size_t g = 0; g < groups_.size(); ++g) {
      Point least{HUGE_VAL, HUGE_VAL}, most{0, 0};
      double top = -HUGE_VAL;
      for (const Point& point : groups_[g].points) {
        least = {std::min(least.flops, point.flops), std::min(least.params, point.params)};
        most = {std::max(most.flops, point.flops), std::max(most.params, point.params)};
        top = std::max(top, relaxed_.normal.flops * point.flops + relaxed_.normal.params * point.params);
      }
      const auto copies = static_cast<double>(groups_[g].copies);
      least_.push_back(least);
      spans_.push_back({most.flops - least.flops, most.params - least.params});
      top_.push_back(top);
      least_total_ = {least_total_.flops + copies * least.flops, least_total_.params + copies * least.params};
      span_total_ = {span_total_.flops + copies * spans_[g].flops, span_total_.params + copies * spans_[g].params};
      top_total_ += copies * top;
      for (int copy = 0; copy < groups_[g].copies; ++copy) items_.push_back({g});
    }
  }

  // A choice near the relaxation's mixture: large items first, each making good what the ones before it missed.
  void choose_base(const std::vector<Point>& shares) {
    std::vector<size_t> order(items_.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    const auto size = [&](size_t i) { return distance(spans_[items_[i].group].flops, spans_[items_[i].group].params); };
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return size(a) > size(b); });
    base_.assign(items_.size(), 0);
    Point owed;
    for (size_t i : order) {
      const size_t g = items_[i].group;
      const Point want{shares[g].flops + owed.flops, shares[g].params + owed.params};
      double nearest = HUGE_VAL;
      for (size_t k = 0; k < groups_[g].points.size(); ++k) {
        const Point& point = groups_[g].points[k];
        const double off = distance(point.flops - want.flops, point.params - want.params) + 4 * loss(g, point);
        if (off < nearest) nearest = off, base_[i] = static_cast<int>(k);
      }
      const Point& taken = groups_[g].points[static_cast<size_t>(base_[i])];
      owed = {want.flops - taken.flops, want.params - taken.params};
    }
  }

  const Point& taken(const std::vector<int>& picks, size_t item) const {
    return groups_[items_[item].group].points[static_cast<size_t>(picks[item])];
  }

  Point total(const std::vector<int>& picks) const {
    Point sum;
    for (size_t i = 0; i < items_.size(); ++i)
      sum = {sum.flops + taken(picks, i).flops, sum.params + taken(picks, i).params};
    return sum;
  }

  // Takes the base as the best choice so far if it is in the box.
  void consider_base() {
    const Point sum = total(base_);
    if (!within(sum)) return;
    result_.found = true;
    result_.total = sum;
    result_.proven = capacity(sum) * (1 + 2 * kRounding) >= result_.bound;
  }

  bool within(const Point& total) const {
    const double f = 1 + kRounding;
    return total.flops <= box_.flops.high * f && total.flops * f >= box_.flops.low &&
           total.params <= box_.params.high * f && total.params * f >= box_.params.low;
  }

  // Where the base is outside the box: bases for smaller boxes.
  void retreat() {
    double part = 0;
    for (int i = 0; i < kRetreats && !result_.found; ++i) {
      const Point now = total(base_);
      part = i > 0 ? 4 * part : std::max({now.flops / box_.flops.high, now.params / box_.params.high, 1 + 1e-9}) - 1;
      if (part >= 1) return;
      const auto lower = [&](const Interval& side) {
        return Interval{side.low, std::max(side.low, side.high * (1 - part))};
      };
      const Relaxation inside = relax(groups_, {lower(box_.flops), lower(box_.params)});
      if (!inside.feasible) return;
      std::vector<int> before = base_;
      choose_base(inside.shares);
      consider_base();
      if (!result_.found) base_ = std::move(before);
    }
  }

  // How far a point is from the base, in costs and in what it loses.
  double step(size_t item, const Point& point) const {
    const Point& here = taken(base_, item);
    return distance(point.flops - here.flops, point.params - here.params) +
           kLossWeight * loss(items_[item].group, point);
  }

  // Which options the pass lists, and the order of its items.
  void choose_steps(const Pass& pass, uint64_t seed) {
    struct Step {
      double measure;
      size_t item, option;
      bool operator<(const Step& other) const {
        return std::tie(measure, item, option) < std::tie(other.measure, other.item, other.option);
      }
    };
    const Point now = total(base_);
    const double missing = distance(relaxed_.best.flops - now.flops, relaxed_.best.params - now.params) + kRounding;
    Random random(seed);
    std::vector<Step> steps;
    listed_.assign(items_.size(), {});
    order_.clear();
    for (size_t i = 0; i < items_.size(); ++i) {
      order_.push_back(i);
      items_[i].nearest = HUGE_VAL;
      if (pass.steps == Steps::kFittingOfHalf && random.chance(0.5)) continue;
      const std::vector<Point>& points = groups_[items_[i].group].points;
      for (size_t k = 0; k < points.size(); ++k) {
        if (static_cast<int>(k) == base_[i]) continue;
        const double size = step(i, points[k]);
        items_[i].nearest = std::min(items_[i].nearest, size);
        if (pass.steps != Steps::kAll) steps.push_back({std::abs(std::log(size / missing)), i, k});
      }
    }
    std::sort(steps.begin(), steps.end());
    const double room = 2 * std::log(static_cast<double>(pass.most));
    double used = 0;
    for (const Step& step : steps) {
      used += std::log1p(1.0 / static_cast<double>(1 + listed_[step.item].size()));
      if (used > room) break;
      listed_[step.item].push_back(step.option);
    }
    whole_items_ = pass.steps == Steps::kAll;
    std::stable_sort(order_.begin(), order_.end(),
                     [&](size_t a, size_t b) { return items_[a].nearest < items_[b].nearest; });
  }

  // The most that a choice better than the best so far can lose against the relaxation along its normal; negative: there is none.
  double allowed_loss() const {
    const Point& normal = relaxed_.normal;
    if (normal == Point{}) return HUGE_VAL;
    const double worth = result_.found ? capacity(result_.total) : 0;
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
    return least == HUGE_VAL ? -1 : top_total_ - least + kRounding * 10;
  }

  // The FLOPs of a better choice lie here: its parameters are at most what the relaxation leaves for them.
  Interval better_flops() const {
    const double worth = result_.found ? capacity(result_.total) : 0;
    const double most = std::min(box_.params.high, relaxed_.most.params);
    Interval range{std::max(box_.flops.low, most > 0.5 ? worth / most : 0), box_.flops.high};
    const Point& n = relaxed_.normal;
    if (n.params > 0) {  // n.flops F^2 - top F + n.params worth <= 0
      const double under = top_total_ * top_total_ - 4 * n.flops * n.params * worth;
      if (under >= 0) {
        const double root = std::sqrt(under);
        range.low = std::max(range.low, 2 * n.params * worth / (top_total_ + root));
        if (n.flops > 0) range.high = std::min(range.high, (top_total_ + root) / (2 * n.flops));
      }
    }
    return {range.low * (1 - kRounding), range.high * (1 + kRounding)};
  }

  // Lists items into two halves while they fit, the rest as in the base, and joins the halves. Whether all was listed, so that what is
  // found is the best.
  bool list_and_join(size_t most) {
    const double allowed = allowed_loss();
    if (allowed < 0) return true;
    bool complete = true;
    improved_ = false;
    Half halves[2];
    picks_ = base_;
    fixed_ = {};
    fixed_loss_ = 0;
    std::vector<size_t> options;
    for (size_t item : order_) {
      const size_t g = items_[item].group;
      options.clear();
      for (size_t k = 0; k < groups_[g].points.size(); ++k) {
        const Point& point = groups_[g].points[k];
        if (loss(g, point) > allowed) continue;
        const std::vector<size_t>& listed = listed_[item];
        if (!whole_items_ && static_cast<int>(k) != base_[item] &&
            std::find(listed.begin(), listed.end(), k) == listed.end()) {
          complete = false;
          continue;
        }
        options.push_back(k);
      }
      if (options.empty() && whole_items_) return true;
      Half& half = halves[halves[0].states.size() > halves[1].states.size()];
      if (options.size() > 1 && half.states.size() * options.size() <= 2 * most) {
        extend(half, item, options, allowed);
        if (half.states.empty()) return complete;
        continue;
      }
      complete = complete && options.size() == 1;
      if (!options.empty() &&
          std::find(options.begin(), options.end(), static_cast<size_t>(picks_[item])) == options.end())
        picks_[item] = static_cast<int>(options[0]);
      const Point& point = taken(picks_, item);
      fixed_ = {fixed_.flops + point.flops - least_[g].flops, fixed_.params + point.params - least_[g].params};
      fixed_loss_ += loss(g, point);
    }
    const bool joined = join(halves, allowed);
    return result_.proven || (joined && complete);
  }

  void extend(Half& half, size_t item, const std::vector<size_t>& options, double allowed) {
    const size_t g = items_[item].group;
    const double f = 1 + kRounding;
    half.span = {half.span.flops + spans_[g].flops, half.span.params + spans_[g].params};
    const Interval flops = better_flops();
    const double most_flops = flops.high * f - least_total_.flops,
                 most_params = box_.params.high * f - least_total_.params;
    const double least_flops = flops.low - least_total_.flops - (span_total_.flops - half.span.flops);
    const double least_params =
        box_.params.low * (1 - kRounding) - least_total_.params - (span_total_.params - half.span.params);
    std::vector<State> steps, next;
    for (size_t k : options) {
      const Point& point = groups_[g].points[k];
      steps.push_back({point.flops - least_[g].flops, point.params - least_[g].params, loss(g, point), 0,
                       static_cast<uint32_t>(k)});
    }
    next.reserve(half.states.size() * steps.size());
    for (uint32_t parent = 0; parent < half.states.size(); ++parent) {
      const State& state = half.states[parent];
      for (const State& step : steps) {
        const State made{state.flops + step.flops, state.params + step.params, state.loss + step.loss, parent,
                         step.pick};
        if (made.flops <= most_flops && made.params <= most_params && made.loss <= allowed &&
            made.flops >= least_flops && made.params >= least_params)
          next.push_back(made);
      }
    }
    std::sort(next.begin(), next.end(), by_costs);
    const auto same = [](const State& a, const State& b) { return a.flops == b.flops && a.params == b.params; };
    next.erase(std::unique(next.begin(), next.end(), same), next.end());
    half.levels.push_back({item, std::move(half.states)});
    half.states = std::move(next);
  }

  // The best pair, one of each half; false where there were too many to look at all.
  bool join(const Half (&halves)[2], double allowed) {
    const std::vector<State>&left = halves[0].states, &right = halves[1].states;
    const Point ground{least_total_.flops + fixed_.flops, least_total_.params + fixed_.params};
    std::optional<std::pair<size_t, size_t>> best;
    double worth = result_.found ? capacity(result_.total) : -1;
    int64_t looked = 0;
    size_t end = right.size();
    Interval range = better_flops();
    for (size_t i = 0; i < left.size(); ++i) {
      const Point sum{ground.flops + left[i].flops, ground.params + left[i].params};
      while (end > 0 && sum.flops + right[end - 1].flops > range.high) --end;
      for (size_t k = end; k-- > 0;) {
        const Point both{sum.flops + right[k].flops, sum.params + right[k].params};
        if (both.flops < range.low) break;
        if (++looked > kMostPairs) break;
        if (left[i].loss + right[k].loss + fixed_loss_ > allowed) continue;
        if (capacity(both) <= worth || !within(both)) continue;
        best = {i, k};
        worth = capacity(both);
        result_.found = true;
        result_.total = both;
        range = better_flops();
        if (aim_ == Aim::kAny) break;
      }
      if (best && aim_ == Aim::kAny) break;
    }
    improved_ = best.has_value();
    if (best) {
      trace(halves[0], best->first);
      trace(halves[1], best->second);
      base_ = picks_;
      result_.total = total(base_);
      if (worth * (1 + 2 * kRounding) >= result_.bound) result_.proven = true;
    }
    return looked <= kMostPairs;
  }

  void trace(const Half& half, size_t at) {
    const std::vector<State>* states = &half.states;
    for (size_t level = half.levels.size(); level-- > 0;) {
      const State& state = (*states)[at];
      picks_[half.levels[level].item] = static_cast<int>(state.pick);
      at = state.parent;
      states = &half.levels[level].states;
    }
  }

  void gather() {
    result_.picks.resize(groups_.size());
    for (size_t i = 0; i < items_.size(); ++i) result_.picks[items_[i].group].push_back(base_[i]);
    for (std::vector<int>& picks : result_.picks) std::sort(picks.begin(), picks.end());
  }

  const std::vector<Group>& groups_;
  const Lattice lattice_;
  const Box box_;
  const Aim aim_;
  Relaxation relaxed_;
  Filling result_;
  Point scale_, least_total_, span_total_;
  double top_total_ = 0;
  std::vector<Point> least_, spans_;  // by group: least costs, and how far above these it goes
  std::vector<double> top_;           // by group: the most of normal . point
  std::vector<Item> items_;
  std::vector<size_t> order_;
  std::vector<int> base_;                    // by item: the best choice so far, or one near the relaxation
  std::vector<int> near_;                    // the first base, nearest to the relaxation but maybe outside the box
  std::vector<int> picks_;                   // of the pass under way
  std::vector<std::vector<size_t>> listed_;  // by item: the options that the pass takes besides the base's
  bool whole_items_ = false;                 // the pass takes all
  bool improved_ = false;                    // by the last pass
  Point fixed_;                              // what items not listed cost above their least
  double fixed_loss_ = 0;
};

}  // namespace

Filling fill(const std::vector<Group>& groups, const Box& box, Aim aim) { return Filler(groups, box, aim).run(); }

}  // namespace canvas

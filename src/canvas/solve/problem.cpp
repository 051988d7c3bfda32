#include "canvas/solve/problem.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <tuple>

#include "canvas/base/error.h"
#include "canvas/base/random.h"

namespace canvas {

namespace {

constexpr double kRounding = 1e-12;
constexpr size_t kMostOptions = 1 << 20;  // of all shapes together
constexpr size_t kMostOfAShape = 1 << 14;
constexpr size_t kMostPeaks = 200;  // decisions tried as the one that reaches a floor of memory

constexpr size_t kUsual = 12;  // options of a layer

uint64_t hash_of(const Layer& layer) {
  uint64_t code = static_cast<uint64_t>(layer.c_in) << 32 ^ static_cast<uint64_t>(layer.c_out);
  for (int64_t extent : layer.spatial) code = code * 31 + static_cast<uint64_t>(extent);
  return mix64(code * 31 + static_cast<uint64_t>(layer.stride + layer.tokens));
}

bool same_sizes(const Layer& a, const Layer& b) {
  return a.c_in == b.c_in && a.c_out == b.c_out && a.stride == b.stride && a.tokens == b.tokens &&
         a.spatial == b.spatial;
}

}  // namespace

const char* name_of(Resource resource) {
  constexpr const char* kNames[] = {"flops", "params", "memory", "latency"};
  return kNames[static_cast<size_t>(resource)];
}

double amount(const Cost& cost, Resource resource) {
  switch (resource) {
    case Resource::kFlops: return cost.flops;
    case Resource::kParams: return cost.params;
    case Resource::kMemory: return cost.memory;
    case Resource::kLatency: break;
  }
  return cost.latency;
}

double Limit::missed(double used) const {
  if (used > high() * (1 + kRounding)) return used / high();
  if (used * (1 + kRounding) < low()) return used > 0 ? low() / used : HUGE_VAL;
  return 1;
}

std::vector<Limit> limits_of(const Budget& budget, const Cost& original) {
  std::vector<Limit> limits;
  const auto put = [&](Resource resource, const std::optional<Range>& range) {
    if (range) limits.push_back({resource, *range, range->absolute ? 1 : amount(original, resource)});
  };
  put(Resource::kFlops, budget.flops);
  put(Resource::kParams, budget.params);
  put(Resource::kMemory, budget.memory);
  return limits;
}

Problem::Problem(const Sizing& sizing, const std::vector<Layer>& layers, const Budget& budget, const Prices* prices)
    : sizing_(sizing),
      layers_(layers),
      budget_(budget),
      prices_(budget.latency ? prices : nullptr),
      limits_(limits_of(budget, total_cost(layers))),
      options_{sizing.variables()} {
  if (prices_) {
    const Range& range = *budget.latency;
    limits_.push_back({Resource::kLatency, range, range.absolute ? 1 : prices_->original});
  }
  std::vector<uint32_t> known(std::bit_ceil(2 * layers.size()), UINT32_MAX);  // shapes, by hash
  shape_of_.reserve(layers.size());
  shapes_.reserve(layers.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    size_t at = hash_of(layers[i]) & (known.size() - 1);
    while (known[at] != UINT32_MAX && !same_sizes(layers[shapes_[known[at]].layer], layers[i]))
      at = (at + 1) & (known.size() - 1);
    if (known[at] == UINT32_MAX) {
      known[at] = static_cast<uint32_t>(shapes_.size());
      shapes_.push_back({i});
    }
    shape_of_.push_back(known[at]);
  }
  most_ = std::min(kMostOfAShape, kMostOptions / shapes_.size());
}

std::vector<Limit> Problem::limits_on(const Layer& layer) const {
  return budget_.each ? limits_of(*budget_.each, layer.cost()) : std::vector<Limit>();
}

std::optional<Fault> Problem::add_each(bool by_shape) {
  few_ = (by_shape ? shapes_.size() : layers_.size()) > kFewDecisions && !prices_ && !budget_.each;
  double highest = HUGE_VAL;  // memory
  for (const Limit& limit : limits_) {
    if (limit.resource == Resource::kMemory) highest = limit.high();
  }
  options_.costs.reserve(kUsual * shapes_.size());
  options_.values.reserve(kUsual * shapes_.size() * options_.variables);
  units_.reserve(layers_.size());
  std::vector<size_t> unit_of(layers_.size());
  std::vector<size_t> before;  // by unit: the one of the same shape
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    Shape& shape = shapes_[shape_of_[i]];
    if (shape.layer == i) {
      shape.options = shape.costs = options_.size();
      if (few_) {
        shape.count = sizing_.list_few(layer, most_, highest, options_);
      } else {
        shape.count = sizing_.list(layer, most_, options_);
      }
      if (prices_ && shape.count > 0) shape.count = keep_priced(i, shape.options);
      if (shape.count == 0) return sizing_.why_none(layer);
    }
    const auto equal = [&](size_t unit) {
      const Layer& other = layers_[units_[unit].layers];
      const bool originals = !budget_.each || (layer.window == other.window && layer.groups == other.groups);
      return by_shape || (layer.count == other.count && originals);
    };
    size_t unit = shape.unit;
    while (unit != SIZE_MAX && !equal(unit)) unit = before[unit];
    if (unit == SIZE_MAX) {
      unit = units_.size();
      units_.push_back({shape_of_[i], 0, 0, i, 0, 0, 1});  // its first layer, until they are arranged
      before.push_back(shape.unit);
      shape.unit = unit;
    }
    ++units_[unit].count;
    unit_of[i] = unit;
  }
  arrange(unit_of);
  entries_.reserve(options_.size() + options_.size() / 4);
  for (Unit& unit : units_) {
    if (!by_shape) unit.copies = static_cast<int>(unit.count);
    price(unit);
  }
  return std::nullopt;
}

// Leaves those options of a layer that have a price, and sets it.
size_t Problem::keep_priced(size_t layer, size_t start) {
  const auto& prices = prices_->layers[layer];
  size_t kept = start;
  for (size_t k = start; k < options_.size(); ++k) {
    const int64_t* const option = options_.at(k);
    const auto same = [&](const auto& price) {
      return std::equal(option, option + options_.variables, price.first.begin() + kFirstDynamic);
    };
    const auto price = std::find_if(prices.begin(), prices.end(), same);
    if (price == prices.end()) continue;
    std::copy(option, option + options_.variables,
              options_.values.begin() + static_cast<std::ptrdiff_t>(kept * options_.variables));
    options_.costs[kept] = options_.costs[k];
    options_.costs[kept++].latency = price->second;
  }
  options_.complete = options_.complete && kept == options_.size();
  options_.cut(kept);
  return kept - start;
}

std::optional<Fault> Problem::add_together() {
  if (sizing_.list(layers_[0], most_, options_) == 0) return sizing_.why_none(layers_[0]);
  for (const Shape& shape : shapes_) {
    if (shape.layer == 0) continue;
    const Layer& layer = layers_[shape.layer];
    sizing_.restrict(options_, layer);
    if (options_.size() > 0) continue;
    Options alone{options_.variables};
    if (sizing_.list(layer, 1, alone) == 0) return sizing_.why_none(layer);
    return Fault{"bind", "sizes that are legal on every layer, since all share them",
                 "none that suit the layer " + layer.str() + " and those before it",
                 "let every layer or shape have its own"};
  }
  const size_t count = options_.size();
  for (Shape& shape : shapes_) {
    shape.count = count;
    shape.costs = shape.layer == 0 ? 0 : options_.size();
    if (shape.layer != 0) sizing_.price(layers_[shape.layer], count, options_);
  }
  units_.push_back({0, 0, 0, 0, layers_.size(), 0, 1});
  arrange(std::vector<size_t>(layers_.size(), 0));
  price(units_[0]);
  return std::nullopt;
}

// Puts the layers in the order of their units.
void Problem::arrange(const std::vector<size_t>& unit_of) {
  size_t start = 0;
  for (Unit& unit : units_) {
    unit.layers = start;
    start += unit.count;
    unit.count = 0;
  }
  by_unit_.resize(unit_of.size());
  for (size_t i = 0; i < unit_of.size(); ++i) {
    Unit& unit = units_[unit_of[i]];
    by_unit_[unit.layers + unit.count++] = i;
  }
}

// The unit's entries, and its part in what the network costs at least and at most.
void Problem::price(Unit& unit) {
  unit.first = entries_.size();
  unit.decision = decisions_;
  decisions_ += static_cast<size_t>(unit.copies);
  const size_t count = shapes_[unit.shape].count;
  for (size_t k = 0; k < count; ++k) entries_.push_back({{}, 0, 0, 1, static_cast<uint32_t>(k)});
  Entry* const entries = entries_.data() + unit.first;
  const size_t priced = unit.copies > 1 ? 1 : unit.count;  // equal decisions are priced once
  for (size_t i = 0; i < priced; ++i) {
    const size_t layer = by_unit_[unit.layers + i];
    const auto times = static_cast<double>(layers_[layer].count);
    const std::vector<Limit> limits = limits_on(layers_[layer]);
    for (size_t k = 0; k < count; ++k) {
      const Cost& once = cost(layer, k);
      entries[k].point = entries[k].point + Point{once.flops, once.params} * times;
      entries[k].memory = std::max(entries[k].memory, once.memory);
      entries[k].latency += times * once.latency;
      for (const Limit& limit : limits)
        entries[k].missed = std::max(entries[k].missed, limit.missed(amount(once, limit.resource)));
    }
  }
  for (const Limit& limit : limits_) {
    if (limit.resource != Resource::kMemory) continue;
    for (size_t k = 0; k < count; ++k) {
      if (entries[k].memory > limit.high())
        entries[k].missed = std::max(entries[k].missed, limit.missed(entries[k].memory));
    }
  }
  const auto less = [](const Entry& a, const Entry& b) {
    return std::tie(a.point.flops, a.point.params, a.latency, a.memory, a.option) <
           std::tie(b.point.flops, b.point.params, b.latency, b.memory, b.option);
  };
  if (count > 1 && less(entries[count - 1], entries[0])) std::reverse(entries, entries + count);
  if (!std::is_sorted(entries, entries + count, less)) std::sort(entries, entries + count, less);
  unit.last = entries_.size();
  count_in(unit);
}

void Problem::count_in(const Unit& unit) {
  Cost low{HUGE_VAL, HUGE_VAL, HUGE_VAL, HUGE_VAL}, high;
  double missed = HUGE_VAL;
  for (size_t i = unit.first; i < unit.last; ++i) {
    const Entry& e = entries_[i];
    low = {std::min(low.flops, e.point.flops), std::min(low.params, e.point.params), std::min(low.memory, e.memory),
           std::min(low.latency, e.latency)};
    high = {std::max(high.flops, e.point.flops), std::max(high.params, e.point.params), std::max(high.memory, e.memory),
            std::max(high.latency, e.latency)};
    missed = std::min(missed, e.missed);
  }
  const double copies = unit.copies;
  least_ = {least_.flops + copies * low.flops, least_.params + copies * low.params, std::max(least_.memory, low.memory),
            least_.latency + copies * low.latency};
  most_of_all_ = {most_of_all_.flops + copies * high.flops, most_of_all_.params + copies * high.params,
                  std::max(most_of_all_.memory, high.memory), most_of_all_.latency + copies * high.latency};
  least_missed_ = std::max(least_missed_, missed);
}

Box Problem::box(double factor) const {
  Box box;
  for (const Limit& limit : limits_) {
    const Interval interval{limit.low() / factor, limit.high() * factor};
    if (limit.resource == Resource::kFlops) box.flops = interval;
    if (limit.resource == Resource::kParams) box.params = interval;
    if (limit.resource == Resource::kLatency) box.seconds = interval;
  }
  return box;
}

// Adds a unit's points as a group; false where it has none.
bool Problem::list(size_t unit, double factor, double least_memory, Listed& into) const {
  const Unit& from = units_[unit];
  const size_t start = into.points.size();
  for (size_t i = from.first; i < from.last; ++i) {
    const Entry& entry = entries_[i];
    if (entry.missed > factor * (1 + kRounding) || entry.memory * (1 + kRounding) < least_memory) continue;
    if (into.points.size() > start && into.points.back() == entry.point) continue;  // it is no quicker
    into.points.push_back(entry.point);
    if (prices_) into.seconds.push_back(entry.latency);
    into.entries.push_back(static_cast<uint32_t>(i));
  }
  const size_t count = into.points.size() - start;
  if (count == 0) return false;
  into.groups.push_back({{into.points.data() + start, count}, {}, from.copies});
  if (prices_) into.groups.back().seconds = {into.seconds.data() + start, count};
  into.owners.push_back(unit);
  return true;
}

Problem::Listed Problem::room(size_t more) const {
  Listed listed;
  listed.points.reserve(entries_.size() + more);
  listed.entries.reserve(entries_.size() + more);
  if (prices_) listed.seconds.reserve(entries_.size() + more);
  listed.groups.reserve(units_.size() + 1);
  listed.owners.reserve(units_.size() + 1);
  return listed;
}

Solution Problem::solve(double factor, Aim aim) const {
  Listed listed = room(0);
  for (size_t u = 0; u < units_.size(); ++u) {
    if (!list(u, factor, 0, listed)) return {false, true, {}, {}, 0};
  }
  Solution solution = solve_listed(listed, factor, aim);
  for (const Limit& limit : limits_) {
    if (limit.resource == Resource::kMemory && solution.found && limit.low() > 0 &&
        solution.total.memory * (1 + kRounding) < limit.low() / factor)
      return reach_memory(limit.low() / factor, factor, aim, solution.bound);
  }
  return solution;
}

Solution Problem::solve_listed(const Listed& listed, double factor, Aim aim) const {
  const Filling filling = fill(listed.groups, box(factor), aim, options_.few);
  Solution solution{filling.found, filling.proven, {}, {}, filling.bound};
  if (!filling.found) return solution;
  solution.picks.resize(decisions_);
  std::vector<size_t> next;  // by unit: the decision
  for (const Unit& unit : units_) next.push_back(unit.decision);
  size_t decision = 0;
  const uint32_t* entries = listed.entries.data();
  for (size_t g = 0; g < listed.groups.size(); ++g) {
    const Point* const first = listed.groups[g].points.data();
    for (int copy = 0; copy < listed.groups[g].copies; ++copy) {
      const size_t point = static_cast<size_t>(first - listed.points.data()) + filling.picks[decision++];
      const Entry& entry = entries_[entries[point]];
      solution.picks[next[listed.owners[g]]++] = entry.option;
      solution.total = {solution.total.flops + entry.point.flops, solution.total.params + entry.point.params,
                        std::max(solution.total.memory, entry.memory), solution.total.latency + entry.latency};
    }
  }
  return solution;
}

// The best choice in which some decision reaches the floor of memory: each in turn is held to it.
Solution Problem::reach_memory(double floor, double factor, Aim aim, double bound) const {
  Solution best{false, true, {}, {}, 0};
  size_t tried = 0;
  for (size_t u = 0; u < units_.size(); ++u) {
    Listed with = room(units_[u].last - units_[u].first);
    if (!list(u, factor, floor, with)) continue;
    if (++tried > kMostPeaks) {
      best.proven = false;
      best.bound = bound;
      break;
    }
    with.groups.back().copies = 1;
    for (size_t v = 0; v < units_.size(); ++v) {
      if (v == u && units_[v].copies == 1) continue;
      list(v, factor, 0, with);
      if (v == u) --with.groups.back().copies;
    }
    Solution found = solve_listed(with, factor, aim);
    const bool proven = best.proven && found.proven;
    const double highest = std::max(best.bound, found.bound);
    const auto worth = [](const Solution& s) { return capacity({s.total.flops, s.total.params}); };
    if (found.found && (!best.found || worth(found) > worth(best))) best = std::move(found);
    best.proven = proven;
    best.bound = highest;
    if (best.found && aim == Aim::kAny) break;
  }
  return best;
}

double Problem::least_factor() const {
  double factor = least_missed_;
  for (const Limit& limit : limits_) {
    factor = std::max(factor, amount(least_, limit.resource) / limit.high());
    if (limit.low() > 0) factor = std::max(factor, limit.low() / amount(most_of_all_, limit.resource));
  }
  return factor;
}

}  // namespace canvas

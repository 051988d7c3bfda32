#include "canvas/solve/problem.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <unordered_map>

#include "canvas/base/error.h"
#include "canvas/base/random.h"

namespace canvas {

namespace {

constexpr double kRounding = 1e-12;
constexpr size_t kMostOptions = 1 << 20;  // of all shapes together
constexpr size_t kMostOfAShape = 1 << 14;
constexpr size_t kMostPeaks = 200;  // decisions tried as the one that reaches a floor of memory

struct HashOfValues {
  size_t operator()(const Values& values) const {
    uint64_t code = 0;
    for (size_t v = 0; v < kFirstDynamic; ++v) code = combine(code, static_cast<uint64_t>(values[v]));
    return code;
  }
};

}  // namespace

const char* name_of(Resource resource) {
  constexpr const char* kNames[] = {"flops", "params", "memory"};
  return kNames[static_cast<size_t>(resource)];
}

double amount(const Cost& cost, Resource resource) {
  return resource == Resource::kFlops ? cost.flops : resource == Resource::kParams ? cost.params : cost.memory;
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

Problem::Problem(const Sizing& sizing, const std::vector<Layer>& layers, const Budget& budget)
    : sizing_(sizing), layers_(layers), budget_(budget), limits_(limits_of(budget, total_cost(layers))) {
  std::unordered_map<Values, size_t, HashOfValues> known;
  known.reserve(layers.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    const auto [at, fresh] = known.try_emplace(layers[i].values(), shapes_.size());
    if (fresh) shapes_.push_back({i});
    shape_of_.push_back(at->second);
  }
  most_ = std::min(kMostOfAShape, kMostOptions / std::max<size_t>(1, shapes_.size()));
}

std::vector<Limit> Problem::limits_on(const Layer& layer) const {
  return budget_.each ? limits_of(*budget_.each, layer.cost()) : std::vector<Limit>();
}

bool Problem::complete() const {
  return std::all_of(shapes_.begin(), shapes_.end(), [](const Shape& shape) { return shape.options.complete; });
}

std::optional<Fault> Problem::add_each(bool by_shape) {
  using Key = std::tuple<size_t, int64_t, int64_t, int64_t>;
  std::map<Key, size_t> known;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    Shape& shape = shapes_[shape_of_[i]];
    if (shape.first == i) shape.options = sizing_.options(layer, most_);
    if (shape.options.size() == 0) return sizing_.why_none(layer);
    Key key{shape_of_[i], 0, 0, 0};
    if (!by_shape) key = {shape_of_[i], layer.count, budget_.each ? layer.window : 0, budget_.each ? layer.groups : 0};
    const auto [at, fresh] = known.emplace(key, units_.size());
    if (fresh) units_.push_back({&shape.options, {}, {}, {}, 1});
    units_[at->second].layers.push_back(i);
  }
  for (Unit& unit : units_) {
    if (!by_shape) unit.copies = static_cast<int>(unit.layers.size());
    price(unit);
  }
  return std::nullopt;
}

std::optional<Fault> Problem::add_together() {
  Options& options = shapes_[0].options;
  options = sizing_.options(layers_[0], most_);
  if (options.size() == 0) return sizing_.why_none(layers_[0]);
  for (const Shape& shape : shapes_) {
    if (shape.first == 0) continue;
    const Layer& layer = layers_[shape.first];
    sizing_.restrict(options, layer);
    if (options.size() > 0) continue;
    if (sizing_.options(layer, 1).size() == 0) return sizing_.why_none(layer);
    return Fault{"bind", "sizes that are legal on every layer, since all share them",
                 "none that suit the layer " + layer.str() + " and those before it",
                 "let every layer or shape have its own"};
  }
  for (Shape& shape : shapes_) {
    if (shape.first != 0) shape.costs = sizing_.costs(options, layers_[shape.first]);
  }
  Unit unit{&options, {}, {}, {}, 1};
  for (size_t i = 0; i < layers_.size(); ++i) unit.layers.push_back(i);
  price(unit);
  units_.push_back(std::move(unit));
  return std::nullopt;
}

const std::vector<Cost>& Problem::costs_on(size_t layer) const {
  const Shape& shape = shapes_[shape_of_[layer]];
  return shape.costs.empty() ? shape.options.costs : shape.costs;
}

Cost Problem::cost(size_t layer, size_t option) const { return costs_on(layer)[option]; }

void Problem::price(Unit& unit) const {
  const size_t count = unit.options->size();
  unit.totals.resize(count);
  unit.missed.assign(count, 1);
  const size_t priced = unit.copies > 1 ? 1 : unit.layers.size();  // equal decisions are priced once
  for (size_t i = 0; i < priced; ++i) {
    const Layer& layer = layers_[unit.layers[i]];
    const std::vector<Cost>& costs = costs_on(unit.layers[i]);
    const auto times = static_cast<double>(layer.count);
    const std::vector<Limit> limits = limits_on(layer);
    for (size_t k = 0; k < count; ++k) {
      Cost& total = unit.totals[k];
      total = {total.flops + times * costs[k].flops, total.params + times * costs[k].params,
               std::max(total.memory, costs[k].memory)};
      for (const Limit& limit : limits)
        unit.missed[k] = std::max(unit.missed[k], limit.missed(amount(costs[k], limit.resource)));
    }
  }
  for (const Limit& limit : limits_) {
    if (limit.resource != Resource::kMemory) continue;
    for (size_t k = 0; k < count; ++k) {
      if (unit.totals[k].memory > limit.high())
        unit.missed[k] = std::max(unit.missed[k], limit.missed(unit.totals[k].memory));
    }
  }
}

Box Problem::box(double factor) const {
  Box box;
  for (const Limit& limit : limits_) {
    const Interval interval{limit.low() / factor, limit.high() * factor};
    if (limit.resource == Resource::kFlops) box.flops = interval;
    if (limit.resource == Resource::kParams) box.params = interval;
  }
  return box;
}

// Adds a unit's points as a group; false where it has none.
bool Problem::list(size_t unit, double factor, double least_memory, Listed& into) const {
  struct Entry {
    Point point;
    double memory;
    size_t option;
  };
  const Unit& from = units_[unit];
  std::vector<Entry> entries;
  entries.reserve(from.totals.size());
  for (size_t k = 0; k < from.totals.size(); ++k) {
    const Cost& total = from.totals[k];
    if (from.missed[k] <= factor * (1 + kRounding) && total.memory * (1 + kRounding) >= least_memory)
      entries.push_back({{total.flops, total.params}, total.memory, k});
  }
  if (entries.empty()) return false;
  const auto costs = [](const Entry& e) { return std::tie(e.point.flops, e.point.params, e.memory, e.option); };
  std::sort(entries.begin(), entries.end(), [&](const Entry& a, const Entry& b) { return costs(a) < costs(b); });
  const auto same = [](const Entry& a, const Entry& b) { return a.point == b.point; };
  entries.erase(std::unique(entries.begin(), entries.end(), same), entries.end());
  Group group{{}, from.copies};
  std::vector<size_t> options;
  group.points.reserve(entries.size());
  options.reserve(entries.size());
  for (const Entry& entry : entries) {
    group.points.push_back(entry.point);
    options.push_back(entry.option);
  }
  into.groups.push_back(std::move(group));
  into.options.push_back(std::move(options));
  into.owners.push_back(unit);
  return true;
}

Solution Problem::solve(double factor, Aim aim) const {
  Listed listed;
  for (size_t u = 0; u < units_.size(); ++u) {
    if (!list(u, factor, 0, listed)) return {false, true, {}, {}, 0};
  }
  Solution solution = solve_listed(listed, factor, aim);
  for (const Limit& limit : limits_) {
    if (limit.resource == Resource::kMemory && solution.found && limit.low() > 0 &&
        solution.total.memory * (1 + kRounding) < limit.low() / factor)
      return reach_memory(listed, factor, aim, std::move(solution));
  }
  return solution;
}

Solution Problem::solve_listed(const Listed& listed, double factor, Aim aim) const {
  const Filling filling = fill(listed.groups, box(factor), aim);
  Solution solution{filling.found, filling.proven, {}, {}, filling.bound};
  if (!filling.found) return solution;
  solution.picks.resize(units_.size());
  for (size_t i = 0; i < listed.groups.size(); ++i) {
    for (int pick : filling.picks[i]) {
      const size_t option = listed.options[i][static_cast<size_t>(pick)];
      solution.picks[listed.owners[i]].push_back(option);
      const Cost& cost = units_[listed.owners[i]].totals[option];
      solution.total = {solution.total.flops + cost.flops, solution.total.params + cost.params,
                        std::max(solution.total.memory, cost.memory)};
    }
  }
  return solution;
}

// The best choice in which some decision reaches the floor of memory: each in turn is held to it.
Solution Problem::reach_memory(const Listed& listed, double factor, Aim aim, Solution free) const {
  double floor = 0;
  for (const Limit& limit : limits_) {
    if (limit.resource == Resource::kMemory) floor = limit.low() / factor;
  }
  Solution best{false, true, {}, {}, 0};
  size_t tried = 0;
  for (size_t u = 0; u < units_.size(); ++u) {
    Listed with = listed;
    if (!list(u, factor, floor, with)) continue;
    if (++tried > kMostPeaks) {
      best.proven = false;
      best.bound = free.bound;
      break;
    }
    with.groups.back().copies = 1;
    if (--with.groups[u].copies == 0) {
      std::swap(with.groups[u], with.groups.back());
      std::swap(with.options[u], with.options.back());
      with.groups.pop_back();
      with.options.pop_back();
      with.owners.pop_back();
    }
    Solution found = solve_listed(with, factor, aim);
    const bool proven = best.proven && found.proven;
    const double bound = std::max(best.bound, found.bound);
    const auto worth = [](const Solution& s) { return capacity({s.total.flops, s.total.params}); };
    if (found.found && (!best.found || worth(found) > worth(best))) best = std::move(found);
    best.proven = proven;
    best.bound = bound;
    if (best.found && aim == Aim::kAny) break;
  }
  return best;
}

double Problem::least_factor() const {
  Cost least, most;
  double factor = 1;
  for (const Unit& unit : units_) {
    Cost low{HUGE_VAL, HUGE_VAL, HUGE_VAL}, high;
    for (const Cost& cost : unit.totals) {
      low = {std::min(low.flops, cost.flops), std::min(low.params, cost.params), std::min(low.memory, cost.memory)};
      high = {std::max(high.flops, cost.flops), std::max(high.params, cost.params), std::max(high.memory, cost.memory)};
    }
    const double copies = unit.copies;
    least = {least.flops + copies * low.flops, least.params + copies * low.params, std::max(least.memory, low.memory)};
    most = {most.flops + copies * high.flops, most.params + copies * high.params, std::max(most.memory, high.memory)};
    factor = std::max(factor, *std::min_element(unit.missed.begin(), unit.missed.end()));
  }
  for (const Limit& limit : limits_) {
    factor = std::max(factor, amount(least, limit.resource) / limit.high());
    if (limit.low() > 0) factor = std::max(factor, limit.low() / amount(most, limit.resource));
  }
  return factor;
}

}  // namespace canvas

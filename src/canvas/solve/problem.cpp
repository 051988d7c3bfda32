#include "canvas/solve/problem.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "canvas/base/error.h"

namespace canvas {

namespace {

constexpr double kRounding = 1e-12;
constexpr size_t kMostOptions = 1 << 20;  // of all shapes together
constexpr size_t kMostOfAShape = 1 << 14;
constexpr size_t kMostPeaks = 200;  // decisions tried as the one that reaches a floor of memory

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
  std::set<Values> shapes;
  if (layers.size() > kMostOptions / kMostOfAShape) {
    for (const Layer& layer : layers) shapes.insert(layer.values());
  }
  most_ = std::min(kMostOfAShape, kMostOptions / std::max<size_t>(1, shapes.size()));
}

std::vector<Limit> Problem::limits_on(const Layer& layer) const {
  return budget_.each ? limits_of(*budget_.each, layer.cost()) : std::vector<Limit>();
}

Options& Problem::options_on(size_t layer) {
  const auto [at, fresh] = shapes_.try_emplace(layers_[layer].values());
  if (fresh) at->second = sizing_.options(layers_[layer], most_);
  return at->second;
}

bool Problem::complete() const {
  return std::all_of(shapes_.begin(), shapes_.end(), [](const auto& shape) { return shape.second.complete; });
}

std::optional<Fault> Problem::add_each(bool by_shape) {
  using Key = std::tuple<const Options*, int64_t, int64_t, int64_t>;
  std::map<Key, size_t> known;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    const Options& options = options_on(i);
    if (options.size() == 0) return sizing_.why_none(layer);
    Key key{&options, 0, 0, 0};
    if (!by_shape) key = {&options, layer.count, budget_.each ? layer.window : 0, budget_.each ? layer.groups : 0};
    const auto [at, fresh] = known.emplace(key, units_.size());
    if (fresh) units_.push_back({&options, {}, {}, {}, 1});
    units_[at->second].layers.push_back(i);
  }
  for (Unit& unit : units_) {
    if (!by_shape) unit.copies = static_cast<int>(unit.layers.size());
    price(unit);
  }
  return std::nullopt;
}

std::optional<Fault> Problem::add_together() {
  Options& options = options_on(0);
  if (options.size() == 0) return sizing_.why_none(layers_[0]);
  Unit unit{&options, {}, {}, {}, 1};
  std::set<Values> seen = {layers_[0].values()};
  for (size_t i = 0; i < layers_.size(); ++i) {
    unit.layers.push_back(i);
    if (!seen.insert(layers_[i].values()).second) continue;
    if (sizing_.options(layers_[i], 1).size() == 0) return sizing_.why_none(layers_[i]);
    sizing_.restrict(options, layers_[i]);
    if (options.size() == 0) {
      return Fault{"bind", "sizes that are legal on every layer, since all share them",
                   "none that suit the layer " + layers_[i].str() + " and those before it",
                   "let every layer or shape have its own"};
    }
  }
  price(unit);
  units_.push_back(std::move(unit));
  return std::nullopt;
}

void Problem::price(Unit& unit) const {
  const size_t count = unit.options->size();
  unit.totals.resize(count);
  unit.missed.assign(count, 1);
  const size_t priced = unit.copies > 1 ? 1 : unit.layers.size();  // equal decisions are priced once
  const Values listed_for = layers_[unit.layers[0]].values();
  for (size_t i = 0; i < priced; ++i) {
    const Layer& layer = layers_[unit.layers[i]];
    const bool own = i == 0 || layer.values() == listed_for;
    const std::vector<Cost> other = own ? std::vector<Cost>() : sizing_.costs(*unit.options, layer);
    const std::vector<Cost>& costs = own ? unit.options->costs : other;
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

Cost Problem::cost(size_t unit, size_t layer, size_t option) const {
  const Options& options = *units_[unit].options;
  if (layers_[layer].values() == layers_[units_[unit].layers[0]].values()) return options.costs[option];
  Options one{options.variables, {options.at(option), options.at(option) + options.variables}, {Cost{}}, true};
  return sizing_.costs(one, layers_[layer])[0];
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

std::optional<Problem::Listed> Problem::list(const Unit& unit, double factor, double least_memory) const {
  Listed listed;
  for (size_t k = 0; k < unit.totals.size(); ++k) {
    if (unit.missed[k] <= factor * (1 + kRounding) && unit.totals[k].memory * (1 + kRounding) >= least_memory)
      listed.options.push_back(k);
  }
  if (listed.options.empty()) return std::nullopt;
  const auto costs = [&](size_t k) {
    const Cost& total = unit.totals[k];
    return std::tuple(total.flops, total.params, total.memory, k);
  };
  std::sort(listed.options.begin(), listed.options.end(), [&](size_t a, size_t b) { return costs(a) < costs(b); });
  const auto same = [&](size_t a, size_t b) {
    return unit.totals[a].flops == unit.totals[b].flops && unit.totals[a].params == unit.totals[b].params;
  };
  listed.options.erase(std::unique(listed.options.begin(), listed.options.end(), same), listed.options.end());
  for (size_t k : listed.options) listed.group.points.push_back({unit.totals[k].flops, unit.totals[k].params});
  listed.group.copies = unit.copies;
  return listed;
}

Solution Problem::solve(double factor, Aim aim) const {
  std::vector<Listed> listed;
  std::vector<size_t> owners;
  for (size_t u = 0; u < units_.size(); ++u) {
    auto found = list(units_[u], factor, 0);
    if (!found) return {false, true, {}, {}, 0};
    listed.push_back(std::move(*found));
    owners.push_back(u);
  }
  Solution solution = solve_listed(listed, owners, factor, aim);
  for (const Limit& limit : limits_) {
    if (limit.resource == Resource::kMemory && solution.found && limit.low() > 0 &&
        solution.total.memory * (1 + kRounding) < limit.low() / factor)
      return reach_memory(listed, factor, aim, std::move(solution));
  }
  return solution;
}

Solution Problem::solve_listed(const std::vector<Listed>& listed, const std::vector<size_t>& owners, double factor,
                               Aim aim) const {
  std::vector<Group> groups;
  for (const Listed& unit : listed) groups.push_back(unit.group);
  const Filling filling = fill(groups, box(factor), aim);
  Solution solution{filling.found, filling.proven, {}, {}, filling.bound};
  if (!filling.found) return solution;
  solution.picks.resize(units_.size());
  for (size_t i = 0; i < listed.size(); ++i) {
    for (int pick : filling.picks[i]) {
      const size_t option = listed[i].options[static_cast<size_t>(pick)];
      solution.picks[owners[i]].push_back(option);
      const Cost& cost = units_[owners[i]].totals[option];
      solution.total = {solution.total.flops + cost.flops, solution.total.params + cost.params,
                        std::max(solution.total.memory, cost.memory)};
    }
  }
  return solution;
}

// The best choice in which some decision reaches the floor of memory: each in turn is held to it.
Solution Problem::reach_memory(const std::vector<Listed>& listed, double factor, Aim aim, Solution free) const {
  double floor = 0;
  for (const Limit& limit : limits_) {
    if (limit.resource == Resource::kMemory) floor = limit.low() / factor;
  }
  Solution best{false, true, {}, {}, 0};
  size_t tried = 0;
  for (size_t u = 0; u < units_.size(); ++u) {
    auto held = list(units_[u], factor, floor);
    if (!held) continue;
    if (++tried > kMostPeaks) {
      best.proven = false;
      best.bound = free.bound;
      break;
    }
    held->group.copies = 1;
    std::vector<Listed> with = listed;
    std::vector<size_t> owners(listed.size());
    for (size_t i = 0; i < owners.size(); ++i) owners[i] = i;
    if (with[u].group.copies > 1) {
      --with[u].group.copies;
      with.push_back(std::move(*held));
      owners.push_back(u);
    } else {
      with[u] = std::move(*held);
    }
    Solution found = solve_listed(with, owners, factor, aim);
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

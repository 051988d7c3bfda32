#include "canvas/solve/binding.h"

#include <algorithm>
#include <cmath>

#include "canvas/solve/conflict.h"
#include "canvas/solve/problem.h"

namespace canvas {

namespace {

constexpr int64_t kLargestMultiple = 1 << 20;
constexpr double kRounding = 1e-11;
constexpr size_t kMostListed = 1 << 14;

Binding bound(const Kernel& kernel, const Sizing& sizing, const Problem& problem, const Solution& solution) {
  Binding binding{std::make_shared<const Kernel>(kernel), {}, {}, 0, problem.complete()};
  if (!solution.proven)
    binding.gap = std::sqrt(solution.bound / capacity({solution.total.flops, solution.total.params})) - 1;
  binding.layers.resize(problem.layers().size());
  problem.each_choice(solution, [&](size_t i, const int64_t* sizes, const Cost& cost) {
    const Layer& layer = problem.layers()[i];
    binding.layers[i] = {binding.kernel, layer, sizing.values(layer, sizes), cost};
  });
  for (const BoundLayer& layer : binding.layers) {
    binding.cost.flops += layer.cost.flops * static_cast<double>(layer.layer.count);
    binding.cost.params += layer.cost.params * static_cast<double>(layer.layer.count);
    binding.cost.memory = std::max(binding.cost.memory, layer.cost.memory);
    binding.cost.latency += layer.cost.latency * static_cast<double>(layer.layer.count);
  }
  return binding;
}

}  // namespace

void Rules::check() const {
  if (multiple_of >= 1 && multiple_of <= kLargestMultiple) return;
  throw ArgumentError("multiple_of must be from 1 to 2^20, got " + std::to_string(multiple_of));
}

std::vector<BoundLayer> options_of(const Kernel& kernel, const Layer& layer, size_t most, const Rules& rules) {
  rules.check();
  layer.check();
  if (misfit(kernel.signature(), layer)) return {};
  const Sizing sizing(kernel, rules.multiple_of);
  Options options{sizing.variables()};
  sizing.list(layer, kMostListed, options);
  const auto shared = std::make_shared<const Kernel>(kernel);
  const size_t count = std::min(options.size(), std::max<size_t>(most, 1));
  std::vector<BoundLayer> found;
  for (size_t i = 0; i < count; ++i) {
    const size_t k = count == 1 ? 0 : i * (options.size() - 1) / (count - 1);
    found.push_back({shared, layer, sizing.values(layer, options.at(k)), options.costs[k]});
  }
  return found;
}

namespace {

void check_prices(const Prices& prices, const std::vector<Layer>& layers, const Rules& rules) {
  if (rules.share == Share::kNetwork)
    throw ArgumentError("a limit on predicted latency needs share 'layer' or 'shape', got 'network'");
  if (prices.layers.size() != layers.size()) {
    throw ArgumentError("prices must be of each layer, " + std::to_string(layers.size()) + ", got " +
                        std::to_string(prices.layers.size()));
  }
  for (const auto& options : prices.layers) {
    for (const auto& [values, seconds] : options) {
      if (!(seconds > 0) || !std::isfinite(seconds))
        throw ArgumentError("a price must be a positive number of seconds, got " + std::to_string(seconds));
    }
  }
}

// What solve(sizing, problem) makes of the kernel's problem on the layers, or why no sizes would do.
template <class Found, class Solve>
Result<Found> solved(const Kernel& kernel, const std::vector<Layer>& layers, const Budget& budget, const Rules& rules,
                     double* missed, const Prices* prices, Solve solve) {
  if (layers.empty()) throw ArgumentError("a kernel is bound to at least one layer, got none");
  budget.check();
  rules.check();
  const double dull = missed ? *missed : HUGE_VAL;
  if (missed) *missed = HUGE_VAL;
  for (const Layer& layer : layers) {
    layer.check();
    const bool like_the_last = &layer != &layers[0] && layer.spatial.size() == (&layer)[-1].spatial.size() &&
                               (layer.tokens == 0) == ((&layer)[-1].tokens == 0);
    if (like_the_last) continue;
    if (auto fault = misfit(kernel.signature(), layer)) return *fault;
  }
  const Sizing sizing(kernel, rules.multiple_of);
  if (prices) check_prices(*prices, layers, rules);
  Problem problem(sizing, layers, budget, prices);
  const auto fault =
      rules.share == Share::kNetwork ? problem.add_together() : problem.add_each(rules.share == Share::kShape);
  if (fault) return *fault;
  if (problem.least_factor() <= 1 + kRounding) {
    if (std::optional<Found> found = solve(sizing, problem)) return std::move(*found);
  }
  const Conflict conflict = conflict_of(problem, dull);
  if (missed) *missed = conflict.factor;
  return conflict.reason;
}

}  // namespace

Result<Binding> bind(const Kernel& kernel, const std::vector<Layer>& layers, const Budget& budget, const Rules& rules,
                     double* missed, const Prices* prices) {
  return solved<Binding>(kernel, layers, budget, rules, missed, prices,
                         [&](const Sizing& sizing, const Problem& problem) -> std::optional<Binding> {
                           const Solution solution = problem.solve(1, Aim::kBest);
                           if (!solution.found) return std::nullopt;
                           return bound(kernel, sizing, problem, solution);
                         });
}

std::optional<Fault> unbindable(const Kernel& kernel, const std::vector<Layer>& layers, const Budget& budget,
                                const Rules& rules, double* missed) {
  const auto fits = solved<bool>(kernel, layers, budget, rules, missed, nullptr,
                                 [](const Sizing&, const Problem& problem) -> std::optional<bool> {
                                   Solution solution = problem.solve(1, Aim::kAny);
                                   if (!solution.found && !solution.proven) solution = problem.solve(1, Aim::kBest);
                                   return solution.found ? std::optional(true) : std::nullopt;
                                 });
  return fits ? std::nullopt : std::optional(fits.fault());
}

}  // namespace canvas

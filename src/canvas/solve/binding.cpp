#include "canvas/solve/binding.h"

#include <algorithm>
#include <cmath>

#include "canvas/solve/conflict.h"
#include "canvas/solve/problem.h"

namespace canvas {

namespace {

constexpr int64_t kLargestMultiple = 1 << 20;
constexpr double kRounding = 1e-11;

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
  }
  return binding;
}

}  // namespace

void Rules::check() const {
  if (multiple_of >= 1 && multiple_of <= kLargestMultiple) return;
  throw ArgumentError("multiple_of must be from 1 to 2^20, got " + std::to_string(multiple_of));
}

namespace {

// What solve(sizing, problem) makes of the kernel's problem on the layers, or why no sizes would do.
template <class Found, class Solve>
Result<Found> solved(const Kernel& kernel, const std::vector<Layer>& layers, const Budget& budget, const Rules& rules,
                     double* missed, Solve solve) {
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
  Problem problem(sizing, layers, budget);
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
                     double* missed) {
  return solved<Binding>(kernel, layers, budget, rules, missed,
                         [&](const Sizing& sizing, const Problem& problem) -> std::optional<Binding> {
                           const Solution solution = problem.solve(1, Aim::kBest);
                           if (!solution.found) return std::nullopt;
                           return bound(kernel, sizing, problem, solution);
                         });
}

std::optional<Fault> unbindable(const Kernel& kernel, const std::vector<Layer>& layers, const Budget& budget,
                                const Rules& rules, double* missed) {
  const auto fits = solved<bool>(kernel, layers, budget, rules, missed,
                                 [](const Sizing&, const Problem& problem) -> std::optional<bool> {
                                   Solution solution = problem.solve(1, Aim::kAny);
                                   if (!solution.found && !solution.proven) solution = problem.solve(1, Aim::kBest);
                                   return solution.found ? std::optional(true) : std::nullopt;
                                 });
  return fits ? std::nullopt : std::optional(fits.fault());
}

}  // namespace canvas

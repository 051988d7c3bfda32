// The order of contractions: nested ones are a tensor network, contracted in the cheapest order.
#include <bit>
#include <cmath>
#include <functional>
#include <map>

#include "canvas/base/error.h"
#include "canvas/lower/rewriter.h"
#include "canvas/prims/common.h"

namespace canvas {

namespace {

constexpr size_t kExactFactors = 8;  // up to so many the best order is found, among 3^n pairs of parts
constexpr size_t kMostFactors = 63;
constexpr double kElement = 8;            // writing and reading one element costs as much as so many operations
constexpr double kParametersOnly = 0.06;  // products of parameters are made once for a batch, and at inference never
constexpr double kWorthwhile = 0.9;

using Part = Rewriter::Part;
using PairCost = std::function<double(Part, Part)>;

// Which part of each set is contracted by itself first, and what all of it costs.
struct Contractions {
  std::map<Part, Part> half;
  double cost = 0;
};

// The cheapest of all orders.
Contractions exact_order(size_t count, const PairCost& pair) {
  Contractions best;
  const Part all = (Part{1} << count) - 1;
  std::vector<double> cost(all + 1, 0);
  for (Part part = 1; part <= all; ++part) {
    if (std::has_single_bit(part)) continue;
    cost[part] = HUGE_VAL;
    for (Part left = (part - 1) & part; left > 0; left = (left - 1) & part) {
      const Part right = part ^ left;
      if (left < right) continue;
      const double made = cost[left] + cost[right] + pair(left, right);
      if (made >= cost[part]) continue;
      cost[part] = made;
      best.half[part] = left;
    }
  }
  best.cost = cost[all];
  return best;
}

// The cheapest pair first, then the cheapest of what is left.
Contractions greedy_order(size_t count, const PairCost& pair) {
  Contractions order;
  std::vector<Part> parts;
  for (size_t i = 0; i < count; ++i) parts.push_back(Part{1} << i);
  while (parts.size() > 1) {
    double least = HUGE_VAL;
    std::pair<size_t, size_t> chosen;
    for (size_t i = 0; i < parts.size(); ++i) {
      for (size_t j = i + 1; j < parts.size(); ++j) {
        const double cost = pair(parts[i], parts[j]);
        if (cost >= least) continue;
        least = cost;
        chosen = {i, j};
      }
    }
    const auto [i, j] = chosen;
    order.half[parts[i] | parts[j]] = parts[i];
    order.cost += least;
    parts[i] |= parts[j];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(j));
  }
  return order;
}

}  // namespace

bool Rewriter::constant(int id) const {
  std::vector<int> stack = {id};
  std::set<int> seen;
  while (!stack.empty()) {
    const int next = stack.back();
    stack.pop_back();
    if (op(next).kind == CoreKind::kInput) return false;
    if (!seen.insert(next).second) continue;
    stack.insert(stack.end(), op(next).inputs.begin(), op(next).inputs.end());
  }
  return true;
}

double Rewriter::elements(const Axes& axes) const {
  double count = 1;
  for (const Axis& axis : axes) count *= static_cast<double>(axis.size.evaluate(*values_).value_or(1));
  return count;
}

double Rewriter::pair_cost(const Axes& left, const Axes& right, const Axes& made, bool parameters) const {
  Axes all = left;
  for (const Axis& axis : right) {
    if (!has_axis(all, axis.name)) all.push_back(axis);
  }
  return (2 * elements(all) + kElement * elements(made)) * (parameters ? kParametersOnly : 1);
}

// Collects the factors below a contraction; false where an axis that is summed inside has the name of another outside.
bool Rewriter::factors_of(int id, std::vector<int>& factors, double& cost) const {
  const CoreOp& contract = op(id);
  std::vector<std::pair<size_t, size_t>> ranges;
  for (int in : contract.inputs) {
    const size_t first = factors.size();
    if (op(in).kind == CoreKind::kContract && used_once(in)) {
      if (!factors_of(in, factors, cost)) return false;
    } else {
      factors.push_back(in);
    }
    ranges.emplace_back(first, factors.size());
  }
  for (size_t which : {0, 1}) {  // what is summed inside one operand
    const auto [first, last] = ranges[which];
    const auto [from, to] = ranges[1 - which];
    for (size_t i = first; i < last; ++i) {
      for (const Axis& axis : op(factors[i]).axes) {
        if (has_axis(op(contract.inputs[which]).axes, axis.name)) continue;
        for (size_t other = from; other < to; ++other) {
          if (has_axis(op(factors[other]).axes, axis.name)) return false;
        }
      }
    }
  }
  cost += pair_cost(op(contract.inputs[0]).axes, op(contract.inputs[1]).axes, contract.axes, constant(id));
  return true;
}

// The axes that contracting a set of the factors leaves: those of the result and of the other factors.
Axes Rewriter::left_by(Part part, const std::vector<int>& factors, const Axes& result) const {
  Axes axes;
  for (size_t i = 0; i < factors.size(); ++i) {
    if ((part >> i & 1) == 0) continue;
    for (const Axis& axis : op(factors[i]).axes) {
      bool needed = has_axis(result, axis.name) || std::has_single_bit(part);
      for (size_t other = 0; other < factors.size(); ++other)
        needed = needed || ((part >> other & 1) == 0 && has_axis(op(factors[other]).axes, axis.name));
      if (needed && !has_axis(axes, axis.name)) axes.push_back(axis);
    }
  }
  return axes;
}

bool Rewriter::contract_order(int id) {
  if (!values_ || op(id).kind != CoreKind::kContract) return false;
  const CoreOp root = op(id);
  std::vector<int> factors;
  double current = 0;
  if (!factors_of(id, factors, current)) return false;
  const size_t count = factors.size();
  if (count < 3 || count > kMostFactors) return false;
  Part fixed = 0;
  for (size_t i = 0; i < count; ++i) {
    if (!windows_of(factors[i]).empty()) return false;  // windows are for convolutions
    fixed |= Part{constant(factors[i])} << i;
  }
  std::map<Part, Axes> known;
  const auto axes = [&](Part part) -> const Axes& {
    const auto [found, absent] = known.try_emplace(part);
    if (absent) found->second = left_by(part, factors, root.axes);
    return found->second;
  };
  const Contractions best = (count <= kExactFactors ? exact_order : greedy_order)(count, [&](Part left, Part right) {
    return pair_cost(axes(left), axes(right), axes(left | right), ((left | right) & ~fixed) == 0);
  });
  if (best.cost >= kWorthwhile * current) return false;
  const Part all = (Part{1} << count) - 1;
  const std::function<int(Part)> build = [&](Part part) {
    if (std::has_single_bit(part)) return factors[static_cast<size_t>(std::countr_zero(part))];
    const Part half = best.half.at(part);
    const int left = build(half), right = build(part ^ half);
    return add(core_step(CoreKind::kContract, {left, right}, axes(part)));
  };
  CoreOp made = root;
  const Part half = best.half.at(all);
  made.inputs = {build(half), build(all ^ half)};
  op(id) = std::move(made);
  return true;
}

}  // namespace canvas

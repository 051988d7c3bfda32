// The order of contractions: nested ones are a tensor network, contracted in the cheapest order.
#include <algorithm>
#include <bit>
#include <functional>
#include <map>

#include "canvas/base/error.h"
#include "canvas/lower/rewriter.h"
#include "canvas/prims/common.h"

namespace canvas {

namespace {

constexpr size_t kMostFactors = 8;        // the exact search looks at 3^n pairs of parts
constexpr double kElement = 8;            // writing and reading one element costs as much as so many operations
constexpr double kParametersOnly = 0.06;  // products of parameters are made once for a batch, and at inference never
constexpr double kWorthwhile = 0.9;

using Part = unsigned;  // a set of factors, as bits

// The factors of nested contractions and what contracting each set of them leaves.
struct Network {
  std::vector<int> factors;
  std::vector<Axes> axes;  // of each part
  std::vector<double> cost;
  std::vector<Part> left;  // of the best pair
};

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

bool Rewriter::contract_order(int id) {
  if (!values_ || op(id).kind != CoreKind::kContract) return false;
  const CoreOp root = op(id);
  Network net;
  double current = 0;
  if (!factors_of(id, net.factors, current)) return false;
  const size_t count = net.factors.size();
  if (count < 3 || count > kMostFactors) return false;
  std::vector<bool> fixed;
  for (int factor : net.factors) {
    if (!windows_of(factor).empty()) return false;  // windows are for convolutions
    fixed.push_back(constant(factor));
  }
  const Part all = (Part{1} << count) - 1;
  net.axes.resize(all + 1);
  net.cost.assign(all + 1, 0);
  net.left.assign(all + 1, 0);
  for (Part part = 1; part <= all; ++part) {
    for (size_t i = 0; i < count; ++i) {
      if ((part >> i & 1) == 0) continue;
      for (const Axis& axis : op(net.factors[i]).axes) {
        bool needed = has_axis(root.axes, axis.name) || std::has_single_bit(part);
        for (size_t other = 0; other < count; ++other)
          needed = needed || ((part >> other & 1) == 0 && has_axis(op(net.factors[other]).axes, axis.name));
        if (needed && !has_axis(net.axes[part], axis.name)) net.axes[part].push_back(axis);
      }
    }
    if (std::has_single_bit(part)) continue;
    bool parameters = true;
    for (size_t i = 0; i < count; ++i) parameters = parameters && ((part >> i & 1) == 0 || fixed[i]);
    net.cost[part] = HUGE_VAL;
    for (Part left = (part - 1) & part; left > 0; left = (left - 1) & part) {
      const Part right = part ^ left;
      if (left < right) continue;
      const double cost =
          net.cost[left] + net.cost[right] + pair_cost(net.axes[left], net.axes[right], net.axes[part], parameters);
      if (cost >= net.cost[part]) continue;
      net.cost[part] = cost;
      net.left[part] = left;
    }
  }
  if (net.cost[all] >= kWorthwhile * current) return false;
  const std::function<int(Part)> build = [&](Part part) {
    if (std::has_single_bit(part)) return net.factors[static_cast<size_t>(std::countr_zero(part))];
    const int left = build(net.left[part]), right = build(part ^ net.left[part]);
    return add(core_step(CoreKind::kContract, {left, right}, net.axes[part]));
  };
  CoreOp made = root;
  made.inputs = {build(net.left[all]), build(all ^ net.left[all])};
  op(id) = std::move(made);
  return true;
}

}  // namespace canvas

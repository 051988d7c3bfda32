// Rules of contractions and reductions over windows.
#include <algorithm>

#include "canvas/base/error.h"
#include "canvas/lower/rewriter.h"
#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"

namespace canvas {

namespace {

bool is_sum(const CoreOp& op) { return op.kind == CoreKind::kMap && (op.function == "add" || op.function == "sub"); }
bool is_product(const CoreOp& op) {
  return op.kind == CoreKind::kMap && (op.function == "mul" || op.function == "div");
}

// The axes that a contraction sums over.
Names summed(const CoreOp& contract, const CoreOp& left, const CoreOp& right) {
  Names names;
  for (const Axes* axes : {&left.axes, &right.axes}) {
    for (const Axis& axis : *axes) {
      if (!has_axis(contract.axes, axis.name)) names.insert(axis.name);
    }
  }
  return names;
}

AxisNames those_in(const Names& names, const Axes& axes) {
  AxisNames found;
  for (const Axis& axis : axes) {
    if (names.count(axis.name) > 0) found.push_back(axis.name);
  }
  return found;
}

}  // namespace

// A product summed over windows is a contraction.
bool Rewriter::product_sum(int id) {
  const CoreOp reduce = op(id);
  if (reduce.kind != CoreKind::kReduce || reduce.function != "sum" || !used_once(reduce.inputs[0])) return false;
  const CoreOp map = input(id);
  if (map.kind != CoreKind::kMap || map.function != "mul" || map.inputs.size() != 2) return false;
  for (int in : map.inputs) {
    const Names windows = made_by(op(in));
    const bool all =
        std::all_of(reduce.from.begin(), reduce.from.end(), [&](const auto& name) { return windows.count(name) > 0; });
    if (!has_windows(op(in)) || !all) continue;
    op(id) = {CoreKind::kContract, map.inputs, reduce.axes, {}, {}, {}, "", "", reduce.name};
    return true;
  }
  return false;
}

// A reduction over windows and other axes: the others first, then the windows alone, which is pooling.
bool Rewriter::reduce_in_parts(int id) {
  CoreOp reduce = op(id);
  if (reduce.kind != CoreKind::kReduce) return false;
  const CoreOp window = input(id);
  if (!has_windows(window) || !used_once(reduce.inputs[0])) return false;
  const Names windows = made_by(window);
  AxisNames inside, others;
  for (const Name& name : reduce.from) (windows.count(name) ? inside : others).push_back(name);
  if (others.empty() || inside.empty() || meets(others, touched(window))) return false;
  const auto drop = [&](Axes axes) {
    axes.erase_if([&](const Axis& axis) { return std::find(others.begin(), others.end(), axis.name) != others.end(); });
    return axes;
  };
  CoreOp first{
      CoreKind::kReduce, window.inputs, drop(op(window.inputs[0]).axes), others, {}, {}, "", reduce.function, ""};
  CoreOp after = window;
  after.axes = drop(window.axes);
  after.name.clear();
  after.inputs = {add(std::move(first))};
  reduce.from = inside;
  reduce.inputs = {add(std::move(after))};
  op(id) = std::move(reduce);
  return true;
}

bool Rewriter::sums_window(int id) const {
  const CoreOp& sum = op(id);
  return has_windows(sum) ||
         (is_sum(sum) && used_once(id) && (sums_window(sum.inputs[0]) || sums_window(sum.inputs[1])));
}

int Rewriter::reduced(int id, const AxisNames& from, const std::string& function) {
  if (from.empty()) return id;
  return add({CoreKind::kReduce, {id}, without(op(id).axes, from), from, {}, {}, "", function, ""});
}

int Rewriter::contracted(int operand, int weights, const Names& from) {
  const Axes own = op(operand).axes;
  const AxisNames here = those_in(from, own);
  AxisNames missing;
  for (const Name& name : those_in(from, op(weights).axes)) {
    if (!has_axis(own, name)) missing.push_back(name);
  }
  weights = reduced(weights, missing, "sum");
  Axes axes = without(own, here);
  for (const Axis& axis : op(weights).axes) {
    if (from.count(axis.name) == 0 && !has_axis(axes, axis.name)) axes.push_back(axis);
  }
  CoreOp made = core_step(here.empty() ? CoreKind::kMap : CoreKind::kContract, {operand, weights}, std::move(axes));
  if (here.empty()) apply(made, mul_primitive());
  return add(std::move(made));
}

// A contraction of a sum with windows in it is the sum of contractions: that of the windows becomes a convolution.
bool Rewriter::contract_terms(int id) {
  const CoreOp contract = op(id);
  if (contract.kind != CoreKind::kContract || contract.inputs.size() != 2) return false;
  for (size_t which : {0, 1}) {
    const int place = contract.inputs[which], weights = contract.inputs[1 - which];
    CoreOp sum = op(place);
    if (!is_sum(sum) || !used_once(place) || !sums_window(place)) continue;
    const Names from = summed(contract, sum, op(weights));
    if (!meets(windows_of(place), from)) continue;
    for (int& term : sum.inputs) term = contracted(term, weights, from);
    sum.axes = contract.axes;
    sum.name = contract.name;
    op(id) = std::move(sum);
    return true;
  }
  return false;
}

// A factor that does not vary along what is contracted is multiplied afterwards.
bool Rewriter::contract_factor(int id) {
  const CoreOp contract = op(id);
  if (contract.kind != CoreKind::kContract || contract.inputs.size() != 2) return false;
  for (size_t which : {0, 1}) {
    const int place = contract.inputs[which], weights = contract.inputs[1 - which];
    CoreOp map = op(place);
    if (!is_product(map) || !used_once(place)) continue;
    const Names from = summed(contract, map, op(weights));
    for (size_t inner = 0; inner < (map.function == "mul" ? 2u : 1u); ++inner) {
      const int factor = map.inputs[1 - inner];
      if (!meets(windows_of(map.inputs[inner]), from) || meets(op(factor).axes, from)) continue;
      map.inputs[inner] = contracted(map.inputs[inner], weights, from);
      map.axes = contract.axes;
      map.name = contract.name;
      op(id) = std::move(map);
      return true;
    }
  }
  return false;
}

// A mean of a sum is the sum of means, a maximum over a window plus what does not vary along it is pooling plus it.
bool Rewriter::reduce_terms(int id) {
  const CoreOp reduce = op(id);
  if (reduce.kind != CoreKind::kReduce || !used_once(reduce.inputs[0])) return false;
  CoreOp sum = input(id);
  if (!is_sum(sum) || !sums_window(reduce.inputs[0])) return false;
  const Names from(reduce.from.begin(), reduce.from.end());
  if (!meets(windows_of(reduce.inputs[0]), from)) return false;
  for (size_t which : {0, 1}) {
    const size_t count = those_in(from, op(sum.inputs[which]).axes).size();
    if (reduce.function == "sum" && count != from.size()) return false;
    const bool window = count == from.size() && sums_window(sum.inputs[which]);
    if (reduce.function == "max" && !(window && (which == 0 || sum.function == "add")) && count != 0) return false;
  }
  const auto both = [&](size_t which) { return those_in(from, op(sum.inputs[which]).axes).empty(); };
  if (reduce.function == "max" && both(0) == both(1)) return false;
  for (int& term : sum.inputs) term = reduced(term, those_in(from, op(term).axes), reduce.function);
  sum.axes = reduce.axes;
  sum.name = reduce.name;
  op(id) = std::move(sum);
  return true;
}

// A factor that does not vary along what is summed is multiplied afterwards.
bool Rewriter::reduce_factor(int id) {
  const CoreOp reduce = op(id);
  if (reduce.kind != CoreKind::kReduce || reduce.function == "max" || !used_once(reduce.inputs[0])) return false;
  CoreOp map = input(id);
  if (!is_product(map)) return false;
  const Names from(reduce.from.begin(), reduce.from.end());
  for (size_t inner = 0; inner < (map.function == "mul" ? 2u : 1u); ++inner) {
    if (!meets(windows_of(map.inputs[inner]), from) || meets(op(map.inputs[1 - inner]).axes, from)) continue;
    map.inputs[inner] = reduced(map.inputs[inner], reduce.from, reduce.function);
    map.axes = reduce.axes;
    map.name = reduce.name;
    op(id) = std::move(map);
    return true;
  }
  return false;
}

}  // namespace canvas

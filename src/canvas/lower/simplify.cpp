#include "canvas/lower/simplify.h"

#include <algorithm>
#include <array>
#include <set>

#include "canvas/base/error.h"

namespace canvas {

namespace {

using Names = std::set<std::string>;

bool has_windows(const CoreOp& op) {
  return op.kind == CoreKind::kIndex && op.over.empty() &&
         std::any_of(op.items.begin(), op.items.end(), [](const IndexItem& item) { return !item.made.empty(); });
}

// The axes that an index map reads along or makes.
Names touched(const CoreOp& index) {
  Names names;
  for (const IndexItem& item : index.items) names.insert({item.axis, item.made});
  if (!index.over.empty()) names.insert(index.over);
  names.erase("");
  return names;
}

Names made(const CoreOp& index) {
  Names names;
  for (const IndexItem& item : index.items) names.insert(item.made);
  names.erase("");
  return names;
}

template <class Container>
bool meets(const Container& list, const Names& names) {
  return std::any_of(list.begin(), list.end(), [&](const std::string& name) { return names.count(name) > 0; });
}

bool meets(const Axes& axes, const Names& names) {
  return std::any_of(axes.begin(), axes.end(), [&](const Axis& axis) { return names.count(axis.name) > 0; });
}

class Simplifier {
 public:
  explicit Simplifier(const CoreProgram& program) : ops_(program.ops), result_(static_cast<int>(ops_.size()) - 1) {}

  CoreProgram run() {
    using Rule = bool (Simplifier::*)(int);
    constexpr std::array<Rule, 8> rules = {&Simplifier::join_indices,        &Simplifier::stride_early,
                                           &Simplifier::view_before_window,  &Simplifier::map_before_window,
                                           &Simplifier::scale_before_window, &Simplifier::unmerge_weight,
                                           &Simplifier::product_sum,         &Simplifier::reduce_in_parts};
    for (bool changed = true; changed;) {
      changed = false;
      const CoreProgram sorted = topological();
      ops_ = sorted.ops;
      result_ = static_cast<int>(ops_.size()) - 1;
      count_uses();
      for (int id = 0; id < static_cast<int>(ops_.size()); ++id) {  // those too that rules add on the way
        for (Rule rule : rules) {
          if (id != result_ && uses_[static_cast<size_t>(id)] == 0) break;  // nothing reads it any more
          if (!(this->*rule)(id)) continue;
          changed = true;
          count_uses();
        }
      }
    }
    return topological();
  }

 private:
  CoreOp& op(int id) { return ops_[static_cast<size_t>(id)]; }
  CoreOp input(int id, size_t which = 0) { return op(op(id).inputs[which]); }  // a copy: ops_ grows
  bool used_once(int id) const { return uses_[static_cast<size_t>(id)] == 1; }
  int add(CoreOp made) {
    ops_.push_back(std::move(made));
    return static_cast<int>(ops_.size()) - 1;
  }

  CoreProgram topological() const {
    CoreProgram sorted;
    std::vector<int> moved(ops_.size(), -1);
    std::vector<int> stack = {result_};
    while (!stack.empty()) {
      const int id = stack.back();
      const CoreOp& next = ops_[static_cast<size_t>(id)];
      bool ready = moved[static_cast<size_t>(id)] < 0;
      for (size_t i = next.inputs.size(); ready && i-- > 0;) {
        if (moved[static_cast<size_t>(next.inputs[i])] < 0) stack.push_back(next.inputs[i]);
      }
      if (stack.back() != id) continue;
      stack.pop_back();
      if (!ready) continue;
      CoreOp copy = next;
      for (int& in : copy.inputs) in = moved[static_cast<size_t>(in)];
      moved[static_cast<size_t>(id)] = sorted.add(std::move(copy));
    }
    return sorted;
  }

  void count_uses() {
    uses_.assign(ops_.size(), 0);
    std::vector<bool> live(ops_.size(), false);
    std::vector<int> stack = {result_};
    live[static_cast<size_t>(result_)] = true;
    while (!stack.empty()) {
      const int id = stack.back();
      stack.pop_back();
      for (int in : op(id).inputs) {
        ++uses_[static_cast<size_t>(in)];
        if (!live[static_cast<size_t>(in)]) stack.push_back(in);
        live[static_cast<size_t>(in)] = true;
      }
    }
  }

  // Two index maps in a row along different axes, or a stride after anything, are one.
  bool join_indices(int id) {
    const CoreOp outer = op(id);
    if (outer.kind != CoreKind::kIndex || !outer.over.empty()) return false;
    const CoreOp inner = input(id);
    if (inner.kind != CoreKind::kIndex || (!inner.over.empty() && !is_stride_only(outer))) return false;
    CoreOp joined = inner;
    for (const IndexItem& item : outer.items) {
      const auto same = std::find_if(joined.items.begin(), joined.items.end(),
                                     [&](const IndexItem& other) { return other.axis == item.axis; });
      if (same != joined.items.end() && item.made.empty() && item.offset == 0) {
        same->stride = same->stride * item.stride;
      } else if (touched(inner).count(item.axis) == 0) {
        joined.items.push_back(item);
      } else {
        return false;
      }
    }
    joined.axes = outer.axes;
    if (!outer.name.empty()) joined.name = outer.name;
    op(id) = joined;
    return true;
  }

  // stride(f(a, b)) = f(stride(a), stride(b)): nothing is computed only to be dropped.
  bool stride_early(int id) {
    const CoreOp outer = op(id);
    if (outer.kind != CoreKind::kIndex || !is_stride_only(outer) || !used_once(outer.inputs[0])) return false;
    CoreOp inner = input(id);
    const Names axes = touched(outer);
    switch (inner.kind) {
      case CoreKind::kMap:
      case CoreKind::kContract:
      case CoreKind::kReduce: break;
      case CoreKind::kView:
        if (meets(inner.to, axes)) return false;
        break;
      case CoreKind::kSoftmax:
        if (meets(inner.from, axes)) return false;
        break;
      case CoreKind::kPick:
      case CoreKind::kPut:
        if (meets(touched(inner), axes)) return false;
        break;
      default: return false;
    }
    for (int in : inner.inputs) {
      if (op(in).kind == CoreKind::kParameter && meets(op(in).axes, axes)) return false;
    }
    for (int& in : inner.inputs) {
      CoreOp strided{CoreKind::kIndex, {in}, op(in).axes, {}, {}, {}, "", "", ""};
      for (const IndexItem& item : outer.items) {
        const int found = find_axis(strided.axes, item.axis);
        if (found < 0) continue;
        strided.items.push_back(item);
        strided.axes[static_cast<size_t>(found)] = outer.axes[static_cast<size_t>(find_axis(outer.axes, item.axis))];
      }
      if (!strided.items.empty()) in = add(std::move(strided));
    }
    inner.axes = outer.axes;
    if (inner.name.empty()) inner.name = outer.name;
    op(id) = inner;
    return true;
  }

  // Replaces an operation over a window map by a window map over that operation, which has axes `axes` and inputs `inputs`.
  void put_before(int id, const CoreOp& window, Axes axes, std::vector<int> inputs) {
    CoreOp before = op(id);
    CoreOp after = window;
    after.axes = before.axes;
    after.name = before.name;
    before.axes = std::move(axes);
    before.inputs = std::move(inputs);
    before.name.clear();
    after.inputs = {add(std::move(before))};
    op(id) = std::move(after);
  }

  // A change of other axes goes before the window, so that the window stands next to what consumes it.
  bool view_before_window(int id) {
    const CoreOp view = op(id);
    if (view.kind != CoreKind::kView) return false;
    const CoreOp window = input(id);
    if (!has_windows(window) || meets(view.from, touched(window)) || meets(view.to, touched(window))) return false;
    Axes axes = view.to;
    for (const Axis& axis : op(window.inputs[0]).axes) {
      if (std::find(view.from.begin(), view.from.end(), axis.name) == view.from.end()) axes.push_back(axis);
    }
    put_before(id, window, std::move(axes), window.inputs);
    return true;
  }

  // relu(unfold(x)) = unfold(relu(x)), at a fraction of the work.
  bool map_before_window(int id) {
    const CoreOp map = op(id);
    if (map.kind != CoreKind::kMap || map.inputs.size() != 1 || !map.scalar.keeps_zero) return false;
    const CoreOp window = input(id);
    if (!has_windows(window) || !used_once(map.inputs[0])) return false;
    put_before(id, window, op(window.inputs[0]).axes, window.inputs);
    return true;
  }

  // unfold(x) * y = unfold(x * y) where y does not vary along the window or the axis that it slides over.
  bool scale_before_window(int id) {
    const CoreOp map = op(id);
    if (map.kind != CoreKind::kMap || map.function != "mul" || map.inputs.size() != 2) return false;
    for (size_t which : {0, 1}) {
      const CoreOp window = input(id, which);
      const int other = map.inputs[1 - which];
      if (!has_windows(window) || !used_once(map.inputs[which]) || meets(op(other).axes, touched(window))) continue;
      Axes axes = op(window.inputs[0]).axes;
      for (const Axis& axis : op(other).axes) {
        if (!has_axis(axes, axis.name)) axes.push_back(axis);
      }
      put_before(id, window, std::move(axes), {window.inputs[0], other});
      return true;
    }
    return false;
  }

  // A parameter contracted with merged windows is contracted with the windows themselves: the merge only flattened its axes.
  bool unmerge_weight(int id) {
    CoreOp contract = op(id);
    if (contract.kind != CoreKind::kContract || contract.inputs.size() != 2) return false;
    const CoreOp view = input(id, 0);
    CoreOp weight = input(id, 1);
    if (view.kind != CoreKind::kView || weight.kind != CoreKind::kParameter || view.to.size() != 1 ||
        view.from.size() < 2)
      return false;
    const CoreOp window = op(view.inputs[0]);
    const Names parts(view.from.begin(), view.from.end());
    const int place = find_axis(weight.axes, view.to[0].name);
    if (!has_windows(window) || !meets(view.from, made(window)) || place < 0 ||
        has_axis(contract.axes, view.to[0].name) || meets(weight.axes, parts) || meets(contract.axes, parts)) {
      return false;
    }
    Axes axes(weight.axes.begin(), weight.axes.begin() + place);
    for (const std::string& name : view.from)
      axes.push_back(window.axes[static_cast<size_t>(find_axis(window.axes, name))]);
    axes.insert(axes.end(), weight.axes.begin() + place + 1, weight.axes.end());
    weight.axes = std::move(axes);
    contract.inputs = {view.inputs[0], add(std::move(weight))};
    op(id) = std::move(contract);
    return true;
  }

  // A product summed over windows is a contraction.
  bool product_sum(int id) {
    const CoreOp reduce = op(id);
    if (reduce.kind != CoreKind::kReduce || reduce.function != "sum" || !used_once(reduce.inputs[0])) return false;
    const CoreOp map = input(id);
    if (map.kind != CoreKind::kMap || map.function != "mul" || map.inputs.size() != 2) return false;
    for (int in : map.inputs) {
      const Names windows = made(op(in));
      const bool all = std::all_of(reduce.from.begin(), reduce.from.end(),
                                   [&](const auto& name) { return windows.count(name) > 0; });
      if (!has_windows(op(in)) || !all) continue;
      op(id) = {CoreKind::kContract, map.inputs, reduce.axes, {}, {}, {}, "", "", reduce.name};
      return true;
    }
    return false;
  }

  // A reduction over windows and other axes: the others first, then the windows alone, which is pooling.
  bool reduce_in_parts(int id) {
    CoreOp reduce = op(id);
    if (reduce.kind != CoreKind::kReduce) return false;
    const CoreOp window = input(id);
    if (!has_windows(window) || !used_once(reduce.inputs[0])) return false;
    const Names windows = made(window);
    std::vector<std::string> inside, others;
    for (const std::string& name : reduce.from) (windows.count(name) ? inside : others).push_back(name);
    if (others.empty() || inside.empty() || meets(others, touched(window))) return false;
    const auto drop = [&](Axes axes) {
      std::erase_if(
          axes, [&](const Axis& axis) { return std::find(others.begin(), others.end(), axis.name) != others.end(); });
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

  std::vector<CoreOp> ops_;
  int result_;
  std::vector<int> uses_;
};

}  // namespace

bool is_stride_only(const CoreOp& index) {
  return index.over.empty() && std::all_of(index.items.begin(), index.items.end(),
                                           [](const IndexItem& item) { return item.made.empty() && item.offset == 0; });
}

CoreProgram simplify(const CoreProgram& program) { return Simplifier(program).run(); }

}  // namespace canvas

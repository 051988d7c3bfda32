// Rules that bring windows next to what consumes them, and computation before them.
#include <algorithm>

#include "canvas/base/error.h"
#include "canvas/lower/rewriter.h"

namespace canvas {

namespace {

bool has_item(const CoreOp& index, const IndexItem& wanted) {
  return std::any_of(index.items.begin(), index.items.end(), [&](const IndexItem& item) {
    return item.axis == wanted.axis && item.made == wanted.made && item.window == wanted.window &&
           item.dilation == wanted.dilation && item.offset == wanted.offset && item.stride == wanted.stride;
  });
}

// The axis of a name becomes that of others.
void replace_axis(Axes& axes, const Axes& others, const Name& name) {
  axes[static_cast<size_t>(find_axis(axes, name))] = others[static_cast<size_t>(find_axis(others, name))];
}

}  // namespace

// A change of other axes goes before the window, so that the window stands next to what consumes it.
bool Rewriter::view_before_window(int id) {
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
bool Rewriter::map_before_window(int id) {
  const CoreOp map = op(id);
  if (map.kind != CoreKind::kMap || map.inputs.size() != 1 || !map.scalar.keeps_zero) return false;
  const CoreOp window = input(id);
  if (!has_windows(window)) return false;
  put_before(id, window, op(window.inputs[0]).axes, window.inputs);
  return true;
}

// unfold(x) * y = unfold(x * y) where y does not vary along the window or the axis that it slides over.
bool Rewriter::scale_before_window(int id) {
  const CoreOp map = op(id);
  if (map.kind != CoreKind::kMap || map.function != "mul" || map.inputs.size() != 2) return false;
  for (size_t which : {0, 1}) {
    const CoreOp window = input(id, which);
    const int other = map.inputs[1 - which];
    if (!has_windows(window) || meets(op(other).axes, touched(window))) continue;
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
bool Rewriter::unmerge_weight(int id) {
  CoreOp contract = op(id);
  if (contract.kind != CoreKind::kContract || contract.inputs.size() != 2) return false;
  const CoreOp view = input(id, 0);
  CoreOp weight = input(id, 1);
  if (view.kind != CoreKind::kView || weight.kind != CoreKind::kParameter || view.to.size() != 1 ||
      view.from.size() < 2)
    return false;
  const CoreOp windows = op(view.inputs[0]);
  const Names parts(view.from.begin(), view.from.end());
  const int place = find_axis(weight.axes, view.to[0].name);
  if (!meets(view.from, windows_of(view.inputs[0])) || place < 0 || has_axis(contract.axes, view.to[0].name) ||
      meets(weight.axes, parts) || meets(contract.axes, parts)) {
    return false;
  }
  Axes axes(weight.axes.begin(), weight.axes.begin() + place);
  for (const Name& name : view.from) axes.push_back(windows.axes[static_cast<size_t>(find_axis(windows.axes, name))]);
  axes.insert(axes.end(), weight.axes.begin() + place + 1, weight.axes.end());
  weight.axes = std::move(axes);
  contract.inputs = {view.inputs[0], add(std::move(weight))};
  op(id) = std::move(contract);
  return true;
}

// A change of axes that windows do not touch goes before the function of a window, so that the function stands next to what consumes it.
bool Rewriter::view_before_map(int id) {
  const CoreOp view = op(id);
  if (view.kind != CoreKind::kView || !used_once(view.inputs[0])) return false;
  CoreOp map = input(id);
  if (map.kind != CoreKind::kMap || windows_of(view.inputs[0]).empty()) return false;
  const auto taken = [&](const Axes& axes) {
    return std::count_if(view.from.begin(), view.from.end(), [&](const auto& name) { return has_axis(axes, name); });
  };
  for (int in : map.inputs) {
    const auto count = static_cast<size_t>(taken(op(in).axes));
    const bool opaque = has_windows(op(in)) && meets(view.from, touched(op(in)));
    if (opaque || meets(view.from, windows_of(in)) || (count != 0 && count != view.from.size())) return false;
  }
  for (int& in : map.inputs) {
    if (taken(op(in).axes) == 0) continue;
    CoreOp part{CoreKind::kView, {in}, {}, view.from, view.to, {}, "", "", ""};
    part.axes = view.to;
    for (const Axis& axis : op(in).axes) {
      if (std::find(view.from.begin(), view.from.end(), axis.name) == view.from.end()) part.axes.push_back(axis);
    }
    in = add(std::move(part));
  }
  map.axes = view.axes;
  if (!view.name.empty()) map.name = view.name;
  op(id) = std::move(map);
  return true;
}

// Whether another value is the same merge of axes of the same sizes.
bool Rewriter::merges_alike(const CoreOp& view, const CoreOp& other) const {
  if (other.kind != CoreKind::kView || other.from != view.from || other.to != view.to) return false;
  const Axes &axes = op(view.inputs[0]).axes, &others = op(other.inputs[0]).axes;
  return std::all_of(view.from.begin(), view.from.end(), [&](const Name& name) {
    return axes[static_cast<size_t>(find_axis(axes, name))].size ==
           others[static_cast<size_t>(find_axis(others, name))].size;
  });
}

// A merge of windows goes behind the function of it, where the function's other operands do not have the merged axis, or the same merge.
bool Rewriter::view_after_map(int id) {
  CoreOp map = op(id);
  if (map.kind != CoreKind::kMap) return false;
  for (size_t which = 0; which < map.inputs.size(); ++which) {
    CoreOp view = input(id, which);
    if (view.kind != CoreKind::kView || view.to.size() != 1 || view.from.size() < 2) continue;
    if (!meets(view.from, windows_of(view.inputs[0]))) continue;
    const Names parts(view.from.begin(), view.from.end());
    bool apart = true;
    std::vector<int> inputs = map.inputs;
    Axes axes = op(view.inputs[0]).axes;
    for (size_t i = 0; i < map.inputs.size(); ++i) {
      if (merges_alike(view, input(id, i))) inputs[i] = input(id, i).inputs[0];
      const Axes& other = op(inputs[i]).axes;
      apart = apart && (inputs[i] != map.inputs[i] || (!has_axis(other, view.to[0].name) && !meets(other, parts)));
      for (const Axis& axis : other) {
        if (!has_axis(axes, axis.name)) axes.push_back(axis);
      }
    }
    if (!apart) continue;
    view.axes = map.axes;
    view.name = map.name;
    map.inputs = std::move(inputs);
    map.axes = std::move(axes);
    map.name.clear();
    view.inputs = {add(std::move(map))};
    op(id) = std::move(view);
    return true;
  }
  return false;
}

// unfold(x) + unfold(y) = unfold(x + y) for windows of the same shape: every function of two values gives 0 for two zeros. Strides and
// shifts that only one of them has stay before the function.
bool Rewriter::maps_of_windows(int id) {
  const CoreOp map = op(id);
  if (map.kind != CoreKind::kMap || map.inputs.size() != 2) return false;
  const CoreOp windows[] = {input(id, 0), input(id, 1)};
  CoreOp common = windows[0], before[2];
  common.items.clear();
  for (size_t which : {0, 1}) {
    const CoreOp& window = windows[which];
    if (!has_windows(window)) return false;
    before[which] = {CoreKind::kIndex, window.inputs, op(window.inputs[0]).axes, {}, {}, {}, "", "", ""};
    for (const IndexItem& item : window.items) {
      if (has_item(windows[1 - which], item)) {
        if (which == 0) common.items.push_back(item);
        continue;
      }
      if (!item.made.empty()) return false;
      before[which].items.push_back(item);
      replace_axis(before[which].axes, window.axes, item.axis);
    }
  }
  Axes axes = before[0].axes;
  for (const Axis& axis : before[1].axes) {
    if (!has_axis(axes, axis.name)) axes.push_back(axis);
  }
  if (meets(axes, made_by(common))) return false;
  std::vector<int> inputs;
  for (CoreOp& one : before) inputs.push_back(one.items.empty() ? one.inputs[0] : add(std::move(one)));
  put_before(id, common, std::move(axes), std::move(inputs));
  return true;
}

// Two operands with the same windows, of which the contraction leaves the axes alone: it goes before both.
bool Rewriter::contract_alike(int id) {
  const CoreOp contract = op(id);
  const CoreOp window = input(id, 0), other = input(id, 1);
  if (!has_windows(window) || !has_windows(other) || window.items.size() != other.items.size()) return false;
  for (const IndexItem& item : window.items) {
    const bool stays = has_axis(contract.axes, item.axis) &&
                       (item.made.empty() ? item.stride.is_one() : has_axis(contract.axes, item.made));
    if (!stays || !has_item(other, item)) return false;
  }
  const Names made = made_by(window), read = touched(window);
  const Axes base = op(window.inputs[0]).axes;
  Axes axes = contract.axes;
  axes.erase_if([&](const Axis& axis) { return made.count(axis.name) > 0; });
  for (Axis& axis : axes) {
    if (read.count(axis.name) > 0) axis = base[static_cast<size_t>(find_axis(base, axis.name))];
  }
  put_before(id, window, std::move(axes), {window.inputs[0], other.inputs[0]});
  return true;
}

// A contraction goes before the windows of which it leaves the axes alone; those that it contracts stay before it.
bool Rewriter::contract_before_window(int id) {
  const CoreOp contract = op(id);
  if (contract.kind != CoreKind::kContract || contract.inputs.size() != 2) return false;
  if (contract_alike(id)) return true;
  for (size_t which : {0, 1}) {
    const CoreOp window = input(id, which);
    const CoreOp other = input(id, 1 - which);
    if (!has_windows(window)) continue;
    CoreOp after = window, before = window;
    after.items.clear();
    before.items.clear();
    for (const IndexItem& item : window.items) {
      const bool passes = has_axis(contract.axes, item.axis) && !has_axis(other.axes, item.axis) &&
                          (item.made.empty() ? item.stride.is_one()
                                             : has_axis(contract.axes, item.made) && !has_axis(other.axes, item.made));
      (passes ? after : before).items.push_back(item);
    }
    if (!has_windows(after)) continue;
    const Names made = made_by(after), read = touched(after);
    const Axes base = op(window.inputs[0]).axes;
    before.name.clear();
    before.axes.erase_if([&](const Axis& axis) { return made.count(axis.name) > 0; });
    for (Axis& axis : before.axes) {
      if (read.count(axis.name) > 0) axis = base[static_cast<size_t>(find_axis(base, axis.name))];
    }
    Axes axes;
    const Axes& left = before.axes;
    for (const Axes* from : {&left, &other.axes}) {
      for (const Axis& axis : *from) {
        if (has_axis(contract.axes, axis.name) && !has_axis(axes, axis.name)) axes.push_back(axis);
      }
    }
    std::vector<int> inputs = contract.inputs;
    inputs[which] = before.items.empty() ? window.inputs[0] : add(std::move(before));
    put_before(id, after, std::move(axes), std::move(inputs));
    return true;
  }
  return false;
}

}  // namespace canvas

// Rules of index maps: those that change nothing dropped, others joined, and strides moved towards the input.
#include <algorithm>

#include "canvas/base/error.h"
#include "canvas/lower/rewriter.h"
#include "canvas/lower/simplify.h"

namespace canvas {

namespace {

bool only_strides(const IndexItem& item) { return item.made.empty() && item.offset == 0 && item.window == 1; }

// Whether a stride reads, of what was repeated, each element once.
bool takes_back(const CoreOp& stride, const CoreOp& repeat) {
  if (stride.kind != CoreKind::kIndex || repeat.kind != CoreKind::kPick) return false;
  if (!is_stride_only(stride) || stride.items.size() != repeat.items.size()) return false;
  return std::all_of(stride.items.begin(), stride.items.end(), [&](const IndexItem& item) {
    return has_axis(repeat.axes, item.axis) &&
           std::any_of(repeat.items.begin(), repeat.items.end(),
                       [&](const IndexItem& other) { return other.axis == item.axis && other.stride == item.stride; });
  });
}

}  // namespace

bool Rewriter::is_one(const Size& size) const { return size.is_one() || (values_ && size.evaluate(*values_) == 1); }

// A split of what was merged, or a merge of what was split, that gives the axes back as they were.
bool Rewriter::puts_back(const CoreOp& view, const CoreOp& inner) const {
  if (view.kind != CoreKind::kView || inner.kind != CoreKind::kView) return false;
  const auto same = [](const AxisNames& names, const Axes& axes) {
    return std::equal(names.begin(), names.end(), axes.begin(), axes.end(),
                      [](const Name& name, const Axis& axis) { return name == axis.name; });
  };
  return same(view.from, inner.to) && same(inner.from, view.to) &&
         std::all_of(view.to.begin(), view.to.end(), [&](const Axis& axis) {
           const Axes& before = op(inner.inputs[0]).axes;
           return is_one(axis.size / before[static_cast<size_t>(find_axis(before, axis.name))].size);
         });
}

// What reads every element where it stands is nothing, and so are two steps of which the second takes back the first.
bool Rewriter::drop_identity(int id) {
  CoreOp& outer = op(id);
  bool fewer = false;
  if (outer.kind == CoreKind::kIndex || outer.kind == CoreKind::kPick) {
    const auto left = std::remove_if(outer.items.begin(), outer.items.end(), [&](const IndexItem& item) {
      return only_strides(item) && is_one(item.stride) && has_axis(outer.axes, item.axis);
    });
    if (left == outer.items.begin()) return pass(id, outer.inputs[0]);
    fewer = left != outer.items.end();
    outer.items.erase(left, outer.items.end());
  }
  if (outer.inputs.empty()) return false;
  const CoreOp& inner = op(outer.inputs[0]);
  return ((takes_back(outer, inner) || puts_back(outer, inner)) && pass(id, inner.inputs[0])) || fewer;
}

bool Rewriter::pass(int id, int to) {
  for (CoreOp& reader : ops_) std::replace(reader.inputs.begin(), reader.inputs.end(), id, to);
  if (result_ == id) result_ = to;
  return true;
}

// Two index maps in a row along different axes, or a stride after anything, are one.
bool Rewriter::join_indices(int id) {
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
bool Rewriter::stride_early(int id) {
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

}  // namespace canvas

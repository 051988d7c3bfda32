// Rules of index maps: joined, and strides moved towards the input.
#include <algorithm>

#include "canvas/base/error.h"
#include "canvas/lower/rewriter.h"
#include "canvas/lower/simplify.h"

namespace canvas {

// Two index maps in a row along different axes, or a stride after anything, are one. A neighbourhood shift that something else reads too is
// not made a second time for a stride of 1, which costs nothing where it is.
bool Rewriter::join_indices(int id) {
  const CoreOp outer = op(id);
  if (outer.kind != CoreKind::kIndex || !outer.over.empty()) return false;
  const CoreOp inner = input(id);
  if (inner.kind != CoreKind::kIndex || (!inner.over.empty() && !is_stride_only(outer))) return false;
  if (!inner.over.empty() && !used_once(outer.inputs[0]) && changes_nothing(outer)) return false;
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

bool Rewriter::changes_nothing(const CoreOp& stride) const {
  return values_ && std::all_of(stride.items.begin(), stride.items.end(),
                                [&](const IndexItem& item) { return item.stride.evaluate(*values_) == 1; });
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

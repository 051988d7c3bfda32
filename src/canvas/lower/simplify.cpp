#include "canvas/lower/simplify.h"

#include <algorithm>

#include "canvas/base/error.h"
#include "canvas/lower/rewriter.h"

namespace canvas {

bool has_windows(const CoreOp& op) {
  return op.kind == CoreKind::kIndex && op.over.empty() &&
         std::any_of(op.items.begin(), op.items.end(), [](const IndexItem& item) { return !item.made.empty(); });
}

Names touched(const CoreOp& index) {
  Names names;
  for (const IndexItem& item : index.items) names.insert({item.axis, item.made});
  if (!index.over.empty()) names.insert(index.over);
  names.erase("");
  return names;
}

Names made_by(const CoreOp& index) {
  Names names;
  for (const IndexItem& item : index.items) names.insert(item.made);
  names.erase("");
  return names;
}

bool meets(const AxisNames& list, const Names& names) {
  return std::any_of(list.begin(), list.end(), [&](const Name& name) { return names.count(name) > 0; });
}

bool meets(const Names& list, const Names& names) {
  return std::any_of(list.begin(), list.end(), [&](const std::string& name) { return names.count(name) > 0; });
}

bool meets(const Axes& axes, const Names& names) {
  return std::any_of(axes.begin(), axes.end(), [&](const Axis& axis) { return names.count(axis.name) > 0; });
}

CoreProgram Rewriter::topological() const {
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

void Rewriter::count_uses() {
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

// Replaces an operation over a window map by a window map over that operation, which has axes `axes` and inputs `inputs`.
void Rewriter::put_before(int id, const CoreOp& window, Axes axes, std::vector<int> inputs) {
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

Names Rewriter::windows_of(int id) const {
  Names names;
  std::set<int> seen;
  std::vector<int> stack = {id};
  while (!stack.empty()) {
    const int next = stack.back();
    stack.pop_back();
    if (!seen.insert(next).second) continue;
    if (has_windows(op(next))) names.merge(made_by(op(next)));
    if (op(next).kind == CoreKind::kMap) stack.insert(stack.end(), op(next).inputs.begin(), op(next).inputs.end());
  }
  return names;
}

bool is_stride_only(const CoreOp& index) {
  return index.over.empty() && std::all_of(index.items.begin(), index.items.end(),
                                           [](const IndexItem& item) { return item.made.empty() && item.offset == 0; });
}

CoreProgram simplify(const CoreProgram& program, Lowering& lowering, const Values* values) {
  CoreProgram current = program;
  for (bool changed = true; changed;) {
    changed = false;
    Rewriter rewriter(current, values);
    for (int id = 0; id < rewriter.size(); ++id) {  // those too that rules add on the way
      for (size_t rule = 0; rule < rules().size(); ++rule) {
        if (!rewriter.live(id)) break;  // nothing reads it any more
        if (!rules()[rule].apply || !lowering.has(rule) || !(rewriter.*rules()[rule].apply)(id)) continue;
        lowering.fired(rules()[rule].name);
        changed = true;
        rewriter.count_uses();
      }
    }
    current = rewriter.topological();
  }
  return current;
}

CoreProgram simplify(const CoreProgram& program) {
  Lowering all;
  return simplify(program, all);
}

}  // namespace canvas

#include "canvas/native/repeats.h"

#include <algorithm>

namespace canvas::native {

namespace {

bool same(const IndexItem& a, const IndexItem& b) {
  return a.axis == b.axis && a.made == b.made && a.window == b.window && a.dilation == b.dilation &&
         a.offset == b.offset && a.stride == b.stride;
}

template <class List>
bool equal(const List& a, const List& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

bool same(const CoreOp& a, const CoreOp& b) {
  return a.kind == b.kind && a.inputs == b.inputs && a.function == b.function && a.over == b.over && a.name == b.name &&
         equal(a.axes, b.axes) && equal(a.from, b.from) && equal(a.to, b.to) &&
         std::equal(a.items.begin(), a.items.end(), b.items.begin(), b.items.end(),
                    [](const IndexItem& x, const IndexItem& y) { return same(x, y); });
}

bool is_stored(const CoreOp& op) { return op.kind == CoreKind::kInput || op.kind == CoreKind::kParameter; }

}  // namespace

CoreProgram without_repeats(const CoreProgram& program) {
  CoreProgram made;
  std::vector<int> place;
  for (CoreOp op : program.ops) {
    for (int& in : op.inputs) in = place[static_cast<size_t>(in)];
    if (!is_stored(op)) op.name.clear();  // it tells nothing of the value
    const bool last = place.size() + 1 == program.ops.size();
    const auto known = std::find_if(made.ops.begin(), made.ops.end(), [&](const CoreOp& of) { return same(of, op); });
    if (known != made.ops.end() && !last) {
      place.push_back(static_cast<int>(known - made.ops.begin()));
    } else {
      place.push_back(made.add(std::move(op)));
    }
  }
  return made;
}

}  // namespace canvas::native

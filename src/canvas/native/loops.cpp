#include "canvas/native/loops.h"

#include <algorithm>
#include <functional>

namespace canvas::native {

namespace {

// One loop over both, where each access runs on from the end of the inner one.
bool joined(Loops& made, size_t outer, size_t inner) {
  const Loop& a = made.loops[outer];
  const Loop& b = made.loops[inner];
  if (a.reduced != b.reduced) return false;
  for (size_t i = 0; i < made.operands.size(); ++i) {
    if (made.operands[i].packed ? (a.step[i] == 0) != (b.step[i] == 0) : a.step[i] != b.step[i] * b.extent)
      return false;
  }
  return true;
}

}  // namespace

Loops loops_of(const Nest& nest, const Buffers& buffers) {
  Loops made;
  std::vector<const Access*> accesses = {&nest.to};
  for (const Access& factor : nest.factors) accesses.push_back(&factor);
  made.factors = nest.factors.size();
  made.expression = nest.expression;
  const std::function<void(Expression&)> number = [&](Expression& expression) {
    if (expression.kind == Expression::kLoad) {
      expression.function = std::to_string(accesses.size());
      accesses.push_back(&expression.access);
    }
    for (Expression& child : expression.of) number(child);
  };
  number(made.expression);
  for (size_t i = 0; i < accesses.size(); ++i) {
    const bool packed = i > 0 && i <= made.factors && !nest.once && !nest.maximum &&
                        buffers[accesses[i]->buffer].place == Place::kConstant;
    made.operands.push_back({accesses[i]->buffer,
                             buffers.start(*accesses[i]) - buffers[accesses[i]->buffer].start,
                             {},
                             packed,
                             buffers[accesses[i]->buffer].half});
    for (const std::string& name : nest.around)
      made.operands.back().around.push_back(buffers.stride(*accesses[i], name));
  }
  for (const bool reduced : {false, true}) {
    for (const auto& [name, extent] : reduced ? nest.reduced : nest.loops) {
      if (extent == 1 || std::find(nest.around.begin(), nest.around.end(), name) != nest.around.end()) continue;
      Loop loop{extent, reduced, {}, {}};
      for (const Access* access : accesses) loop.step.push_back(buffers.stride(*access, name));
      loop.parts = {{name, extent, loop.step}};
      made.loops.push_back(std::move(loop));
    }
  }
  for (bool again = true; again;) {
    again = false;
    for (size_t outer = 0; outer < made.loops.size() && !again; ++outer) {
      for (size_t inner = 0; inner < made.loops.size() && !again; ++inner) {
        if (outer == inner || !joined(made, outer, inner)) continue;
        Loop& kept = made.loops[inner];
        kept.extent *= made.loops[outer].extent;
        kept.parts.insert(kept.parts.begin(), made.loops[outer].parts.begin(), made.loops[outer].parts.end());
        made.loops.erase(made.loops.begin() + static_cast<std::ptrdiff_t>(outer));
        again = true;
      }
    }
  }
  return made;
}

}  // namespace canvas::native

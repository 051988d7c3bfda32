#include "canvas/ir/renames.h"

#include "canvas/ir/labels.h"

namespace canvas {

namespace {

bool renames(const Step& step) { return step.is(kBijective) && step.from.size() == 1 && step.to.size() == 1; }

}  // namespace

bool drop_rename(Program& program) {
  std::vector<int> candidates;
  for (int value : program.order) {
    const Step& step = program.step(value);
    if (!renames(step) || (value == program.result && step.inputs[0] == 0)) continue;
    if (step.from[0] == step.to[0].axis || program.may_unite(step.from[0], step.to[0].axis))
      candidates.push_back(value);
  }
  if (candidates.empty()) return false;
  const Labels known = labels(program);
  const int value = *std::min_element(candidates.begin(), candidates.end(), [&](int a, int b) {
    return known.values[static_cast<size_t>(a)] < known.values[static_cast<size_t>(b)];
  });
  const Step dropped = program.step(value);
  program.unite(dropped.from[0], dropped.to[0].axis);
  program.replace(value, dropped.inputs[0]);
  program.refresh();
  return true;
}

}  // namespace canvas

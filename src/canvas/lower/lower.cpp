#include "canvas/lower/lower.h"

#include "canvas/ir/primitive.h"

namespace canvas {

CoreProgram lower(const Kernel& kernel) {
  CoreProgram program;
  const Node& input = kernel.node(0);
  std::vector<int> lowered = {program.add({CoreKind::kInput, {}, input.axes, {}, {}, {}, "", "", input.name})};
  for (size_t i = 1; i < kernel.nodes().size(); ++i) {
    const Node& node = kernel.nodes()[i];
    std::vector<int> inputs;
    for (int value : node.inputs) inputs.push_back(lowered[static_cast<size_t>(value)]);
    lowered.push_back(node.primitive->lower(node, kernel.operands(node), inputs, program));
  }
  require(lowered.back() + 1 == static_cast<int>(program.ops.size()),
          "the result of a lowered kernel is not its last operation");
  return program;
}

}  // namespace canvas

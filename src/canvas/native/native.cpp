#include "canvas/native/native.h"

#include <algorithm>

#include "canvas/base/error.h"
#include "canvas/emit/python.h"
#include "canvas/lower/lower.h"
#include "canvas/lower/simplify.h"
#include "canvas/prims/common.h"

namespace canvas {

namespace {

int map(CoreProgram& program, const char* function, std::vector<int> inputs, const Axes& axes) {
  CoreOp op = core_step(CoreKind::kMap, std::move(inputs), axes);
  op.function = function;
  return program.add(std::move(op));
}

int source(CoreProgram& program, CoreKind kind, std::string name, const Axes& axes) {
  CoreOp op = core_step(kind, {}, axes);
  op.name = std::move(name);
  return program.add(std::move(op));
}

Axes channels_last(Axes axes) {
  std::stable_partition(axes.begin(), axes.end(), [](const Axis& axis) { return axis.role != Role::kChannel; });
  return axes;
}

void append(CoreProgram& program, const Signature& signature, const Ending& ending) {
  const Axes& axes = program.ops.back().axes;
  int y = static_cast<int>(program.ops.size()) - 1;
  const Axes all = axes;
  if (ending.scale) {
    const Axes channel = {signature.channel()};
    y = map(program, "mul", {y, source(program, CoreKind::kParameter, "ending.scale", channel)}, all);
    y = map(program, "add", {y, source(program, CoreKind::kParameter, "ending.shift", channel)}, all);
  }
  if (ending.addend) y = map(program, "add", {y, source(program, CoreKind::kInput, native::kAddendName, all)}, all);
  if (ending.relu) map(program, "relu", {y}, all);
}

}  // namespace

NativeKernel emit_native(const Kernel& kernel, const Values& values, const native::Target& target,
                         const Ending& ending) {
  for (const Node& node : kernel.nodes()) {
    for (const Axis& axis : node.axes) {
      if (!axis.size.evaluate(values))
        throw ArgumentError(kernel.name() + ": axis " + axis.name + " of " + node.name + " has no size");
    }
  }
  Lowering all;
  CoreProgram program = simplify(lower(kernel), all, &values);
  append(program, kernel.signature(), ending);
  for (CoreOp& op : program.ops) {
    if (op.kind == CoreKind::kParameter) op.name = python_name(op.name);
  }
  return emit_native(program, channels_last(kernel.signature().from), channels_last(kernel.signature().to), target,
                     values);
}

NativeKernel emit_native(const CoreProgram& program, const Axes& from, const Axes& to, const native::Target& target,
                         const Values& values) {
  native::Plan plan = native::make_plan(program, from, to, values);
  std::vector<std::string> parameters = plan.parameters;
  return {native::write(std::move(plan), target), std::move(parameters)};
}

}  // namespace canvas

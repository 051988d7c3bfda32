#include "canvas/native/native.h"

#include "canvas/emit/python.h"
#include "canvas/lower/lower.h"
#include "canvas/lower/simplify.h"

namespace canvas {

NativeKernel emit_native(const Kernel& kernel, const Values& values, const native::Target& target) {
  Lowering all;
  native::Plan plan = native::make_plan(simplify(lower(kernel), all, &values), kernel.signature(), values);
  std::vector<std::string> parameters;
  for (const std::string& name : plan.parameters) parameters.push_back(python_name(name));
  return {native::write(std::move(plan), target), std::move(parameters)};
}

}  // namespace canvas

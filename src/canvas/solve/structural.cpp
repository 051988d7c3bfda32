#include "canvas/solve/structural.h"

#include <algorithm>

#include "canvas/ir/primitive.h"

namespace canvas {

System system_of(const Kernel& kernel) {
  System system;
  for (const Node& node : kernel.nodes()) {
    for (const Axes* axes : {&node.axes, &node.attributes.to}) {
      for (const Axis& axis : *axes) {
        if (std::find(system.whole.begin(), system.whole.end(), axis.size) == system.whole.end())
          system.whole.push_back(axis.size);
      }
    }
    if (!node.primitive || !node.primitive->takes(kIndices)) continue;
    const Axes& operand = kernel.node(node.inputs[0]).axes;
    for (const AxisItem& item : node.attributes.items) {
      const Size& size = operand[static_cast<size_t>(find_axis(operand, item.axis))].size;
      if (item.offset == 0 || size.is_constant()) continue;
      const auto known = std::find_if(system.bounds.begin(), system.bounds.end(),
                                      [&](const System::Bound& bound) { return bound.size == size; });
      if (known == system.bounds.end()) {
        system.bounds.push_back({size, item.offset + 1});
      } else {
        known->low = std::max<int64_t>(known->low, item.offset + 1);
      }
    }
  }
  return system;
}

std::optional<Fault> unmet(const System& system, const Kernel& kernel, const Layer& layer) {
  const Values values = layer.values();
  const auto fails = [&](const Condition& condition) {
    const auto size = condition.of.size().quotient(values);
    if (condition.kind == Condition::kWhole) return size && size->top % size->bottom != 0;
    return condition.kind == Condition::kWithin && size && size->top / size->bottom < condition.low;
  };
  for (const Size& size : system.whole) {
    if (!size.has_dynamic() && !size.evaluate(values)) return std::nullopt;  // which axis that is says more
  }
  for (const Condition& condition : verdict(system).conditions) {
    if (condition.of.has_variable(kFirstDynamic) || !fails(condition)) continue;
    return Fault{"bind", "layers where " + condition.str(kernel.variables()), "the layer " + layer.str(), ""};
  }
  return std::nullopt;
}

std::optional<Fault> check_sizes(const Kernel& kernel, const Layer& layer, const Values& values) {
  const auto whole = [&](const Axes& axes) {
    int64_t product = 1;
    for (const Axis& axis : axes) {
      const auto extent = axis.size.evaluate(values);
      if (!extent || __builtin_mul_overflow(product, *extent, &product)) return int64_t{0};
    }
    return product;
  };
  for (const Node& node : kernel.nodes()) {
    for (const Axis& axis : node.axes) {
      if (axis.size.evaluate(values)) continue;
      return Fault{"bind", "axis " + axis.name + " of value " + node.name + " a positive integer on every layer",
                   to_string(axis.size, kernel.variables()) + " on the layer " + layer.str(), ""};
    }
    if (node.primitive && node.primitive->misfit) {
      if (auto fault = node.primitive->misfit(node, kernel.operands(node), values)) {
        return Fault{"bind", fault->required, fault->got + " on the layer " + layer.str(), fault->hint};
      }
    }
    if (node.primitive && node.primitive->is(kBijective) &&
        whole(node.axes) != whole(kernel.node(node.inputs[0]).axes)) {
      return Fault{
          "bind",
          "a stride that divides what " + std::string(node.primitive->name) + " " + node.name + " splits or merges",
          "the layer " + layer.str(), ""};
    }
    if (whole(node.axes) == 0)
      return Fault{"bind", "values that fit memory", "value " + node.name + " on the layer " + layer.str(), ""};
  }
  return std::nullopt;
}

}  // namespace canvas

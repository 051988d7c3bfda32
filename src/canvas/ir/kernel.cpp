#include "canvas/ir/kernel.h"

#include <algorithm>

#include "canvas/base/error.h"

namespace canvas {

Size volume(const Axes& axes) {
  Size result;
  for (const Axis& axis : axes) result = result * axis.size;
  return result;
}

Count elements(const Axes& axes) {
  Count result;
  for (const Axis& axis : axes) result = result * axis.size;
  return result;
}

std::string to_string(const Axes& axes, const Variables& variables) {
  std::string text = "[";
  for (const Axis& axis : axes) {
    if (text.size() > 1) text += ", ";
    const std::string size = to_string(axis.size, variables);
    const bool short_form =
        size == axis.name || size.rfind(axis.name + "/", 0) == 0 || size.rfind(axis.name + "*", 0) == 0;
    text += short_form ? size : axis.name + " = " + size;
  }
  return text + "]";
}

Signature Signature::convolution(int dimensions) {
  Signature signature;
  signature.from.push_back({"C", Size::variable(kC), Role::kChannel});
  signature.to.push_back({"K", Size::variable(kK), Role::kChannel});
  for (int extent = kW - dimensions + 1; extent <= kW; ++extent) {
    const Axis axis{kStaticNames[static_cast<size_t>(extent)], Size::variable(extent), Role::kSpatial};
    signature.from.push_back(axis);
    signature.to.push_back({axis.name, axis.size / Size::variable(kStride), Role::kSpatial});
  }
  return signature;
}

Signature Signature::tokens() {
  const Axis positions{"T", Size::variable(kT), Role::kSpatial};
  Signature signature = convolution(0);
  signature.from.insert(signature.from.begin(), positions);
  signature.to.insert(signature.to.begin(), positions);
  return signature;
}

const Axis& Signature::channel() const {
  const auto found = std::find_if(to.begin(), to.end(), [](const Axis& axis) { return axis.role == Role::kChannel; });
  require(found != to.end(), "a signature without channels");
  return *found;
}

bool Signature::has_extent(int variable) const {
  return std::any_of(from.begin(), from.end(), [&](const Axis& axis) { return axis.size.exponent(variable) != 0; });
}

OperandAxes Kernel::operands(const Node& node) const {
  OperandAxes axes;
  for (int input : node.inputs) axes.push_back(&nodes_[static_cast<size_t>(input)].axes);
  return axes;
}

Kernel Kernel::renamed(std::string name) const& { return Kernel(*this).renamed(std::move(name)); }

Kernel Kernel::renamed(std::string name) && {
  name_ = std::move(name);
  return std::move(*this);
}

}  // namespace canvas

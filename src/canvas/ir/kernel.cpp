#include "canvas/ir/kernel.h"

namespace canvas {

int find_axis(const Axes& axes, const std::string& name) {
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

bool has_axis(const Axes& axes, const std::string& name) { return find_axis(axes, name) >= 0; }

Size volume(const Axes& axes) {
  Size result;
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

std::vector<const Axes*> Kernel::operands(const Node& node) const {
  std::vector<const Axes*> axes;
  for (int input : node.inputs) axes.push_back(&nodes_[static_cast<size_t>(input)].axes);
  return axes;
}

Kernel Kernel::renamed(std::string name) const {
  Kernel copy = *this;
  copy.name_ = std::move(name);
  return copy;
}

}  // namespace canvas

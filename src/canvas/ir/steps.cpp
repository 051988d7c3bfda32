#include "canvas/ir/steps.h"

#include <algorithm>

#include "canvas/ir/primitive.h"

namespace canvas {

bool touches(const Node& node, const Name& axis) {
  const Attributes& a = node.attributes;
  return std::find(a.from.begin(), a.from.end(), axis) != a.from.end() ||
         std::find(a.per.begin(), a.per.end(), axis) != a.per.end() || has_axis(a.to, axis) ||
         std::any_of(a.items.begin(), a.items.end(),
                     [&](const AxisItem& item) { return item.axis == axis || item.made == axis; });
}

bool touches(const Node& node, const AxisNames& axes) {
  return std::any_of(axes.begin(), axes.end(), [&](const Name& axis) { return touches(node, axis); });
}

bool linear(const Node& node) {
  return node.primitive->is(kLinear) || (node.primitive->linear_modes >> node.attributes.mode & 1) != 0;
}

}  // namespace canvas

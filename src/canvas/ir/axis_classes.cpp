#include "canvas/ir/axis_classes.h"

#include <cstdint>

#include "canvas/ir/labels.h"

namespace canvas {

AxisClasses::AxisClasses(const std::vector<Node>& nodes) : nodes_(&nodes) {
  for (const Node& node : nodes) {
    first_.push_back(parent_.size());
    for (size_t j = 0; j < node.axes.size(); ++j) parent_.push_back(parent_.size());
  }
  for (size_t i = 1; i < nodes.size(); ++i) {
    for (int input : nodes[i].inputs) {
      for (const Axis& axis : nodes[static_cast<size_t>(input)].axes) {
        for (int other : nodes[i].inputs) join(input, axis.name, other, axis.name);
        if (!makes(nodes[i], axis.name)) join(input, axis.name, static_cast<int>(i), axis.name);
      }
    }
  }
}

size_t AxisClasses::find(int value, const std::string& name) const {
  const int position = find_axis((*nodes_)[static_cast<size_t>(value)].axes, name);
  if (position < 0) return SIZE_MAX;
  size_t at = first_[static_cast<size_t>(value)] + static_cast<size_t>(position);
  while (parent_[at] != at) at = parent_[at];
  return at;
}

void AxisClasses::join(int left, const std::string& left_name, int right, const std::string& right_name) {
  const size_t a = find(left, left_name);
  const size_t b = find(right, right_name);
  if (a != SIZE_MAX && b != SIZE_MAX) parent_[a] = b;
}

}  // namespace canvas

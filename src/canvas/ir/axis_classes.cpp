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
      const Axes& axes = nodes[static_cast<size_t>(input)].axes;
      for (size_t j = 0; j < axes.size(); ++j) {
        const size_t place = first_[static_cast<size_t>(input)] + j;
        for (int other : nodes[i].inputs) {
          if (other != input) unite(place, find(other, axes[j].name));
        }
        if (!makes(nodes[i], axes[j].name)) unite(place, find(static_cast<int>(i), axes[j].name));
      }
    }
  }
}

size_t AxisClasses::find(int value, const std::string& name) const {
  const int position = find_axis((*nodes_)[static_cast<size_t>(value)].axes, name);
  if (position < 0) return SIZE_MAX;
  return root(first_[static_cast<size_t>(value)] + static_cast<size_t>(position));
}

void AxisClasses::join(int left, const std::string& left_name, int right, const std::string& right_name) {
  const size_t place = find(left, left_name);
  if (place != SIZE_MAX) unite(place, find(right, right_name));
}

size_t AxisClasses::root(size_t place) const {
  while (parent_[place] != place) place = parent_[place];
  return place;
}

void AxisClasses::unite(size_t place, size_t other) {
  if (other != SIZE_MAX) parent_[root(place)] = other;
}

}  // namespace canvas

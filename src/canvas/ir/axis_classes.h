// Classes of axis instances that must share a name: an axis handed on from operand to result, or joined with another by a broadcast or a
// contraction. Used by the canonical form, which names each class anew.
#pragma once

#include <string>
#include <vector>

#include "canvas/ir/kernel.h"

namespace canvas {

class AxisClasses {
 public:
  // `nodes` must outlive the classes.
  explicit AxisClasses(const std::vector<Node>& nodes);

  // The class of an axis, or SIZE_MAX when the value lacks it.
  size_t find(int value, const std::string& name) const;
  // Makes one class of two.
  void join(int left, const std::string& left_name, int right, const std::string& right_name);

 private:
  size_t root(size_t place) const;
  // `other` is a root, or SIZE_MAX for none.
  void unite(size_t place, size_t other);

  const std::vector<Node>* nodes_;
  std::vector<size_t> first_;  // of each value's axes, in parent_
  std::vector<size_t> parent_;
};

}  // namespace canvas

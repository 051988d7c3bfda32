// The steps of a kernel, whole or still growing, and who uses the value of each: what the rules about superfluous steps ask before they look
// past a neighbour.
#pragma once

#include <vector>

#include "canvas/ir/kernel.h"

namespace canvas {

class Users {
 public:
  static constexpr int kNone = -1, kSeveral = -2;

  // `next`: one more step than the nodes. Both must outlive this.
  explicit Users(const std::vector<Node>& nodes, const Node* next = nullptr)
      : nodes_(nodes), next_(next), users_(nodes.size() + (next != nullptr), kNone) {
    for (int value = 1; value <= last(); ++value) {
      for (int input : node(value).inputs) {
        int& user = users_[static_cast<size_t>(input)];
        user = user == kNone ? value : kSeveral;
      }
    }
  }

  int last() const { return static_cast<int>(users_.size()) - 1; }
  const Node& node(int value) const {
    return value < static_cast<int>(nodes_.size()) ? nodes_[static_cast<size_t>(value)] : *next_;
  }
  // The only step that uses a value, or one of the above, which are below 0.
  int of(int value) const { return users_[static_cast<size_t>(value)]; }

 private:
  const std::vector<Node>& nodes_;
  const Node* next_;
  Few<int, 16> users_;
};

}  // namespace canvas

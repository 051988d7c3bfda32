// Name-free labels of a kernel's values, axes and dynamic variables, by colour refinement over the whole graph (the idea of
// Weisfeiler and Leman 1968). Used by the canonical form alone.
#pragma once

#include <cstdint>
#include <vector>

#include "canvas/ir/kernel.h"

namespace canvas {

struct Labels {
  std::vector<uint64_t> values;             // one a node
  std::vector<std::vector<uint64_t>> axes;  // one an axis of each node
  std::vector<uint64_t> variables;          // kMaxVariables entries

  uint64_t of(const Size& size) const;
};

// True where the order of a node's lists carries meaning (split, merge, a neighbourhood).
bool ordered(const Node& node);

// True where the operands of a node may change places.
bool commutes(const Node& node);

// True when output axis `name` of the node is made by it rather than handed on from an operand.
bool makes(const Node& node, const std::string& name);

Labels labels(const std::vector<Node>& nodes, const Signature& signature);

}  // namespace canvas

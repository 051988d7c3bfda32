// The kernel: an immutable DAG of values whose axes are named. Built by Builder, read by everything else.
// A kernel owns its nodes in one vector in topological order; values are referred to by index, and value 0 is the input.
// The batch axis is implicit.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "canvas/base/few.h"
#include "canvas/base/name.h"
#include "canvas/size/count.h"
#include "canvas/size/size.h"

namespace canvas {

struct Primitive;

enum class Role { kChannel, kSpatial, kWindow };

struct Axis {
  Name name;
  Size size;
  Role role = Role::kChannel;
  bool operator==(const Axis&) const = default;
};

using Axes = Few<Axis, 6>;
using AxisNames = Few<Name, 3>;

// Position of the axis `name`, or -1.
inline int find_axis(const Axes& axes, const Name& name) {
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i].name == name) return static_cast<int>(i);
  }
  return -1;
}
inline bool has_axis(const Axes& axes, const Name& name) { return find_axis(axes, name) >= 0; }
// Product of all sizes, as equations take it.
Size volume(const Axes& axes);
// How many elements that are: each axis rounds up by itself.
Count elements(const Axes& axes);
// "[C, h = 3, H = H/s]": an axis whose size starts with its own name prints as the size alone.
std::string to_string(const Axes& axes, const Variables& variables);

// One `axis: made = amount` of a text: `H: 3`, `H: h = 3`, `W: -1`, `H: s`.
struct AxisItem {
  Name axis;
  Name made;       // the new axis (unfold), or empty
  Size amount;     // window, factor; the constant 1 where `offset` is what counts
  int offset = 0;  // shift
  bool operator==(const AxisItem&) const = default;
};

using AxisItems = Few<AxisItem, 2>;

// What a primitive is told besides its operands. One struct for all primitives, so that printing, renaming, canonical form and
// mutation walk it without knowing the primitive.
struct Attributes {
  AxisNames from;   // axes consumed or acted on: the list, or what stands left of ->
  Axes to;          // axes made: right of ->
  AxisNames per;    // `per: [...]`, `over: [...]`
  AxisItems items;  // `H: 3, W: 3`
  int mode = 0;     // index into the primitive's modes
  int dilation = 1;
  bool operator==(const Attributes&) const = default;
};

using Inputs = Few<int, 2>;
using OperandAxes = Few<const Axes*, 2>;

struct Node {
  const Primitive* primitive = nullptr;  // null for the input, which is value 0
  Inputs inputs;
  Attributes attributes;
  Axes axes;         // of the value that it makes
  std::string name;  // of that value, unique in the kernel; a weighted node's parameter has the same name
};

// What a kernel replaces: the input's name and axes, and the axes of the result.
struct Signature {
  std::string input = "x";
  Axes from;
  Axes to;

  // x[C, H, W] -> [K, H/s, W/s] and its 1-d (W) and 3-d (D, H, W) relatives; 0 dimensions: x[C] -> [K], a linear layer.
  static Signature convolution(int dimensions = 2);
  // x[T, C] -> [T, K].
  static Signature tokens();

  // The axis of size K in the result.
  const Axis& channel() const;
  // Whether the input has an axis of this extent (kD to kT).
  bool has_extent(int variable) const;
  // No axis but the channels: it is applied to every position by itself.
  bool per_position() const { return from.size() == 1; }
};

class Kernel {
 public:
  const std::string& name() const { return name_; }
  const Signature& signature() const { return signature_; }
  const Variables& variables() const { return variables_; }
  const std::vector<Node>& nodes() const { return nodes_; }
  const Node& node(int value) const { return nodes_[static_cast<size_t>(value)]; }
  int output() const { return static_cast<int>(nodes_.size()) - 1; }
  // Number of primitives.
  int length() const { return static_cast<int>(nodes_.size()) - 1; }
  // The axes of a node's operands, in order.
  OperandAxes operands(const Node& node) const;
  Kernel renamed(std::string name) const&;
  Kernel renamed(std::string name) &&;
  // Variables of the text (or builder) that the kernel came from which its equations decided, and what they are: {"a", "K/b"}.
  const std::vector<std::pair<std::string, std::string>>& forced() const { return forced_; }

 private:
  friend class Builder;
  std::string name_ = "kernel";
  Signature signature_;
  Variables variables_;
  std::vector<Node> nodes_;
  std::vector<std::pair<std::string, std::string>> forced_;
};

}  // namespace canvas

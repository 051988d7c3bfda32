#include "canvas/sample/connected.h"

#include <algorithm>
#include <cstdlib>

#include "canvas/ir/primitive.h"

namespace canvas {

namespace {

constexpr int64_t kMostMoved = 2;  // from the middle of the small layer, whose end is three away

// Drops elements, or puts those of several values side by side: then what one value depends on says little of the result.
bool sets_apart(const Node& node) {
  const Primitive& primitive = *node.primitive;
  if (primitive.takes(kIndices) || primitive.takes(kNew)) return true;
  const bool resamples = primitive.takes(kItems) && !primitive.is(kPads);
  return resamples && std::any_of(node.attributes.items.begin(), node.attributes.items.end(),
                                  [](const AxisItem& item) { return item.amount != Size::variable(kStride); });
}

// Spreads a neighbourhood over all of a layer's channels rather than over a part of them, which may be too few.
bool spreads_far(const Node& node) {
  if (node.attributes.per.empty()) return false;
  const Size& size = node.axes[static_cast<size_t>(find_axis(node.axes, node.attributes.per[0]))].size;
  return size.denominator() == 1 && !size.has_dynamic() && size.exponent(kC) + size.exponent(kK) > 0;
}

// By how many positions a step may move what stands in the middle.
int64_t shift_of(const Node& node) {
  int64_t most = 0;
  for (const AxisItem& item : node.attributes.items) {
    if (node.primitive->takes(kOffsets))
      most = std::max<int64_t>({most, std::abs(item.offset), item.amount.numerator() / 2});
  }
  return most;
}

// Each element of the result takes in all that its operand has at a position.
bool mixes_all(const Node& node, const Axes& operand) {
  if (node.primitive->initial != Initial::kNormal || !node.attributes.per.empty()) return false;
  const AxisNames& from = node.attributes.from;
  return std::all_of(operand.begin(), operand.end(), [&](const Axis& axis) {
    return axis.role == Role::kSpatial || std::find(from.begin(), from.end(), axis.name) != from.end();
  });
}

}  // namespace

unsigned looks_around(const Node& node, const std::vector<unsigned>& seen, const Signature& signature, bool enough) {
  unsigned bits = 0, kept = 0;
  for (int input : node.inputs) bits |= seen[static_cast<size_t>(input)];
  for (const AxisItem& item : node.attributes.items) {
    const int axis = find_axis(signature.from, item.axis);
    const bool around = !item.made.empty() || (enough ? !node.attributes.per.empty() : spreads_far(node));
    if (axis >= 0 && around && node.primitive->is(kPads)) bits |= 1u << axis;
  }
  for (size_t i = 0; i < signature.from.size(); ++i) kept |= unsigned{has_axis(node.axes, signature.from[i].name)} << i;
  return bits & kept;  // a summary tells no positions apart
}

bool surely_connected(const Kernel& kernel, unsigned wanted) {
  std::vector<unsigned> seen;
  seen.reserve(kernel.nodes().size());
  seen.push_back(0);
  bool mixed = false;
  int64_t moved = 0;
  for (size_t i = 1; i < kernel.nodes().size(); ++i) {
    const Node& node = kernel.nodes()[i];
    if (sets_apart(node)) return false;
    moved += shift_of(node);
    seen.push_back(looks_around(node, seen, kernel.signature(), false));
    mixed = mixed || mixes_all(node, kernel.node(node.inputs[0]).axes);
  }
  return mixed && moved <= kMostMoved && !(wanted & ~seen.back());
}

}  // namespace canvas

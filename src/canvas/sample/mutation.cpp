#include "canvas/sample/mutation.h"

#include <algorithm>
#include <numeric>

#include "canvas/ir/builder.h"
#include "canvas/prims/registry.h"
#include "canvas/sample/superfluous.h"

namespace canvas {

namespace {

constexpr int kDraws = 4;

// Rebuilds a kernel node by node with an edit at one of them.
class Rebuild {
 public:
  explicit Rebuild(const Kernel& parent)
      : parent_(parent), builder_(parent.signature(), parent.variables()), place_(parent.nodes().size()) {
    std::iota(place_.begin(), place_.end(), 0);
  }

  // Adds the parent's node `value`; false where it is no longer legal.
  bool copy(int value) { return put(value, *parent_.node(value).primitive, parent_.node(value).attributes); }

  // Adds another primitive or other attributes in its place.
  bool put(int value, const Primitive& primitive, const Attributes& attributes) {
    Inputs inputs = parent_.node(value).inputs;
    for (int& input : inputs) input = place_[static_cast<size_t>(input)];
    const auto added = builder_.add(primitive, inputs, attributes);
    if (added) place_[static_cast<size_t>(value)] = *added;
    return static_cast<bool>(added);
  }

  // Leaves the node out: its users read its first operand.
  void skip(int value) {
    place_[static_cast<size_t>(value)] = place_[static_cast<size_t>(parent_.node(value).inputs[0])];
  }

  // Puts one more primitive behind the node.
  bool insert(int value, const Primitive& primitive, const Attributes& attributes) {
    const auto added = builder_.add(primitive, {place_[static_cast<size_t>(value)]}, attributes);
    if (added) place_[static_cast<size_t>(value)] = *added;
    return static_cast<bool>(added);
  }

  std::optional<Kernel> finish() const {
    auto kernel = builder_.finish(parent_.name());
    return kernel ? std::optional(std::move(*kernel)) : std::nullopt;
  }

  const Axes& axes(int value) const { return builder_.axes(place_[static_cast<size_t>(value)]); }

 private:
  const Kernel& parent_;
  Builder builder_;
  std::vector<int> place_;
};

// Attributes for `primitive` on the parent's node operands, drawn from its proposals.
std::optional<Attributes> propose(const Primitive& primitive, const OperandAxes& operands, const Kernel& parent,
                                  Random& random) {
  const std::vector<Size> channels = {Size::variable(kC), Size::variable(kK)};
  const std::vector<Size> groups;
  const Axes partners;
  std::vector<Attributes> found;
  primitive.propose({operands, parent.signature(), channels, groups, partners, "m"}, random, found);
  if (found.empty()) return std::nullopt;
  return random.pick(found);
}

std::optional<Kernel> with_insertion(const Kernel& parent, Random& random) {
  static const std::vector<const Primitive*> keeps_axes = {&relu_primitive(), &silu_primitive(),  &sigmoid_primitive(),
                                                           &gelu_primitive(), &shift_primitive(), &shift_primitive()};
  const int target = static_cast<int>(random.below(parent.nodes().size()));
  const Primitive& primitive = *random.pick(keeps_axes);
  Rebuild rebuild(parent);
  for (int value = 0; value < static_cast<int>(parent.nodes().size()); ++value) {
    if (value > 0 && !rebuild.copy(value)) return std::nullopt;
    if (value != target) continue;
    const auto attributes = propose(primitive, {&rebuild.axes(value)}, parent, random);
    if (!attributes || !rebuild.insert(value, primitive, *attributes)) return std::nullopt;
  }
  return rebuild.finish();
}

std::optional<Kernel> with_removal(const Kernel& parent, Random& random) {
  const int target = 1 + static_cast<int>(random.below(parent.nodes().size() - 1));
  Rebuild rebuild(parent);
  for (int value = 1; value < static_cast<int>(parent.nodes().size()); ++value) {
    if (value == target) {
      rebuild.skip(value);
    } else if (!rebuild.copy(value)) {
      return std::nullopt;
    }
  }
  return rebuild.finish();
}

// Another primitive of the same kind (activation, join), or the same one with another window, dilation, mode or offset.
std::optional<Kernel> with_exchange(const Kernel& parent, Random& random) {
  const int target = 1 + static_cast<int>(random.below(parent.nodes().size() - 1));
  const Node& node = parent.node(target);
  Attributes attributes = node.attributes;
  const Primitive* primitive = node.primitive;
  if (primitive->is(kPointwise)) {
    std::vector<const Primitive*> others;
    for (const Primitive* other : primitives()) {
      if (other != primitive && other->is(kPointwise) && other->arity == primitive->arity) others.push_back(other);
    }
    primitive = random.pick(others);
  } else if (primitive->grammar & kModes) {
    attributes.mode = static_cast<int>(random.below(primitive->modes.size()));
  } else if (primitive->grammar & kDilation && random.chance(0.4)) {
    attributes.dilation = attributes.dilation == 1 ? 2 : 1;
  } else if (primitive->grammar & kMade) {
    const Size window = Size::constant(attributes.items[0].amount == Size::constant(3) ? 5 : 3);
    for (AxisItem& item : attributes.items) item.amount = window;
  } else if (primitive->takes(kOffsets) || primitive->takes(kIndices)) {
    const auto other = propose(*primitive, parent.operands(node), parent, random);
    if (!other) return std::nullopt;
    attributes = *other;
  } else {
    return std::nullopt;
  }
  Rebuild rebuild(parent);
  for (int value = 1; value < static_cast<int>(parent.nodes().size()); ++value) {
    const bool legal = value == target ? rebuild.put(value, *primitive, attributes) : rebuild.copy(value);
    if (!legal) return std::nullopt;
  }
  return rebuild.finish();
}

std::optional<Kernel> cut_and_completed(const Kernel& parent, const Growing& under, Random& random) {
  const int kept = static_cast<int>(random.below(static_cast<size_t>(parent.length())));
  const int length = parent.length() + static_cast<int>(random.below(4)) - 1;
  return completed(parent, kept, length, under, random);
}

std::optional<Kernel> changed(const Kernel& parent, const Growing& under, Random& random) {
  switch (random.weighted({2, 1, 1, 1.5})) {
    case 0: return cut_and_completed(parent, under, random);
    case 1: return with_insertion(parent, random);
    case 2: return with_removal(parent, random);
    default: return with_exchange(parent, random);
  }
}

}  // namespace

bool promising(const Kernel& kernel, const Growing& under) {
  const auto weighted = std::count_if(kernel.nodes().begin(), kernel.nodes().end(),
                                      [](const Node& node) { return node.primitive && node.primitive->weighted(); });
  return weighted <= under.limits.max_weighted &&
         (!under.spending || under.spending->fits(under.spending->steps(kernel))) &&
         !(under.limits.concise && superfluous(kernel));
}

std::optional<Kernel> mutated(const Kernel& parent, const Growing& under, Random& random) {
  std::optional<Kernel> found;
  for (int draw = 0; draw < kDraws; ++draw) {
    auto child = changed(parent, under, random);
    if (!child || child->length() > under.limits.max_primitives) continue;
    found = std::move(child);
    if (promising(*found, under)) break;
  }
  return found;
}

std::optional<Kernel> completed(const Kernel& parent, int kept, int length, const Growing& under, Random& random) {
  Builder builder(parent, kept);
  const int least = kept + Closing(Outline(builder), under.limits.weights).least();
  if (least > under.limits.max_primitives) return std::nullopt;
  const int most = std::max(least, std::min(under.limits.max_primitives, length));
  return Growth(std::move(builder), under, random).grow(most, parent.name());
}

}  // namespace canvas

#include "canvas/sample/absorbed.h"

#include <algorithm>
#include <vector>

#include "canvas/ir/primitive.h"
#include "canvas/ir/steps.h"
#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"

namespace canvas {

namespace {

using Names = AxisNames;

bool is(const Node& node, const Primitive& primitive) { return node.primitive == &primitive; }

Names joined(Names left, const Names& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

bool within(const Names& small, const Names& large) {
  return std::all_of(small.begin(), small.end(), [&](const auto& name) { return contains(large, name); });
}

bool same_names(const Names& left, const Names& right) { return within(left, right) && within(right, left); }

Names names_of(const Axes& axes) {
  Names names;
  for (const Axis& axis : axes) names.push_back(axis.name);
  return names;
}

class Absorption {
 public:
  explicit Absorption(const Users& users) : users_(users) {}

  const char* run() const {
    for (int value = 1; value <= users_.last(); ++value) {
      const Node& node = users_.node(value);
      if (is(node, neg_primitive()) && (ends_in_weights(value, {}) || comes_from_weights(value, {})))
        return "a contraction absorbs the sign";
      if (is(node, scale_primitive()) && ends_in_weights(value, node.attributes.from))
        return "a contraction absorbs the scale before it";
      if (is(node, scale_primitive()) && comes_from_weights(value, node.attributes.from))
        return "a contraction absorbs the scale after it";
      if (is(node, sub_primitive()) && turned(value)) return "a contraction absorbs the order of a difference";
      if (is(node, add_primitive())) {
        for (int slot : {0, 1}) {
          const int one = node.inputs[static_cast<size_t>(slot)], other = node.inputs[static_cast<size_t>(1 - slot)];
          Names windows;
          if (one != other && centre(one, other, windows) && !windows.empty() && contracts_later(value, windows))
            return "a contraction absorbs the sum of windows and what they are of";
          if (beside_itself(one, other)) return "a contraction absorbs the sum with what it reads";
          if (one != other ? follows_linearly(one, other, value) : ends_in_weights(value, {}))
            return "a contraction absorbs the sum before it";
        }
      }
      if (is(node, add_primitive()) || is(node, sub_primitive())) {
        if (side_by_side(node.inputs[0], node.inputs[1]) || side_by_side(node.inputs[1], node.inputs[0]))
          return "one contraction absorbs the one beside it";
      }
    }
    return nullptr;
  }

 private:
  int user(int value) const { return users_.of(value); }
  const Node& node(int value) const { return users_.node(value); }

  // Whether a factor along `axes` may be taken past the step: it is linear in the operand, and works along none of them.
  static bool factor_passes(const Node& step, const Names& axes) {
    if (step.primitive->weighted() || touches(step, axes)) return false;
    return step.inputs.size() == 1 ? linear(step) : is(step, mul_primitive()) || is(step, contract_primitive());
  }

  // Whether weights further on take a factor along the axes that this value has.
  bool ends_in_weights(int value, const Names& axes) const {
    for (int next = user(value); next >= 0; next = user(next)) {
      const Node& step = node(next);
      if (is(step, fc_primitive())) return within(axes, joined(step.attributes.from, step.attributes.per));
      if (is(step, scale_primitive())) return within(axes, step.attributes.from);
      if (!factor_passes(step, axes)) return false;
    }
    return false;
  }

  // Whether weights before the value, whose result is used for this alone, take a factor along the axes.
  bool comes_from_weights(int value, const Names& axes) const {
    return std::any_of(node(value).inputs.begin(), node(value).inputs.end(),
                       [&](int input) { return user(input) == value && made_by_weights(input, axes); });
  }

  bool made_by_weights(int value, const Names& axes) const {
    if (value == 0) return false;
    const Node& step = node(value);
    if (is(step, fc_primitive())) return within(axes, joined(names_of(step.attributes.to), step.attributes.per));
    if (is(step, scale_primitive())) return within(axes, step.attributes.from);
    return factor_passes(step, axes) && comes_from_weights(value, axes);
  }

  // Whether the difference could as well be a sum. Of a - b and b - a, which weights make one of the other, only the one is wanted that
  // has the larger, or by name the first, in front.
  bool turned(int value) const {
    const auto weights_make = [&](size_t slot) {
      const int input = node(value).inputs[slot];
      return user(input) == value && made_by_weights(input, {});
    };
    if (weights_make(1)) return true;
    if (!ends_in_weights(value, {})) return false;
    if (weights_make(0)) return true;
    const Node &a = node(node(value).inputs[0]), &b = node(node(value).inputs[1]);
    if (a.axes.size() != b.axes.size()) return a.axes.size() < b.axes.size();
    return a.primitive && b.primitive && std::string(a.primitive->name) > b.primitive->name;
  }

  // The contraction that takes this value in, after steps that leave the axes alone, sums over all of them.
  bool contracts_later(int value, const Names& axes) const {
    for (int next = user(value); next >= 0; next = user(next)) {
      const Node& step = node(next);
      if (is(step, fc_primitive())) return within(axes, step.attributes.from);
      if (step.inputs.size() != 1 || !linear(step) || touches(step, axes)) return false;
    }
    return false;
  }

  // Whether `value` is what stands in the middle of the windows of `open`, whose names are added to `windows`.
  bool centre(int open, int value, Names& windows) const {
    if (open == value) return true;
    const Node& step = node(open);
    if (!step.primitive) return false;
    if (is(step, unfold_primitive())) {
      for (const AxisItem& item : step.attributes.items) windows.push_back(item.made);
      return centre(step.inputs[0], value, windows);
    }
    const Node& other = node(value);
    if (other.primitive != step.primitive || step.primitive->weighted() || other.inputs.size() != step.inputs.size())
      return false;
    if (!(step.attributes == other.attributes)) return false;
    for (size_t i = 0; i < step.inputs.size(); ++i) {
      if (!centre(step.inputs[i], other.inputs[i], windows)) return false;
    }
    return !touches(step, windows);
  }

  // Whether `made` is a contraction of `other`, or of windows whose middle it is, into the same axes: W x + x.
  bool beside_itself(int made, int other) const {
    const Node& step = node(made);
    if (!step.primitive || !is(step, fc_primitive()) || user(made) < 0) return false;
    Names windows;
    if (!centre(step.inputs[0], other, windows) || !within(windows, step.attributes.from)) return false;
    const Axes kept = without(select(node(step.inputs[0]).axes, step.attributes.from), windows);
    return same_axes(kept, step.attributes.to);
  }

  // The axes along which a linear step does more than weigh each index by itself.
  static Names mixed_by(const Node& step) {
    Names names = joined(names_of(step.attributes.to), axes_of(step.attributes.items));
    for (const AxisItem& item : step.attributes.items) names.push_back(item.made);
    return is(step, scale_primitive()) ? names : joined(std::move(names), step.attributes.from);
  }

  // Whether `made` is a chain of linear steps on `other`, and a contraction that takes their sum in, after steps that leave the chain's axes
  // alone, could do the chain's work: x + fold(x, mean: [w]) before a contraction of w.
  bool follows_linearly(int made, int other, int sum) const {
    Names mixed, own;  // axes along which the chain adds up; those that have weights of their own
    for (; made != other; made = node(made).inputs[0]) {
      const Node& step = node(made);
      if (!step.primitive || step.inputs.size() != 1 || !linear(step) || user(made) < 0) return false;
      mixed = joined(std::move(mixed), mixed_by(step));
      own = joined(joined(std::move(own), step.attributes.per),
                   is(step, scale_primitive()) ? step.attributes.from : Names());
    }
    for (int next = user(sum); next >= 0; next = user(next)) {
      const Node& step = node(next);
      const Attributes& a = step.attributes;
      if (is(step, fc_primitive())) return within(mixed, a.from) && within(own, joined(a.from, a.per));
      if (step.inputs.size() != 1 || !linear(step) || touches(step, mixed)) return false;
      const Names now = mixed_by(step);
      if (std::any_of(own.begin(), own.end(), [&](const auto& name) { return contains(now, name); })) return false;
    }
    return false;
  }

  // Whether the first of two contractions could do the second's work too: they make the same axes of the same, or of its middle.
  bool side_by_side(int first, int second) const {
    const Node &a = node(first), &b = node(second);
    if (first == second || !a.primitive || !b.primitive || !is(a, fc_primitive()) || !is(b, fc_primitive()))
      return false;
    Names windows;
    if (user(first) < 0 || user(second) < 0 || !centre(a.inputs[0], b.inputs[0], windows)) return false;
    return same_axes(a.attributes.to, b.attributes.to) && within(b.attributes.per, a.attributes.per) &&
           same_names(a.attributes.from, joined(b.attributes.from, windows));
  }

  const Users& users_;
};

}  // namespace

const char* absorbed(const Users& users) { return Absorption(users).run(); }

}  // namespace canvas

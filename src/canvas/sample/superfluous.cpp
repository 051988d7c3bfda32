#include "canvas/sample/superfluous.h"

#include <algorithm>

#include "canvas/base/error.h"
#include "canvas/ir/primitive.h"
#include "canvas/ir/steps.h"
#include "canvas/sample/absorbed.h"

namespace canvas {

namespace {

// Names of axes, wherever they stand.
class Names : public Few<Name, 8> {
 public:
  Names(const AxisNames& names) {
    for (const Name& name : names) push_back(name);
  }
  Names(const Axes& axes) {
    for (const Axis& axis : axes) push_back(axis.name);
  }
  Names(const AxisItems& items) {
    for (const AxisItem& item : items) push_back(item.axis);
  }
  Names operator+(const Names& others) const {
    Names both = *this;
    for (const Name& name : others) both.push_back(name);
    return both;
  }
  bool has(const Name& name) const { return std::find(begin(), end(), name) != end(); }
  bool within(const Names& large) const {
    return std::all_of(begin(), end(), [&](const Name& name) { return large.has(name); });
  }
};

bool touches(const Node& step, const Names& axes) {
  return std::any_of(axes.begin(), axes.end(), [&](const Name& axis) { return touches(step, axis); });
}

bool contracts(const Node& node) { return node.primitive && node.primitive->initial == Initial::kNormal; }
bool scales(const Node& node) {
  return node.primitive && node.primitive->initial == Initial::kOne && node.primitive->is(kLinear);
}
bool shifts(const Node& node) { return node.primitive && node.primitive->initial == Initial::kZero; }
bool drops(const Node& node) { return node.primitive && node.primitive->order == kDropsFirst; }
bool rearranges(const Node& node) { return node.primitive && node.primitive->is(kBijective); }

// True unless the contraction narrows, so that no single one could do what it and the next do.
bool full_rank(const Node& contraction) {
  const Size made = volume(contraction.attributes.to);
  if (made.denominator() != 1 || !contraction.attributes.per.empty() || contraction.attributes.to.empty()) return false;
  for (int v = kFirstDynamic; v < kMaxVariables; ++v) {
    if (made.exponent(v) < 0) return false;
  }
  return true;
}

class Finder {
 public:
  explicit Finder(const Users& users) : users_(users) {}

  const char* everywhere() const {
    for (int value = 1; value <= users_.last(); ++value) {
      if (const char* reason = at(value)) return reason;
    }
    return nullptr;
  }

  // Of the last step and of those whose results reach it alone.
  const char* at_end() const {
    const int last = users_.last();
    if (const char* reason = at(last)) return reason;
    for (int value = last; node(value).inputs.size() == 1;) {
      value = node(value).inputs[0];
      if (value == 0 || user(value) < 0) break;
      if (const char* reason = at(value)) return reason;
    }
    return nullptr;
  }

 private:
  const Node& node(int value) const { return users_.node(value); }
  int user(int value) const { return users_.of(value); }

  // What is superfluous because of the step that makes this value.
  const char* at(int value) const {
    const Node& step = node(value);
    if (scales(step) || shifts(step)) return of_parameter(value);
    if (drops(step)) {
      const Names dropped = step.attributes.items;
      const Node* maker = before(value, dropped, true);
      return maker && contracts(*maker) && dropped.within(maker->attributes.to) ? "a contraction makes what is dropped"
                                                                                : nullptr;
    }
    if (!contracts(step) && !rearranges(step)) return nullptr;
    const Names made = step.attributes.to;
    const Node* next = after(value, made, rearranges(step));
    if (contracts(step)) {
      const bool absorbed = next && contracts(*next) && next->attributes.per.empty() &&
                            made.within(next->attributes.from) && full_rank(step);
      return absorbed ? "one contraction absorbs the one before it" : nullptr;
    }
    if (next && contracts(*next) && made.within(next->attributes.from))
      return "a contraction takes together what a view has taken apart";
    const Names taken = step.attributes.from;
    const Node* previous = before(value, taken, true);
    if (previous && contracts(*previous) && taken.within(previous->attributes.to))
      return "a contraction could make at once what a view makes of its result";
    if (next && rearranges(*next) && made == Names(next->attributes.from)) return "a merge undoes a split";
    return nullptr;
  }

  const char* of_parameter(int value) const {
    const Node& step = node(value);
    const Names along = step.attributes.from;
    if (scales(step)) {
      const Node* next = after(value, along, false);
      const Node* previous = before(value, along, false);
      if (next && contracts(*next) && along.within(Names(next->attributes.from) + next->attributes.per))
        return "a contraction absorbs the scale before it";
      if (previous && contracts(*previous) && along.within(Names(previous->attributes.to) + previous->attributes.per))
        return "a contraction absorbs the scale after it";
      if (next && scales(*next) && along.within(next->attributes.from)) return "one scale absorbs another";
    }
    return taken_away(value) ? "the next step takes the parameter's effect away" : nullptr;
  }

  // Whether a step leaves the axes alone and lets what happens along them pass.
  static bool passes(const Node& step, const Names& axes, bool any) {
    return step.inputs.size() == 1 && !touches(step, axes) && (any || linear(step));
  }

  // The next step that works along the axes, where nothing else uses the value on the way; `any`: even through steps that are
  // not linear.
  const Node* after(int value, const Names& axes, bool any) const {
    for (int next = user(value); next >= 0; next = user(next)) {
      if (node(next).inputs.size() != 1) return nullptr;
      if (!passes(node(next), axes, any)) return &node(next);
    }
    return nullptr;
  }

  const Node* before(int value, const Names& axes, bool any) const {
    for (int input = node(value).inputs[0]; input > 0; input = node(input).inputs[0]) {
      if (user(input) < 0 || node(input).inputs.size() != 1) return nullptr;
      if (!passes(node(input), axes, any)) return &node(input);
    }
    return nullptr;
  }

  // Whether the only user of a scale or a bias is a normalisation along other axes.
  bool taken_away(int value) const {
    if (user(value) < 0) return false;
    const Node &step = node(value), &next = node(user(value));
    const unsigned modes = scales(step) ? next.primitive->scale_free_modes : next.primitive->shift_free_modes;
    return (modes >> next.attributes.mode & 1) != 0 && !touches_any(step.attributes.from, next.attributes.from);
  }

  static bool touches_any(const Names& left, const Names& right) {
    return std::any_of(left.begin(), left.end(), [&](const Name& name) { return right.has(name); });
  }

  const Users& users_;
};

}  // namespace

std::optional<std::string> superfluous(const Kernel& kernel) {
  const Users users(kernel.nodes());
  const char* reason = Finder(users).everywhere();
  if (!reason) reason = absorbed(users);
  return reason ? std::optional<std::string>(reason) : std::nullopt;
}

const char* superfluous_at_end(const std::vector<Node>& nodes, const Node* next) {
  const Users users(nodes, next);
  if (const char* reason = Finder(users).at_end()) return reason;
  const Primitive& last = *users.node(users.last()).primitive;
  return last.weighted() || (last.is(kPointwise) && last.is(kLinear)) ? absorbed(users) : nullptr;
}

}  // namespace canvas

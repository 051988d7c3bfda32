#include "canvas/sample/superfluous.h"

#include <algorithm>
#include <set>
#include <vector>

#include "canvas/ir/normal_order.h"
#include "canvas/ir/primitive.h"
#include "canvas/prims/common.h"
#include "canvas/sample/absorbed.h"

namespace canvas {

namespace {

using Names = std::vector<std::string>;

bool within(const Names& small, const Names& large) {
  return std::all_of(small.begin(), small.end(),
                     [&](const auto& name) { return std::find(large.begin(), large.end(), name) != large.end(); });
}

bool meets(const Names& left, const Names& right) {
  return std::any_of(left.begin(), left.end(),
                     [&](const auto& name) { return std::find(right.begin(), right.end(), name) != right.end(); });
}

Names names_of(const Axes& axes) {
  Names names;
  for (const Axis& axis : axes) names.push_back(axis.name);
  return names;
}

Names joined(Names left, const Names& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
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
  explicit Finder(const Kernel& kernel) : kernel_(kernel), user_(kernel.nodes().size(), kNone) {
    for (int value = 1; value <= kernel.output(); ++value) {
      for (int input : kernel.node(value).inputs) {
        int& user = user_[static_cast<size_t>(input)];
        user = user == kNone ? value : kSeveral;
      }
    }
  }

  std::optional<std::string> run() const {
    for (int value = 1; value <= kernel_.output(); ++value) {
      const Node& node = kernel_.node(value);
      if (!contracts(node) && !scales(node) && !shifts(node) && !drops(node) && !rearranges(node)) continue;
      const Names made = names_of(node.attributes.to);
      const Node* next =
          after(value, contracts(node) || rearranges(node) ? made : node.attributes.from, rearranges(node));
      const Node* previous = before(value, node.attributes.from, rearranges(node));
      if (scales(node)) {
        if (next && contracts(*next) &&
            within(node.attributes.from, joined(next->attributes.from, next->attributes.per)))
          return "a contraction absorbs the scale before it";
        if (previous && contracts(*previous) &&
            within(node.attributes.from, joined(names_of(previous->attributes.to), previous->attributes.per)))
          return "a contraction absorbs the scale after it";
        if (next && scales(*next) && within(node.attributes.from, next->attributes.from))
          return "one scale absorbs another";
      }
      if ((scales(node) || shifts(node)) && taken_away(value)) return "the next step takes the parameter's effect away";
      if (drops(node)) {
        const Names dropped = axes_of(node.attributes.items);
        const Node* maker = before(value, dropped, true);
        if (maker && contracts(*maker) && within(dropped, names_of(maker->attributes.to)))
          return "a contraction makes what is dropped";
      }
      if (contracts(node) && next && contracts(*next) && full_rank(node) && next->attributes.per.empty() &&
          within(made, next->attributes.from))
        return "one contraction absorbs the one before it";
      if (rearranges(node)) {
        if (next && contracts(*next) && within(made, next->attributes.from))
          return "a contraction takes together what a view has taken apart";
        if (previous && contracts(*previous) && within(node.attributes.from, names_of(previous->attributes.to)))
          return "a contraction could make at once what a view makes of its result";
        if (next && rearranges(*next) && made == next->attributes.from) return "a merge undoes a split";
      }
    }
    return std::nullopt;
  }

 private:
  static constexpr int kNone = -1, kSeveral = -2;

  // Whether a step leaves the axes alone and lets what happens along them pass.
  bool passes(const Node& step, const Names& axes, bool any) const {
    return step.inputs.size() == 1 && !touches(step, axes) && (any || linear(step));
  }

  // The next step that works along the axes, where nothing else uses the value on the way; `any`: even through steps that are
  // not linear.
  const Node* after(int value, const Names& axes, bool any) const {
    for (int user = user_[static_cast<size_t>(value)]; user >= 0; user = user_[static_cast<size_t>(user)]) {
      const Node& step = kernel_.node(user);
      if (step.inputs.size() != 1) return nullptr;
      if (!passes(step, axes, any)) return &step;
    }
    return nullptr;
  }

  const Node* before(int value, const Names& axes, bool any) const {
    for (int input = kernel_.node(value).inputs[0]; input > 0; input = kernel_.node(input).inputs[0]) {
      const Node& step = kernel_.node(input);
      if (user_[static_cast<size_t>(input)] < 0 || step.inputs.size() != 1) return nullptr;
      if (!passes(step, axes, any)) return &step;
    }
    return nullptr;
  }

  // Whether the only user of a scale or a bias is a normalisation along other axes.
  bool taken_away(int value) const {
    const Node& node = kernel_.node(value);
    const int user = user_[static_cast<size_t>(value)];
    if (user < 0) return false;
    const Node& next = kernel_.node(user);
    const unsigned modes = scales(node) ? next.primitive->scale_free_modes : next.primitive->shift_free_modes;
    return (modes >> next.attributes.mode & 1) != 0 && !meets(node.attributes.from, next.attributes.from);
  }

  const Kernel& kernel_;
  std::vector<int> user_;
};

}  // namespace

std::optional<std::string> superfluous(const Kernel& kernel) {
  auto reason = Finder(kernel).run();
  return reason ? reason : absorbed(kernel);
}

}  // namespace canvas

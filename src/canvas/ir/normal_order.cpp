#include "canvas/ir/normal_order.h"

#include "canvas/ir/chain_order.h"
#include "canvas/ir/identities.h"

namespace canvas {

namespace {

bool drops(const Step& step) { return step.primitive->order == kDropsFirst; }
bool keeps_zero(const Step& step) { return step.linear() || step.is(kKeepsZero); }

bool makes_all(const Step& step, const AxisIds& axes) {
  return std::all_of(axes.begin(), axes.end(), [&](int axis) {
    return std::any_of(step.to.begin(), step.to.end(), [&](const Step::Made& made) { return made.axis == axis; });
  });
}

class NormalOrder {
 public:
  explicit NormalOrder(Program& program) : program_(program), chains_(program) {}

  // One round of rewriting; false where there is nothing left to do.
  bool round() {
    bool changed = chains_.sort(program_);
    changed = each_neighbours(&NormalOrder::join_items) || each_neighbours(&NormalOrder::join_views) ||
              each(&NormalOrder::absorb_view) || changed;
    return changed || each(&NormalOrder::pull_out_of_operands) || each(&NormalOrder::push_into_operands);
  }

  // One round of shortening, where the rest is done.
  bool shorten() { return each(&NormalOrder::gather); }

 private:
  Step& step(int value) { return program_.step(value); }

  // Applies a rule at the first value where it holds.
  bool each(bool (NormalOrder::*rule)(int)) {
    for (size_t i = 1; i < program_.order.size(); ++i) {
      if ((this->*rule)(program_.order[i])) return true;
    }
    return false;
  }

  // The same for a rule of two steps in a row, of which the second then takes the place of both.
  bool each_neighbours(bool (NormalOrder::*rule)(Step&, Step&)) {
    for (size_t i = 1; i < program_.order.size(); ++i) {
      const int value = program_.order[i], before = program_.previous(value);
      if (before < 0 || step(before).primitive != step(value).primitive) continue;
      if (!(this->*rule)(step(before), step(value))) continue;
      step(value).inputs = step(before).inputs;
      return true;
    }
    return false;
  }

  // unfold(unfold(x, H: 3), W: 3) = unfold(x, H: 3, W: 3), and likewise for all steps that are told by axis.
  bool join_items(Step& first, Step& second) {
    if (second.items.empty() || !first.per.empty() || !second.per.empty()) return false;
    if (first.dilation != second.dilation || meet(first, second)) return false;
    for (const Step::Item& item : first.items) second.items.push(item);  // all of one value's axes: there is place
    return true;
  }

  // A split of what a split made is one split into more parts, and a merge of what a merge made one of more.
  bool join_views(Step& first, Step& second) {
    if (!first.is(kBijective)) return false;
    if (first.from.size() == 1 && second.from.size() == 1 && first.to.size() > 1 && makes_all(first, second.from)) {
      int place = 0;
      while (first.to[place].axis != second.from[0]) ++place;
      auto parts = first.to;
      parts.erase(place);
      for (const Step::Made& part : second.to) {
        if (!parts.insert(place++, part)) return false;
      }
      second.from = first.from;
      second.to = parts;
      return true;
    }
    if (first.to.size() != 1 || second.to.size() != 1 || first.from.size() < 2) return false;
    int place = second.from.find(first.to[0].axis);
    if (place < 0) return false;
    auto parts = second.from;
    parts.erase(place);
    for (int part : first.from) {
      if (!parts.insert(place++, part)) return false;
    }
    second.from = parts;
    return true;
  }

  // A contraction takes an axis as one or in its parts: a view of what it sums over, or of what it makes, is but another shape of its
  // weights. Steps between that leave the view's axes alone are no hindrance.
  bool absorb_view(int value) {
    const Step& view = step(value);
    if (!view.links() || !view.is(kBijective)) return false;
    AxisIds made;
    for (const Step::Made& axis : view.to) made.push(axis.axis);
    const bool absorbed = absorb(value, made, true) || absorb(value, view.from, false);
    if (absorbed) program_.replace(value, step(value).inputs[0]);
    return absorbed;
  }

  // Looks for the contraction behind the view, or before it; `inner` are the view's axes on that side.
  bool absorb(int value, const AxisIds& inner, bool behind) {
    const auto follow = [&](int from) { return behind ? program_.next(from) : program_.previous(from); };
    for (int other = follow(value); other >= 0; other = follow(other)) {
      Step& contraction = step(other);
      if (contraction.primitive->initial == Initial::kNormal &&
          (behind ? take_in_listed(contraction, inner, step(value)) : take_in_made(contraction, inner, step(value))))
        return true;
      if (std::any_of(inner.begin(), inner.end(), [&](int axis) { return contraction.touches(axis); })) return false;
    }
    return false;
  }

  static bool take_in_listed(Step& contraction, const AxisIds& inner, const Step& view) {
    if (!std::all_of(inner.begin(), inner.end(), [&](int axis) { return contraction.from.has(axis); })) return false;
    AxisIds from = view.from;
    for (int axis : contraction.from) {
      if (!inner.has(axis) && !from.push(axis)) return false;
    }
    contraction.from = from;
    return true;
  }

  static bool take_in_made(Step& contraction, const AxisIds& inner, const Step& view) {
    if (!makes_all(contraction, inner)) return false;
    auto to = view.to;
    for (const Step::Made& made : contraction.to) {
      if (!inner.has(made.axis) && !to.push(made)) return false;
    }
    contraction.to = to;
    return true;
  }

  // f(view(a), view(b)) = view(f(a, b)) for one view of both, or where b has none of the axes that it is along. What drops elements
  // stays inside unless a view is behind it that both have.
  bool pull_out_of_operands(int value) {
    if (!step(value).is(kPointwise) || step(value).inputs.size() != 2) return false;
    for (int slot : {0, 1}) {
      const int left = step(value).inputs[slot], right = step(value).inputs[1 - slot];
      if (!joint_passes(step(value), left, right)) continue;
      pull(value, slot);
      return true;
    }
    return false;
  }

  // The view takes the joint's place, before whatever reads it, and the joint a new one.
  void pull(int value, int slot) {
    const int left = step(value).inputs[slot], right = step(value).inputs[1 - slot];
    const int inner = static_cast<int>(program_.steps.size());
    Step joint = step(value);
    joint.inputs[slot] = step(left).inputs[0];
    if (same_view(left, right)) joint.inputs[1 - slot] = step(right).inputs[0];
    step(value) = step(left);
    step(value).inputs[0] = inner;
    program_.steps.push_back(joint);
  }

  bool is_view(int value) { return step(value).is(kView) && program_.used_once(value); }
  bool same_view(int left, int right) {
    return left != right && is_view(left) && is_view(right) && same_but_operands(program_, step(left), step(right));
  }

  bool joint_passes(const Step& joint, int left, int right) {
    if (!is_view(left)) return false;
    if (drops(step(left))) {
      if (!same_view(left, right)) return false;
      const int a = step(left).inputs[0], b = step(right).inputs[0];
      return same_view(a, b) && !drops(step(a)) && joint_passes(joint, a, b);
    }
    const bool pads = step(left).is(kPads);
    if (same_view(left, right)) return !pads || keeps_zero(joint);
    bool apart = !pads;
    step(left).each_touched([&](int axis) { apart = apart && !step(right).axes.has(axis); });
    return apart;
  }

  // drop(f(a, b)) = f(drop(a), drop(b)) for a step that works along none of the axes dropped.
  bool push_into_operands(int value) {
    if (!step(value).links() || !drops(step(value))) return false;
    const int joint = step(value).inputs[0];
    if (step(joint).inputs.size() < 2 || !program_.used_once(joint) || meet(step(value), step(joint))) return false;
    const Step drop = step(value);
    step(value) = step(joint);
    for (int slot = 0; slot < step(value).inputs.size(); ++slot) {
      const int input = step(value).inputs[slot];
      Step part = drop;
      part.items.clear();
      for (const Step::Item& item : drop.items) {
        if (step(input).axes.has(item.axis)) part.items.push(item);
      }
      if (part.items.empty()) continue;
      part.inputs[0] = input;
      step(value).inputs[slot] = static_cast<int>(program_.steps.size());
      program_.steps.push_back(part);
    }
    return true;
  }

  // f(drop(a), drop(b)) = drop(f(a, b)): the pushing undone where it came no further than to the operands.
  bool gather(int value) {
    if (!step(value).is(kPointwise) || step(value).inputs.size() != 2) return false;
    const int left = step(value).inputs[0], right = step(value).inputs[1];
    if (!is_view(left) || !drops(step(left)) || !same_view(left, right)) return false;
    pull(value, 0);
    return true;
  }

  Program& program_;
  ChainOrder chains_;
};

}  // namespace

bool normal_order(Program& program) {
  NormalOrder normal(program);
  while (normal.round()) {
    if (!program.refresh()) return false;
    simplify(program);
  }
  while (normal.shorten()) {
    if (!program.refresh()) return false;
  }
  return true;
}

}  // namespace canvas

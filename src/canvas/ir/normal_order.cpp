#include "canvas/ir/normal_order.h"

#include "canvas/ir/chain_order.h"
#include "canvas/ir/identities.h"

namespace canvas {

namespace {

constexpr size_t kMostRounds = 64;  // a step, before it is given up; two or three are usual

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
              each_neighbours(&NormalOrder::join_lists) || each(&NormalOrder::join_operands) ||
              each(&NormalOrder::absorb_view) || changed;
    return changed || each(&NormalOrder::pull_out_of_operands) || each(&NormalOrder::push_into_operands) ||
           each(&NormalOrder::push_into_factor);
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

  // The mean over w of the mean over h is the mean over both.
  bool join_lists(Step& first, Step& second) {
    if (!first.is(kNests) || first.mode != second.mode) return false;
    for (int axis : first.from) second.from.push(axis);  // all of one value's axes: there is place
    return true;
  }

  // add(add(a, b), c) = add(a, b, c): a joint of joints has all their operands, until the form is written.
  bool join_operands(int value) {
    Step& joint = step(value);
    if (!joint.is(kAssociative)) return false;
    for (int slot = 0; slot < joint.inputs.size(); ++slot) {
      const Step& inner = step(joint.inputs[slot]);
      if (inner.primitive != joint.primitive || !program_.used_once(joint.inputs[slot])) continue;
      if (joint.inputs.size() + inner.inputs.size() - 1 > kMostOperands) continue;
      joint.inputs.erase(slot);
      for (int operand : inner.inputs) joint.inputs.push(operand);
      return true;
    }
    return false;
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

  // f(view(a), view(b)) = view(f(a, b)) for one view of several operands, where the others have none of the axes that it is along. What
  // drops elements stays inside unless a view is behind it.
  bool pull_out_of_operands(int value) {
    const Step& joint = step(value);
    if (!joint.is(kPointwise) || joint.inputs.size() < 2) return false;
    for (int left : joint.inputs) {
      const View view = view_of(left);
      if (view.inner < 0) continue;
      const Operands with = operands_with(joint, view);
      const bool all = with.size() == joint.inputs.size();
      const bool pads = step(view.inner).is(kPads);
      if (!all && apart(joint, with, view)) {
        if (pads && !joint.is(kScales)) continue;
        pull(value, with, view, true);
        return true;
      }
      if ((pads && !keeps_zero(joint)) || with.size() < 2) continue;
      pull(value, with, view, all);
      return true;
    }
    return false;
  }

  using Operands = List<int, kMostOperands>;

  // What an operand ends in: a view, or a view and what drops some of it.
  struct View {
    int drop = -1, inner = -1;
  };
  View view_of(int value) {
    View view;
    if (is_view(value) && drops(step(value))) {
      view.drop = value;
      value = step(value).inputs[0];
    }
    if (!is_view(value) || drops(step(value))) return {};
    view.inner = value;
    return view;
  }
  bool is_view(int value) { return step(value).is(kView) && program_.used_once(value); }

  bool same_view(const View& a, const View& b) {
    if (a.inner < 0 || b.inner < 0 || (a.drop < 0) != (b.drop < 0)) return false;
    if (a.drop >= 0 && !same_but_operands(program_, step(a.drop), step(b.drop))) return false;
    return same_but_operands(program_, step(a.inner), step(b.inner));
  }

  Operands operands_with(const Step& joint, const View& view) {
    Operands found;
    for (int operand : joint.inputs) {
      if (same_view(view, view_of(operand))) found.push(operand);
    }
    return found;
  }

  // Whether the other operands have none of the axes that the view mixes.
  bool apart(const Step& joint, const Operands& with, const View& view) {
    bool none = true;
    for (int operand : joint.inputs) {
      if (with.has(operand)) continue;
      for (int axis : step(operand).axes)
        none = none && !step(view.inner).mixes(axis) && (view.drop < 0 || !step(view.drop).mixes(axis));
    }
    return none;
  }

  int added(const Step& made) {
    program_.steps.push_back(made);
    return static_cast<int>(program_.steps.size()) - 1;
  }

  // Puts the joint of the view's sources behind the view; the other operands go along, or stay with what comes out of it.
  void pull(int value, const Operands& with, const View& view, bool whole) {
    Step joint = step(value), inner = joint;
    inner.inputs.clear();
    joint.inputs.clear();
    for (int operand : step(value).inputs) {
      if (with.has(operand)) {
        inner.inputs.push(step(view.drop < 0 ? operand : step(operand).inputs[0]).inputs[0]);
      } else {
        (whole ? inner : joint).inputs.push(operand);
      }
    }
    Step seen = step(view.inner), dropped = view.drop < 0 ? seen : step(view.drop);
    seen.inputs[0] = added(inner);
    if (view.drop >= 0) dropped.inputs[0] = added(seen);
    const Step& last = view.drop < 0 ? seen : dropped;
    if (whole) {
      step(value) = last;
    } else {
      joint.inputs.push(added(last));
      step(value) = joint;
    }
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

  // fold(mul(a, b)) = mul(fold(a), b) for what is linear and along axes that b has not; likewise for a chain of linear steps that ends in
  // one that is no view.
  bool push_into_factor(int value) {
    if (!step(value).links() || step(value).is(kView)) return false;
    int first = value;  // of the chain
    while (step(first).links() && step(first).linear() && (first == value || program_.used_once(first)))
      first = step(first).inputs[0];
    const int joint = first;
    if (joint == value || !step(joint).is(kScales) || !program_.used_once(joint)) return false;
    Operands along, others;
    for (int operand : step(joint).inputs) (touched_by(value, joint, operand) ? along : others).push(operand);
    if (along.empty() || others.empty() || has_own_weights(value, joint, along, others)) return false;
    int factor = along[0];
    if (along.size() > 1) {
      Step inner = step(joint);
      inner.inputs = along;
      factor = added(inner);
    }
    Step outer = step(joint);
    outer.inputs = others;
    const int last = added(step(value));
    outer.inputs.push(last);
    int start = last;
    while (step(start).inputs[0] != joint) start = step(start).inputs[0];
    step(start).inputs[0] = factor;
    step(value) = outer;
    return true;
  }

  // Whether the chain of steps from the joint to the value mixes along an axis of the operand.
  bool touched_by(int value, int joint, int operand) {
    for (int at = value; at != joint; at = step(at).inputs[0]) {
      for (int axis : step(operand).axes) {
        if (step(at).mixes(axis)) return true;
      }
    }
    return false;
  }

  // Whether the chain has weights along an axis that of the joint's operands only the others have: it cannot leave them.
  bool has_own_weights(int value, int joint, const Operands& along, const Operands& others) {
    const auto has = [&](const Operands& operands, int axis) {
      return std::any_of(operands.begin(), operands.end(), [&](int operand) { return step(operand).axes.has(axis); });
    };
    for (int axis : step(joint).axes) {
      if (!has(others, axis) || has(along, axis)) continue;
      for (int at = value; at != joint; at = step(at).inputs[0]) {
        if (step(at).touches(axis)) return true;
      }
    }
    return false;
  }

  // f(drop(a), drop(b)) = drop(f(a, b)): the pushing undone where it came no further than to the operands.
  bool gather(int value) {
    const Step& joint = step(value);
    if (!joint.is(kPointwise) || joint.inputs.size() < 2) return false;
    for (int left : joint.inputs) {
      if (!is_view(left) || !drops(step(left))) continue;
      Operands with;
      for (int operand : joint.inputs) {
        if (is_view(operand) && same_but_operands(program_, step(left), step(operand))) with.push(operand);
      }
      if (with.size() < 2) continue;
      pull(value, with, {-1, left}, with.size() == joint.inputs.size());
      return true;
    }
    return false;
  }

  Program& program_;
  ChainOrder chains_;
};

}  // namespace

bool normal_order(Program& program) {
  NormalOrder normal(program);
  const size_t most = kMostRounds * program.order.size();
  for (size_t rounds = 0; normal.round(); ++rounds) {
    if (rounds == most || !program.refresh()) return false;
    simplify(program);
  }
  while (normal.shorten()) {
    if (!program.refresh()) return false;
  }
  return true;
}

}  // namespace canvas

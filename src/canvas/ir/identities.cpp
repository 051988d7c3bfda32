#include "canvas/ir/identities.h"

namespace canvas {

namespace {

// Whether two lists hold the same, in one order or in any.
template <class Items, class Equal = std::equal_to<>>
bool same(const Items& left, const Items& right, bool in_order, const Equal& equal = {}) {
  if (left.size() != right.size()) return false;
  if (in_order) return std::equal(left.begin(), left.end(), right.begin(), equal);
  return std::is_permutation(left.begin(), left.end(), right.begin(), equal);
}

class Simplifier {
 public:
  Simplifier(Program& program, bool own_axes) : program_(program), own_axes_(own_axes) {}

  // One pass from input to result; whether anything went.
  bool run() {
    bool any = false;
    never_negative_.assign(program_.steps.size(), false);
    for (size_t i = 1; i < program_.order.size(); ++i) {
      const int value = program_.order[i];
      const Step& step = program_.step(value);
      never_negative_[static_cast<size_t>(value)] =
          step.is(kNotNegative) || ((step.is(kKeepsSign) || step.is(kView)) &&
                                    std::all_of(step.inputs.begin(), step.inputs.end(), [&](int input) {
                                      return never_negative_[static_cast<size_t>(input)];
                                    }));
      any = drop_repeated(program_.step(value)) || any;
      const int same = equal(i);
      if (same < 0 || (value == program_.result && same == 0)) continue;  // a kernel has at least one primitive
      program_.replace(value, same);
      any = true;
    }
    return any;
  }

 private:
  // f(x, x, y) = f(x, y).
  static bool drop_repeated(Step& step) {
    const int before = step.inputs.size();
    if (!step.is(kIdempotent) || before < 3) return false;
    for (int slot = before; slot-- > 1;) {
      if (step.inputs.find(step.inputs[slot]) < slot && step.inputs.size() > 2) step.inputs.erase(slot);
    }
    return step.inputs.size() < before;
  }

  // A value that is the same as that of the i-th step, or -1.
  int equal(size_t i) {
    const Step& step = program_.step(program_.order[i]);
    const int first = step.inputs[0];
    const Step& before = program_.step(first);
    if (step.inputs.size() > 1) {
      if (step.is(kIdempotent) && step.inputs.size() == 2 && first == step.inputs[1]) return first;
    } else if (step.is(kIdempotent) && step.is(kNotNegative) && never_negative_[static_cast<size_t>(first)]) {
      return first;
    } else if (step.primitive == before.primitive) {
      if (step.is(kIdempotent)) return first;
      if (step.is(kInvolution)) return before.inputs[0];
    }
    if (step.primitive->weighted()) return -1;
    for (size_t j = 1; j < i; ++j) {
      const Step& other = program_.step(program_.order[j]);
      if (other.primitive != step.primitive || !same_operands(other, step)) continue;
      if (same_but_operands(program_, other, step) || (own_axes_ && made_same(other, step))) return program_.order[j];
    }
    return -1;
  }

  static bool same_operands(const Step& left, const Step& right) {
    return same(left.inputs, right.inputs, !left.is(kCommutative));
  }

  // Whether two steps are the same once the axes that they make are, and may be; then they are.
  bool made_same(const Step& left, const Step& right) {
    List<std::pair<int, int>, 2 * kMostOfList> pairs;
    Step alike = right;
    for (int k = 0; k < std::min(left.to.size(), right.to.size()); ++k) {
      pairs.push({left.to[k].axis, right.to[k].axis});
      alike.to[k].axis = left.to[k].axis;
    }
    for (Step::Item& item : alike.items) {
      for (const Step::Item& other : left.items) {
        if (other.axis != item.axis || other.made < 0 || item.made < 0) continue;
        pairs.push({other.made, item.made});
        item.made = other.made;
      }
    }
    if (!same_but_operands(program_, left, alike)) return false;
    for (const auto& [a, b] : pairs) {
      if (a != b && !program_.may_unite(a, b)) return false;
    }
    for (const auto& [a, b] : pairs) {
      if (a != b) program_.unite(a, b);
    }
    return true;
  }

  Program& program_;
  const bool own_axes_;
  std::vector<bool> never_negative_;
};

}  // namespace

bool same_but_operands(const Program& program, const Step& left, const Step& right) {
  const auto same_made = [&](const Step::Made& a, const Step::Made& b) {
    return a.axis == b.axis && program.same_size(a.size, b.size);
  };
  const auto same_item = [&](const Step::Item& a, const Step::Item& b) {
    return a.axis == b.axis && a.made == b.made && a.offset == b.offset && program.same_size(a.amount, b.amount);
  };
  const bool in_order = left.ordered();
  return left.primitive == right.primitive && left.mode == right.mode && left.dilation == right.dilation &&
         in_order == right.ordered() && same(left.from, right.from, in_order) && same(left.per, right.per, false) &&
         same(left.to, right.to, in_order, same_made) && same(left.items, right.items, in_order, same_item);
}

bool simplify(Program& program, bool own_axes) {
  bool any = false;
  while (Simplifier(program, own_axes).run()) {
    program.refresh();
    any = true;
  }
  return any;
}

}  // namespace canvas

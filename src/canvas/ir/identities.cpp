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
  explicit Simplifier(Program& program) : program_(program) {}

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
      const int same = equal(i);
      if (same < 0 || (value == program_.result && same == 0)) continue;  // a kernel has at least one primitive
      program_.replace(value, same);
      any = true;
    }
    return any;
  }

 private:
  // A value that is the same as that of the i-th step, or -1.
  int equal(size_t i) {
    const Step& step = program_.step(program_.order[i]);
    const int first = step.inputs[0];
    const Step& before = program_.step(first);
    if (step.inputs.size() > 1) {
      if (step.is(kIdempotent) && first == step.inputs[1]) return first;
    } else if (step.is(kIdempotent) && step.is(kNotNegative) && never_negative_[static_cast<size_t>(first)]) {
      return first;
    } else if (step.primitive == before.primitive) {
      if (step.is(kIdempotent)) return first;
      if (step.is(kInvolution)) return before.inputs[0];
    }
    if (step.primitive->weighted()) return -1;
    for (size_t j = 1; j < i; ++j) {
      const Step& other = program_.step(program_.order[j]);
      if (same_but_operands(program_, other, step) && same_operands(other, step)) return program_.order[j];
    }
    return -1;
  }

  static bool same_operands(const Step& left, const Step& right) {
    if (left.inputs == right.inputs) return true;
    return left.is(kCommutative) && left.inputs[0] == right.inputs[1] && left.inputs[1] == right.inputs[0];
  }

  Program& program_;
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

bool simplify(Program& program) {
  bool any = false;
  while (Simplifier(program).run()) {
    program.refresh();
    any = true;
  }
  return any;
}

}  // namespace canvas

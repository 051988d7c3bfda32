#include "canvas/size/equations.h"

#include <cstdlib>

namespace canvas {

namespace {

// "a square", "a cube", "a 4th power".
std::string power_name(int64_t degree) {
  if (degree == 2) return "a square";
  return degree == 3 ? "a cube" : "a " + std::to_string(degree) + "th power";
}

}  // namespace

bool Condition::never() const {
  if (!of.is_number()) return false;
  if (kind == kWhole) return !of.is_whole(0);
  if (kind != kWithin) return !of.is_one();
  const Size size = of.size();
  return size.valid() && (static_cast<__int128>(low) * size.denominator() > size.numerator() ||
                          (high > 0 && static_cast<__int128>(high) * size.denominator() < size.numerator()));
}

std::string Condition::str(const Variables& variables) const {
  const auto text = [&](const Powers& powers) { return to_string(powers.size(), variables); };
  switch (kind) {
    case kEqual: {
      const auto [top, bottom] = of.sides();
      return text(top) + " = " + text(bottom);
    }
    case kPower: return text(of) + " is " + power_name(low);
    case kWhole: return text(of) + " is whole";
    default: break;
  }
  const std::string least = std::to_string(low), most = std::to_string(high);
  if (high == 0) return text(of) + " is at least " + least;
  return text(of) + (low > 1 ? " is from " + least + " to " + most : " is at most " + most);
}

// The unknown variable of smallest non-zero |exponent|, other than `except`; -1 for none.
int Equations::smallest(const Powers& powers, int except) const {
  int best = -1;
  for (int v = first_; v < kMaxVariables; ++v) {
    if (v == except || powers.exponent(v) == 0) continue;
    if (best < 0 || std::abs(powers.exponent(v)) < std::abs(powers.exponent(best))) best = v;
  }
  return best;
}

std::optional<Condition> Equations::add(const Powers& asked) {
  Powers ratio = resolve(asked);
  // Euclid on the exponents: v := v * u^-q takes u's exponent modulo v's, until one unknown variable is left, or one of power 1.
  int v = smallest(ratio);
  for (; v >= 0; v = smallest(ratio)) {
    const int other = smallest(ratio, v);
    if (other < 0 || std::abs(ratio.exponent(v)) == ratio.root()) break;
    const int64_t quotient = ratio.exponent(other) / ratio.exponent(v);
    steps_.push_back({v, Powers::variable(v).times(Powers::variable(other), -quotient)});
    ratio = ratio.substitute(v, steps_.back().value);
  }
  if (!ratio.valid()) return Condition{Condition::kEqual, ratio};
  if (v < 0) {
    const bool upside_down = ratio.sides().first.is_number();  // 1 = C
    ratio = ratio.rooted(upside_down ? -1 : 1).reduced();
    return ratio.is_one() ? std::nullopt : std::optional(Condition{Condition::kEqual, ratio});
  }
  const int64_t degree = ratio.exponent(v) / ratio.root();
  const Powers value = ratio.without(v).rooted(-degree);
  if (!value.valid()) return Condition{Condition::kEqual, value};
  steps_.push_back({v, value});
  if (std::abs(degree) == 1 || value.root() == 1) return std::nullopt;
  return Condition{Condition::kPower, value.reduced(), value.root()};
}

std::optional<Fault> Equations::equate(const Size& left, const Size& right, const std::string& label,
                                       const Variables& variables) {
  const Fault too_large{label, "sizes must fit 64-bit integers", "a product that is too large", ""};
  const size_t before = mark();
  const auto condition = add(Powers(left).times(Powers(right), -1));
  for (size_t i = before; i < steps_.size() && !condition; ++i) {
    if (steps_[i].value.size().valid()) continue;
    undo(before);
    return too_large;
  }
  if (!condition) return std::nullopt;
  undo(before);
  if (condition->too_large()) return too_large;
  return Fault{label, to_string(left, variables) + " must equal " + to_string(right, variables),
               to_string(resolve(left), variables) + " and " + to_string(resolve(right), variables),
               (condition->never() ? "never equal" : "equal only where " + condition->str(variables)) +
                   ": make the two sizes equal, or leave one of them to a free variable"};
}

Size Equations::resolve(const Size& size) const {
  Size result = size;
  for (const Step& step : steps_) {
    if (result.exponent(step.variable) != 0) result = result.substitute(step.variable, step.value.size());
  }
  return result;
}

Powers Equations::resolve(Powers powers) const {
  for (const Step& step : steps_) powers = powers.substitute(step.variable, step.value);
  return powers;
}

}  // namespace canvas

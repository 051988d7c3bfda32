#include "canvas/size/equations.h"

#include <cmath>
#include <cstdlib>

namespace canvas {

namespace {

// The integer r with r^degree == value, or nothing.
std::optional<int64_t> exact_root(int64_t value, int degree) {
  if (degree == 1) return value;  // past 2^53 a double would not hold it
  const auto guess = static_cast<int64_t>(std::llround(std::pow(static_cast<double>(value), 1.0 / degree)));
  for (int64_t root = std::max<int64_t>(1, guess - 1); root <= guess + 1; ++root) {
    int64_t power = 1;
    bool fits = true;
    for (int i = 0; i < degree && fits; ++i) fits = !__builtin_mul_overflow(power, root, &power);
    if (fits && power == value) return root;
  }
  return std::nullopt;
}

// The monomial m with m^degree == size, or nothing.
std::optional<Size> exact_root(const Size& size, int degree) {
  const auto top = exact_root(size.numerator(), degree);
  const auto bottom = exact_root(size.denominator(), degree);
  if (!top || !bottom) return std::nullopt;
  Size root = Size::constant(*top, *bottom);
  for (int v = 0; v < kMaxVariables; ++v) {
    if (size.exponent(v) % degree != 0) return std::nullopt;
    root = root * Size::variable(v, size.exponent(v) / degree);
  }
  return root;
}

// The dynamic variable of smallest non-zero |exponent|, other than `except`; -1 for none.
int smallest(const Size& size, int except = -1) {
  int best = -1;
  for (int v = kFirstDynamic; v < kMaxVariables; ++v) {
    if (v == except || size.exponent(v) == 0) continue;
    if (best < 0 || std::abs(size.exponent(v)) < std::abs(size.exponent(best))) best = v;
  }
  return best;
}

}  // namespace

std::optional<Fault> Equations::equate(const Size& left, const Size& right, const std::string& label,
                                       const Variables& variables) {
  Size ratio = resolve(left) / resolve(right);
  if (!ratio.valid()) return Fault{label, "sizes must fit 64-bit integers", "a product that is too large", ""};
  const Fault conflict{label, to_string(left, variables) + " must equal " + to_string(right, variables),
                       to_string(resolve(left), variables) + " and " + to_string(resolve(right), variables),
                       "make the two sizes equal, or leave one of them to a free variable"};
  std::vector<Step> steps;  // kept only if the equation can hold
  const auto apply = [&](int variable, const Size& value) {
    ratio = ratio.substitute(variable, value);
    steps.push_back({variable, value});
  };
  // Euclid on the exponents: v := v * u^-q takes u's exponent modulo v's, until one dynamic variable is left.
  int v = smallest(ratio);
  while (v >= 0) {
    const int other = smallest(ratio, v);
    if (other < 0 || std::abs(ratio.exponent(v)) == 1) break;
    const int quotient = ratio.exponent(other) / ratio.exponent(v);
    apply(v, Size::variable(v) * Size::variable(other, -quotient));
    v = smallest(ratio);
  }
  if (v < 0) {
    if (!ratio.is_one()) return conflict;
  } else {
    const int degree = ratio.exponent(v);
    Size rest = ratio.substitute(v, Size());
    if (degree > 0) rest = rest.power(-1);
    const auto value = exact_root(rest, std::abs(degree));
    if (!value) return conflict;
    apply(v, *value);
  }
  if (!ratio.valid()) return Fault{label, "sizes must fit 64-bit integers", "a product that is too large", ""};
  steps_.insert(steps_.end(), steps.begin(), steps.end());
  return std::nullopt;
}

Size Equations::resolve(const Size& size) const {
  Size result = size;
  for (const Step& step : steps_) result = result.substitute(step.variable, step.value);
  return result;
}

std::optional<Size> Equations::forced(int variable) const {
  const Size value = resolve(Size::variable(variable));
  if (value == Size::variable(variable)) return std::nullopt;
  return value;
}

}  // namespace canvas

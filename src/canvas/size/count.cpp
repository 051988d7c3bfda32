#include "canvas/size/count.h"

#include <algorithm>
#include <cstdlib>

namespace canvas {

namespace {

double power(double value, int exponent) {
  double result = 1;
  for (int i = std::abs(exponent); i > 0; --i) result *= value;
  return exponent < 0 ? 1 / result : result;
}

}  // namespace

void Count::divide_extents() {
  int8_t& strides = plain_.exponents_[kStride];
  for (bool divided = true; divided;) {
    divided = false;
    for (int v = kD; v <= kT && strides < 0; ++v) {
      int8_t& extents = plain_.exponents_[static_cast<size_t>(v)];
      if (extents <= 0) continue;
      --extents;
      ++strides;
      rounded_ += uint32_t{1} << shift(v);
      divided = true;
    }
  }
}

Count Count::fixed() const {
  Count part = *this;
  part.plain_.numerator_ = part.plain_.denominator_ = 1;
  std::fill(part.plain_.exponents_.begin() + kFirstDynamic, part.plain_.exponents_.end(), int8_t{0});
  return part;
}

std::optional<Quotient> Count::quotient(const Values& values) const {
  auto result = plain_.unrounded(values);
  if (!result || rounded_ == 0) return result;
  for (int v = kD; v <= kT; ++v) {
    for (int times = rounded(v); times > 0; --times) {
      if (__builtin_mul_overflow(result->top, strided(values, v), &result->top)) return std::nullopt;
    }
  }
  return result;
}

std::optional<int64_t> Count::evaluate(const Values& values) const {
  const auto is_set = [&](int v) { return values[static_cast<size_t>(v)] > 0; };
  for (int v = 0; v < kMaxVariables; ++v) {
    if (plain_.exponent(v) != 0 && !is_set(v)) return std::nullopt;
    if (is_extent(v) && rounded(v) > 0 && !(is_set(v) && is_set(kStride))) return std::nullopt;
  }
  const auto found = quotient(values);
  return found && found->top % found->bottom == 0 ? std::optional(found->top / found->bottom) : std::nullopt;
}

double Count::amount(const Values& values) const {
  double result = static_cast<double>(plain_.numerator()) / static_cast<double>(plain_.denominator());
  for (int v = 0; v < kMaxVariables; ++v) {
    const auto value = static_cast<double>(std::max<int64_t>(1, values[static_cast<size_t>(v)]));
    if (plain_.exponent(v) != 0) result *= power(value, plain_.exponent(v));
    if (is_extent(v)) result *= power(static_cast<double>(strided(values, v)), rounded(v));
  }
  return result;
}

}  // namespace canvas

#include "canvas/size/statics.h"

#include <algorithm>
#include <cstdlib>

namespace canvas {

size_t Statics::add(const Count& count) {
  const Count part = count.fixed();
  const auto at = std::find(parts_.begin(), parts_.end(), part);
  const auto place = static_cast<size_t>(at - parts_.begin());
  if (at != parts_.end()) return place;
  parts_.push_back(part);
  for (int v = 0; v < kFirstDynamic; ++v) {
    const int power = part.plain().exponent(v) + (is_extent(v) ? part.rounded(v) : 0);
    if (power != 0) factors_.push_back({place, static_cast<size_t>(v), power});
  }
  return place;
}

bool Statics::evaluate(const Values& values, std::vector<Quotient>& into) const {
  into.assign(parts_.size(), {1, 1});
  if (values[kStride] > 1) {  // extents round up
    for (size_t i = 0; i < parts_.size(); ++i) {
      const auto found = parts_[i].quotient(values);
      if (!found) return false;
      into[i] = *found;
    }
    return true;
  }
  for (const Factor& factor : factors_) {
    const int64_t value = values[factor.variable];
    Quotient& quotient = into[factor.part];
    if (value > 0 && !times_power(factor.power > 0 ? quotient.top : quotient.bottom, value, std::abs(factor.power)))
      return false;
  }
  return true;
}

Term::Term(const Size& size, size_t variables, Statics& statics)
    : top(size.numerator()), bottom(size.denominator()), place(statics.add(size)) {
  for (size_t i = 0; i < variables; ++i) {
    const int exponent = size.exponent(kFirstDynamic + static_cast<int>(i));
    if (exponent != 0) powers.push_back({i, exponent});
  }
}

std::optional<Quotient> Term::ground(const std::vector<Quotient>& statics) const {
  Quotient result{};
  if (bottom == 0 || __builtin_mul_overflow(top, statics[place].top, &result.top) ||
      __builtin_mul_overflow(bottom, statics[place].bottom, &result.bottom))
    return std::nullopt;
  return result;
}

std::optional<Quotient> Term::with(Quotient ground, const int64_t* option) const {
  for (const Power& power : powers) {
    int64_t& side = power.exponent > 0 ? ground.top : ground.bottom;
    if (!times_power(side, option[power.variable], std::abs(power.exponent))) return std::nullopt;
  }
  return ground;
}

}  // namespace canvas

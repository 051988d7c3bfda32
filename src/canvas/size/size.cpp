#include "canvas/size/size.h"

#include <bit>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "canvas/base/random.h"
#include "canvas/size/count.h"

namespace canvas {

namespace {

Size invalid_size() { return Size::constant(1, 0); }

}  // namespace

Size Size::constant(int64_t numerator, int64_t denominator) {
  Size size;
  if (numerator <= 0 || denominator <= 0) {
    size.denominator_ = 0;
    return size;
  }
  const int64_t common = std::gcd(numerator, denominator);
  size.numerator_ = numerator / common;
  size.denominator_ = denominator / common;
  return size;
}

Size Size::variable(int index, int power) {
  Size size;
  if (power < INT8_MIN || power > INT8_MAX) return invalid_size();
  size.exponents_[static_cast<size_t>(index)] = static_cast<int8_t>(power);
  return size;
}

Size Size::power(int exponent) const {
  if (!valid()) return *this;
  Size base = *this;
  if (exponent < 0) {
    std::swap(base.numerator_, base.denominator_);
    for (int8_t& entry : base.exponents_) {
      if (entry == INT8_MIN) return invalid_size();
      entry = static_cast<int8_t>(-entry);
    }
    exponent = -exponent;
  }
  Size result;
  for (int i = 0; i < exponent && result.valid(); ++i) result = result * base;
  return result;
}

Size Size::substitute(int variable, const Size& value) const {
  const int power_of = exponent(variable);
  if (power_of == 0 || !valid()) return *this;
  Size rest = *this;
  rest.exponents_[static_cast<size_t>(variable)] = 0;
  return rest * value.power(power_of);
}

template <class Visit>
bool Size::each_power(const Visit& visit) const {
  constexpr bool kLittle = std::endian::native == std::endian::little;
  for (size_t half = 0; half < exponents_.size(); half += sizeof(uint64_t)) {
    uint64_t some = 0;  // most sizes have few variables: the others are passed over
    std::memcpy(&some, exponents_.data() + half, sizeof some);
    while (some != 0) {
      const auto byte = static_cast<size_t>(kLittle ? std::countr_zero(some) : std::countl_zero(some)) / 8;
      some &= ~(uint64_t{0xff} << 8 * (kLittle ? byte : sizeof some - 1 - byte));
      if (!visit(half + byte, static_cast<int>(exponents_[half + byte]))) return false;
    }
  }
  return true;
}

std::optional<Quotient> Size::unrounded(const Values& values) const {
  if (!valid()) return std::nullopt;
  Quotient result{numerator_, denominator_};
  const bool fits = each_power([&](size_t v, int exponent) {
    int64_t& side = exponent > 0 ? result.top : result.bottom;
    for (int times = values[v] > 0 ? std::abs(exponent) : 0; times > 0; --times) {
      if (__builtin_mul_overflow(side, values[v], &side)) return false;
    }
    return true;
  });
  return fits ? std::optional(result) : std::nullopt;
}

std::optional<Quotient> Size::quotient(const Values& values) const {
  return exponent(kStride) < 0 ? Count(*this).quotient(values) : unrounded(values);
}

std::optional<int64_t> Size::evaluate(const Values& values) const {
  if (!each_power([&](size_t v, int) { return values[v] > 0; })) return std::nullopt;
  const auto found = quotient(values);
  if (!found) return std::nullopt;
  if (found->bottom == 1) return found->top;
  return found->top % found->bottom == 0 ? std::optional(found->top / found->bottom) : std::nullopt;
}

uint64_t Size::hash() const {
  uint64_t code = combine(static_cast<uint64_t>(numerator_), static_cast<uint64_t>(denominator_));
  for (int8_t entry : exponents_) code = combine(code, static_cast<uint64_t>(static_cast<int64_t>(entry)));
  return code;
}

Size product(const std::vector<Size>& sizes) {
  Size result;
  for (const Size& size : sizes) result = result * size;
  return result;
}

std::string Variables::name(int variable) const {
  if (!is_dynamic(variable)) return kStaticNames[static_cast<size_t>(variable)];
  return names[static_cast<size_t>(variable - kFirstDynamic)];
}

int Variables::find(const std::string& name) const {
  for (size_t i = 0; i < kStaticNames.size(); ++i) {
    if (name == kStaticNames[i]) return static_cast<int>(i);
  }
  for (size_t i = 0; i < names.size(); ++i) {
    if (name == names[i]) return kFirstDynamic + static_cast<int>(i);
  }
  return -1;
}

int Variables::add(const std::string& name) {
  if (count() >= kMaxVariables) return -1;
  names.push_back(name);
  return count() - 1;
}

std::string to_string(const Size& size, const Variables& variables) {
  if (!size.valid()) return "<too large>";
  std::string top;
  std::string bottom;
  for (int v = 0; v < kMaxVariables; ++v) {
    for (int power = size.exponent(v); power > 0; --power) top += (top.empty() ? "" : "*") + variables.name(v);
    for (int power = size.exponent(v); power < 0; ++power) bottom += "/" + variables.name(v);
  }
  if (size.numerator() != 1 || top.empty()) {
    top = std::to_string(size.numerator()) + (top.empty() ? "" : "*") + top;
  }
  if (size.denominator() != 1) bottom += "/" + std::to_string(size.denominator());
  return top + bottom;
}

}  // namespace canvas

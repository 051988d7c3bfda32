// Symbolic sizes: a size is a monomial, a positive rational constant times integer powers of variables, such as 3*C/g.
// Variables 0..7 are static (set by the layer that a kernel serves), 8..15 dynamic (free; the solvers choose them).
// Arithmetic never wraps: a result that does not fit is !valid(), and stays so.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "canvas/base/random.h"

namespace canvas {

constexpr int kMaxVariables = 16;
constexpr int kFirstDynamic = 8;

// The static variables by index. D, H and W are spatial extents, T the number of tokens, s the stride.
enum StaticVariable : int { kC = 0, kK = 1, kD = 2, kH = 3, kW = 4, kT = 5, kStride = 6 };
inline constexpr std::array<const char*, 7> kStaticNames = {"C", "K", "D", "H", "W", "T", "s"};

inline bool is_dynamic(int variable) { return variable >= kFirstDynamic; }
inline bool is_extent(int variable) { return variable >= kD && variable <= kT; }

// One positive integer per variable; 0 where a variable is not set.
using Values = std::array<int64_t, kMaxVariables>;

// A size for given values before its division: top / bottom.
struct Quotient {
  int64_t top;
  int64_t bottom;
};

class Size {
 public:
  Size() = default;  // the constant 1
  static Size constant(int64_t numerator, int64_t denominator = 1);
  static Size variable(int index, int power = 1);

  bool valid() const { return denominator_ != 0; }
  bool is_constant() const { return exponents_ == std::array<int8_t, kMaxVariables>{}; }
  bool is_one() const { return is_constant() && numerator_ == 1 && denominator_ == 1; }
  bool has_dynamic() const;
  int64_t numerator() const { return numerator_; }
  int64_t denominator() const { return denominator_; }
  int exponent(int variable) const { return exponents_[static_cast<size_t>(variable)]; }

  Size operator*(const Size& other) const {
    return multiplied(other.numerator_, other.denominator_, other.exponents_, 1);
  }
  Size operator/(const Size& other) const {
    return multiplied(other.denominator_, other.numerator_, other.exponents_, -1);
  }
  Size power(int exponent) const;
  bool operator==(const Size& other) const = default;

  // This size with `variable` replaced by `value`: (C/r).substitute(r, 2*g) = C/2/g.
  Size substitute(int variable, const Size& value) const;

  // The integer that this size is for given values, or nothing where it is not a positive integer, a variable is not set, or it
  // does not fit. Extents divided by the stride round up (a strided layer returns ceil(extent / stride)): H/s at H = 7, s = 2 is 4.
  std::optional<int64_t> evaluate(const Values& values) const;
  // The same before the division, with the variables that are not set counted as 1; nothing where a side does not fit.
  std::optional<Quotient> quotient(const Values& values) const;

  uint64_t hash() const;
  // A hash that is quick, for tables in memory: it is not the same on every machine.
  uint64_t mixed() const {
    uint64_t halves[2];
    std::memcpy(halves, exponents_.data(), sizeof halves);
    const auto constant = static_cast<uint64_t>(numerator_ * 131 + denominator_);
    return mix64(halves[0] * 0x9e3779b97f4a7c15ull ^ mix64(halves[1] ^ constant));
  }

 private:
  // Calls visit(variable, exponent) for the exponents that are not 0, until it returns false; whether it never did.
  template <class Visit>
  bool each_power(const Visit& visit) const;

  using Exponents = std::array<int8_t, kMaxVariables>;

  // This times numerator / denominator and the variables to sign times their exponents. Sizes of small constants are multiplied millions of
  // times a second, so the ways that need no common divisor are kept short.
  Size multiplied(int64_t numerator, int64_t denominator, const Exponents& exponents, int sign) const {
    Size size;
    int lost = 0;
    for (size_t i = 0; i < exponents_.size(); ++i) {
      const int sum = exponents_[i] + sign * exponents[i];
      size.exponents_[i] = static_cast<int8_t>(sum);
      lost |= sum ^ size.exponents_[i];
    }
    if (lost || !valid() || numerator == 0 || denominator == 0) return constant(1, 0);
    const bool plain = denominator_ == 1 && denominator == 1;
    const int64_t left = plain ? 1 : std::gcd(numerator_, denominator),
                  right = plain ? 1 : std::gcd(numerator, denominator_);
    if (__builtin_mul_overflow(numerator_ / left, numerator / right, &size.numerator_) ||
        __builtin_mul_overflow(denominator_ / right, denominator / left, &size.denominator_))
      return constant(1, 0);
    return size;
  }

  int64_t numerator_ = 1;
  int64_t denominator_ = 1;  // 0: the result of an operation that did not fit
  Exponents exponents_{};
};

// The product of sizes; 1 for none.
Size product(const std::vector<Size>& sizes);

// The names of a kernel's dynamic variables, by index - kFirstDynamic; at most 8.
struct Variables {
  std::vector<std::string> names;

  const std::string name(int variable) const;
  // The index of a static or known dynamic name; -1 for none.
  int find(const std::string& name) const;
  // Adds a dynamic variable; -1 where all places are taken.
  int add(const std::string& name);
  int count() const { return kFirstDynamic + static_cast<int>(names.size()); }
};

// "3*C/g", "H/s", "1"; negative powers behind "/", powers above one repeated ("C*C/g/g"). Parses back to the same size.
std::string to_string(const Size& size, const Variables& variables);

}  // namespace canvas

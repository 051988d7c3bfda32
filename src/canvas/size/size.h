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

#include "canvas/base/few.h"
#include "canvas/base/name.h"
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
  bool is_constant() const { return (word(0) | word(kFirstDynamic)) == 0; }
  bool is_one() const { return is_constant() && numerator_ == 1 && denominator_ == 1; }
  bool has_dynamic() const { return word(kFirstDynamic) != 0; }
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
  bool operator==(const Size& other) const {
    return word(0) == other.word(0) && word(kFirstDynamic) == other.word(kFirstDynamic) &&
           numerator_ == other.numerator_ && denominator_ == other.denominator_;
  }

  // This size with `variable` replaced by `value`: (C/r).substitute(r, 2*g) = C/2/g.
  Size substitute(int variable, const Size& value) const;

  // The integer that this size is for given values, or nothing where it is not a positive integer, a variable is not set, or it
  // does not fit. Extents divided by the stride round up (a strided layer returns ceil(extent / stride)): H/s at H = 7, s = 2 is 4. How they
  // do in a product of several axes, a Count says (count.h).
  std::optional<int64_t> evaluate(const Values& values) const;
  // The same before the division, with the variables that are not set counted as 1; nothing where a side does not fit.
  std::optional<Quotient> quotient(const Values& values) const;

  uint64_t hash() const;
  // A hash that is quick, for tables in memory: it is not the same on every machine.
  uint64_t mixed() const {
    const auto constant = static_cast<uint64_t>(numerator_ * 131 + denominator_);
    return mix64(word(0) * 0x9e3779b97f4a7c15ull ^ mix64(word(kFirstDynamic) ^ constant));
  }

 private:
  friend class Count;
  // The quotient where nothing rounds up.
  std::optional<Quotient> unrounded(const Values& values) const;
  // Calls visit(variable, exponent) for the exponents that are not 0, until it returns false; whether it never did.
  template <class Visit>
  bool each_power(const Visit& visit) const;

  using Exponents = std::array<int8_t, kMaxVariables>;
  static_assert(kFirstDynamic == sizeof(uint64_t) && kMaxVariables == 2 * sizeof(uint64_t));

  // Eight exponents at once.
  static uint64_t word_of(const Exponents& exponents, size_t first) {
    uint64_t word;
    std::memcpy(&word, exponents.data() + first, sizeof word);
    return word;
  }
  uint64_t word(size_t first) const { return word_of(exponents_, first); }

  // This times numerator / denominator and the variables to sign times their exponents. Sizes are multiplied millions of times a second:
  // eight exponents at a time, and nothing is divided by 1.
  Size multiplied(int64_t numerator, int64_t denominator, const Exponents& exponents, int sign) const {
    constexpr uint64_t kSigns = 0x8080808080808080ull;
    Size size;
    uint64_t lost = 0;
    for (size_t first : {size_t{0}, sizeof(uint64_t)}) {
      const uint64_t a = word(first), b = word_of(exponents, first);
      uint64_t sum;
      if (sign > 0) {
        sum = ((a & ~kSigns) + (b & ~kSigns)) ^ ((a ^ b) & kSigns);
        lost |= ~(a ^ b) & (a ^ sum) & kSigns;
      } else {
        sum = ((a | kSigns) - (b & ~kSigns)) ^ (~(a ^ b) & kSigns);
        lost |= (a ^ b) & (a ^ sum) & kSigns;
      }
      std::memcpy(size.exponents_.data() + first, &sum, sizeof sum);
    }
    if (lost || !valid() || numerator == 0 || denominator == 0) return constant(1, 0);
    const int64_t left = common(numerator_, denominator), right = common(numerator, denominator_);
    if (__builtin_mul_overflow(over(numerator_, left), over(numerator, right), &size.numerator_) ||
        __builtin_mul_overflow(over(denominator_, right), over(denominator, left), &size.denominator_))
      return constant(1, 0);
    return size;
  }
  static int64_t common(int64_t a, int64_t b) { return a == 1 || b == 1 ? 1 : std::gcd(a, b); }
  static int64_t over(int64_t number, int64_t divisor) { return divisor == 1 ? number : number / divisor; }

  int64_t numerator_ = 1;
  int64_t denominator_ = 1;  // 0: the result of an operation that did not fit
  Exponents exponents_{};
};

// The product of sizes; 1 for none.
Size product(const std::vector<Size>& sizes);

// The names of a kernel's dynamic variables, by index - kFirstDynamic; at most 8.
struct Variables {
  Few<Name, 2> names;

  std::string name(int variable) const;
  // The index of a static or known dynamic name; -1 for none.
  int find(const std::string& name) const;
  // Adds a dynamic variable; -1 where all places are taken.
  int add(const std::string& name);
  int count() const { return kFirstDynamic + static_cast<int>(names.size()); }
};

// "3*C/g", "H/s", "1"; negative powers behind "/", powers above one repeated ("C*C/g/g"). Parses back to the same size.
std::string to_string(const Size& size, const Variables& variables);

}  // namespace canvas

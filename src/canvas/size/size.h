// Symbolic sizes: a size is a monomial, a positive rational constant times integer powers of variables, such as 3*C/g.
// Variables 0..7 are static (set by the layer that a kernel serves), 8..15 dynamic (free; the solvers choose them).
// Arithmetic never wraps: a result that does not fit is !valid(), and stays so.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

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
  bool is_constant() const;
  bool is_one() const { return is_constant() && numerator_ == 1 && denominator_ == 1; }
  bool has_dynamic() const;
  int64_t numerator() const { return numerator_; }
  int64_t denominator() const { return denominator_; }
  int exponent(int variable) const { return exponents_[static_cast<size_t>(variable)]; }

  Size operator*(const Size& other) const;
  Size operator/(const Size& other) const;
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

 private:
  // Calls visit(variable, exponent) for the exponents that are not 0, until it returns false; whether it never did.
  template <class Visit>
  bool each_power(const Visit& visit) const;

  int64_t numerator_ = 1;
  int64_t denominator_ = 1;  // 0: the result of an operation that did not fit
  std::array<int8_t, kMaxVariables> exponents_{};
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

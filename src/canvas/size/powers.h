// Products of variables and primes to rational powers: what a Size is once its constant is taken apart into primes. All its arithmetic is
// linear in the exponents, so equations between sizes are linear equations; fractions are the roots that x*x = C leaves. Equations and
// System compute with them. Arithmetic never wraps: what does not fit is !valid(), and stays so.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "canvas/size/size.h"

namespace canvas {

class Powers {
 public:
  Powers() = default;  // the number 1
  explicit Powers(const Size& size);
  static Powers variable(int index) { return Powers(Size::variable(index)); }

  bool valid() const { return root_ != 0; }
  bool is_one() const { return valid() && entries_.empty(); }
  // Whether no variable is in it.
  bool is_number() const;
  // Whether a variable from `first` on is in it.
  bool has_variable(int first) const;
  // Whether it is a whole number whatever whole numbers the variables below `first` are; no others may be in it. Extents divided by the
  // stride are, since they round up.
  bool is_whole(int first) const;

  // Exponents are fractions exponent(v) / root(), in lowest terms together.
  int64_t exponent(int variable) const;
  int64_t root() const { return root_; }

  // This times other^power.
  Powers times(const Powers& other, int64_t power = 1) const;
  // The root of this: degree -2 gives 1 / sqrt(this).
  Powers rooted(int64_t degree) const;
  Powers without(int variable) const;
  // This with a variable replaced: (C/r).substitute(r, g^(1/2)) = C g^(-1/2).
  Powers substitute(int variable, const Powers& value) const;
  // Raised to the smallest power, or without the largest one, that leaves whole exponents without a common divisor; C^(1/2) and C*C give C.
  Powers reduced() const;
  bool operator==(const Powers&) const = default;

  // Itself, with the primes multiplied together; !valid() where an exponent is a fraction or it does not fit.
  Size size() const;
  // What is multiplied, and what is divided by.
  std::pair<Powers, Powers> sides() const;

 private:
  using Entry = std::pair<int64_t, int64_t>;  // a variable's index, or a prime below 0; its exponent, not 0
  void normalise();

  std::vector<Entry> entries_;  // ascending
  int64_t root_ = 1;            // 0: the result of an operation that did not fit
};

}  // namespace canvas

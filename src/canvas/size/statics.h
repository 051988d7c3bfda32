// Sizes taken apart into a constant, static and dynamic variables (Term), and the static parts of many, each once (Statics). Whoever
// evaluates sizes on many layers (choices.h, and solve/pricing.h with it) keeps them in one table, so that each is computed once a layer.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "canvas/size/count.h"

namespace canvas {

class Statics {
 public:
  // Where the count's static variables, without its constant, have their place. Example: 3*C/g and C/4 share that of C.
  size_t add(const Count& count);

  // What they are for given values, variables that are not set counted as 1; false where one does not fit.
  bool evaluate(const Values& values, std::vector<Quotient>& into) const;

 private:
  struct Factor {
    size_t part, variable;
    int power;
  };
  std::vector<Count> parts_;
  std::vector<Factor> factors_;  // of all parts, in their order
};

// product *= value^power; false where that does not fit.
inline bool times_power(int64_t& product, int64_t value, int power) {
  for (; power > 0; --power) {
    if (__builtin_mul_overflow(product, value, &product)) return false;
  }
  return true;
}

// A size, its dynamic variables apart.
struct Term {
  struct Power {
    size_t variable;  // among the dynamic ones
    int exponent;
  };
  Term(const Size& size, size_t variables, Statics& statics);
  // The size while the dynamic variables are 1; nothing where that does not fit.
  std::optional<Quotient> ground(const std::vector<Quotient>& statics) const;
  // What the variables make of `ground`, the size while they are 1; nothing where that does not fit.
  std::optional<Quotient> with(Quotient ground, const int64_t* option) const;

  int64_t top, bottom;  // the constant
  size_t place;         // of the static part
  std::vector<Power> powers;
  size_t last = 0;  // the first step of the search at which all its variables are set
};

}  // namespace canvas

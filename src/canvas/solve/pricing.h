// What a kernel costs as a polynomial in its free sizes: a layer makes numbers of the coefficients, a choice of sizes makes a cost of
// them. options.cpp asks for thousands of choices on a layer.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "canvas/analyze/cost.h"
#include "canvas/ir/kernel.h"
#include "canvas/size/statics.h"

namespace canvas {

class Pricing {
 public:
  // Adds the static parts of its monomials to `statics`.
  Pricing(const Kernel& kernel, Statics& statics);

  // The coefficients on one layer: for FLOPs, parameters and each set of values that are alive at once, one a term.
  struct Ground {
    std::vector<double> rows;
    std::vector<double> terms;  // kept for its memory
  };
  // `statics`: what the layer makes of these. False where a count does not fit 64 bits even while all free sizes are 1.
  bool prepare(const std::vector<Quotient>& statics, Ground& ground) const;
  // Whether FLOPs and parameters grow evenly with the last free size, whatever the others are.
  bool even_in_last(size_t variables) const;
  // What legal free sizes cost; nothing where a count does not fit 64 bits.
  std::optional<Cost> cost(Ground& ground, const int64_t* option) const;

 private:
  struct Power {
    size_t variable;  // among the free ones
    int exponent;
    bool operator==(const Power&) const = default;
  };
  struct Monomial {  // constant x static part x term
    double top, bottom;
    size_t fixed, term;
  };

  std::vector<std::vector<Power>> terms_;  // the distinct products of free sizes; the first is empty
  std::vector<Monomial> monomials_;
  std::vector<CostModel::Sum> sums_;  // of monomials: one a row
};

}  // namespace canvas

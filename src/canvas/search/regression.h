// Bayesian linear regression (Bishop 2006, "Pattern Recognition and Machine Learning", section 3.3) of several outputs on the same
// features, one example after the other.
#pragma once

#include <cstddef>
#include <vector>

#include "canvas/base/random.h"

namespace canvas {

class Regression {
 public:
  // Of outputs of mean 0 and deviation 1: coefficients are normal with mean 0 and deviation 1, what features leave unexplained has the
  // deviation `noise`. Outputs are brought to that scale by what has been seen.
  Regression(size_t features, size_t outputs, double noise);

  void add(const std::vector<double>& x, const std::vector<double>& y);
  size_t examples() const { return examples_; }

  // Coefficients drawn from what is likely given the examples, a vector for each output; `of()` applies them. So many times.
  struct Drawn {
    std::vector<std::vector<double>> coefficients;
    std::vector<double> mean, deviation;
    std::vector<double> of(const std::vector<double>& x) const;
  };
  std::vector<Drawn> draw(size_t count, Random& random) const;

 private:
  size_t features_;
  double noise_;
  size_t examples_ = 0;
  std::vector<double> factor_;  // the Cholesky factor of the coefficients' precision; a lower triangle, row by row
  std::vector<double> sums_;    // of features
  std::vector<std::vector<double>> mixed_;  // of features times an output
  std::vector<double> total_, squares_;     // of outputs
};

}  // namespace canvas

// Bayesian linear regression (Bishop 2006, "Pattern Recognition and Machine Learning", section 3.3), one example after the other.
#pragma once

#include <cstddef>
#include <vector>

#include "canvas/base/random.h"

namespace canvas {

class Regression {
 public:
  // Of an output of mean 0 and deviation 1: coefficients are normal with mean 0 and deviation 1, what features leave unexplained has the
  // deviation `noise`. The output is brought to that scale by what has been seen.
  Regression(size_t features, double noise);

  // Before the first example: the coefficients' means, and the deviation from them of all but the first, that of the constant.
  void expect(const std::vector<double>& means, double deviation);

  void add(const std::vector<double>& x, double y);
  size_t examples() const { return examples_; }
  double deviation() const;  // of the outputs

  std::vector<double> means() const;  // of the coefficients

  // Coefficients drawn from what is likely given the examples; `of()` applies them. So many times.
  struct Drawn {
    std::vector<double> coefficients;
    double mean = 0, deviation = 0;
    double of(const std::vector<double>& x) const;
  };
  std::vector<Drawn> draw(size_t count, Random& random) const;

 private:
  double mean() const;  // of the outputs
  // The factor times the coefficients' means.
  std::vector<double> weighted() const;

  size_t features_;
  double noise_;
  size_t examples_ = 0;
  std::vector<double> expected_;    // before all examples, precision times means of the coefficients
  std::vector<double> factor_;      // the Cholesky factor of the coefficients' precision; a lower triangle, row by row
  std::vector<double> sums_;        // of features
  std::vector<double> mixed_;       // of features times the output
  double total_ = 0, squares_ = 0;  // of outputs
};

}  // namespace canvas

#include "canvas/search/regression.h"

#include <algorithm>
#include <cmath>

namespace canvas {

namespace {

// Row i of a lower triangle that lies row by row.
double* row_of(std::vector<double>& triangle, size_t i) { return triangle.data() + i * (i + 1) / 2; }
const double* row_of(const std::vector<double>& triangle, size_t i) { return triangle.data() + i * (i + 1) / 2; }

// Makes factor factor^T greater by x x^T (Golub and Van Loan 2013, "Matrix Computations", section 6.5.4); x is used up.
void update(std::vector<double>& factor, std::vector<double>& x) {
  for (size_t k = 0; k < x.size(); ++k) {
    if (x[k] == 0) continue;
    double& diagonal = row_of(factor, k)[k];
    const double root = std::hypot(diagonal, x[k]), cosine = root / diagonal, sine = x[k] / diagonal;
    diagonal = root;
    for (size_t i = k + 1; i < x.size(); ++i) {
      double& entry = row_of(factor, i)[k];
      entry = (entry + sine * x[i]) / cosine;
      x[i] = cosine * x[i] - sine * entry;
    }
  }
}

// Solves factor x = b, in place.
void forward(const std::vector<double>& factor, std::vector<double>& x) {
  for (size_t i = 0; i < x.size(); ++i) {
    const double* row = row_of(factor, i);
    double sum = x[i];
    for (size_t k = 0; k < i; ++k) sum -= row[k] * x[k];
    x[i] = sum / row[i];
  }
}

// Solves factor^T x = b, in place.
void backward(const std::vector<double>& factor, std::vector<double>& x) {
  for (size_t i = x.size(); i-- > 0;) {
    const double* row = row_of(factor, i);
    x[i] /= row[i];
    for (size_t k = 0; k < i; ++k) x[k] -= row[k] * x[i];
  }
}

}  // namespace

Regression::Regression(size_t features, size_t outputs, double noise)
    : features_(features),
      noise_(noise),
      factor_(features * (features + 1) / 2, 0.0),
      sums_(features, 0.0),
      mixed_(outputs, std::vector<double>(features, 0.0)),
      total_(outputs, 0.0),
      squares_(outputs, 0.0) {
  for (size_t i = 0; i < features; ++i) row_of(factor_, i)[i] = 1;
}

void Regression::add(const std::vector<double>& x, const std::vector<double>& y) {
  std::vector<double> scaled = x;
  for (double& value : scaled) value /= noise_;
  update(factor_, scaled);
  for (size_t i = 0; i < features_; ++i) sums_[i] += x[i];
  for (size_t output = 0; output < y.size(); ++output) {
    for (size_t i = 0; i < features_; ++i) mixed_[output][i] += x[i] * y[output];
    total_[output] += y[output];
    squares_[output] += y[output] * y[output];
  }
  ++examples_;
}

std::vector<Regression::Drawn> Regression::draw(size_t draws, Random& random) const {
  const double precision = 1 / (noise_ * noise_);
  std::vector<Drawn> drawn(draws);
  const double count = static_cast<double>(std::max<size_t>(examples_, 1));
  for (size_t output = 0; output < total_.size(); ++output) {
    const double mean = total_[output] / count;
    const double deviation = std::sqrt(std::max(squares_[output] / count - mean * mean, 1e-12));
    std::vector<double> expected(features_);
    for (size_t i = 0; i < features_; ++i) {
      expected[i] = (mixed_[output][i] - mean * sums_[i]) / deviation * precision;
    }
    forward(factor_, expected);  // the mean is factor^-T of this, and so is the deviation of white noise
    for (Drawn& one : drawn) {
      std::vector<double> coefficients = expected;
      for (double& value : coefficients) value += random.normal();
      backward(factor_, coefficients);
      one.coefficients.push_back(std::move(coefficients));
      one.mean.push_back(mean);
      one.deviation.push_back(deviation);
    }
  }
  return drawn;
}

std::vector<double> Regression::Drawn::of(const std::vector<double>& x) const {
  std::vector<double> result;
  for (size_t output = 0; output < coefficients.size(); ++output) {
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += coefficients[output][i] * x[i];
    result.push_back(mean[output] + deviation[output] * sum);
  }
  return result;
}

}  // namespace canvas

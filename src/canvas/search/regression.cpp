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

Regression::Regression(size_t features, double noise)
    : features_(features),
      noise_(noise),
      factor_(features * (features + 1) / 2, 0.0),
      sums_(features, 0.0),
      mixed_(features, 0.0) {
  for (size_t i = 0; i < features; ++i) row_of(factor_, i)[i] = 1;
}

void Regression::add(const std::vector<double>& x, double y) {
  std::vector<double> scaled = x;
  for (double& value : scaled) value /= noise_;
  update(factor_, scaled);
  for (size_t i = 0; i < features_; ++i) {
    sums_[i] += x[i];
    mixed_[i] += x[i] * y;
  }
  total_ += y;
  squares_ += y * y;
  ++examples_;
}

double Regression::deviation() const {
  const double count = static_cast<double>(std::max<size_t>(examples_, 1)), mean = total_ / count;
  return std::sqrt(std::max(squares_ / count - mean * mean, 1e-12));
}

std::vector<Regression::Drawn> Regression::draw(size_t draws, Random& random) const {
  const double precision = 1 / (noise_ * noise_);
  const double mean = total_ / static_cast<double>(std::max<size_t>(examples_, 1)), deviation = this->deviation();
  std::vector<double> expected(features_);
  for (size_t i = 0; i < features_; ++i) expected[i] = (mixed_[i] - mean * sums_[i]) / deviation * precision;
  forward(factor_, expected);  // the mean is factor^-T of this, and so is the deviation of white noise
  std::vector<Drawn> drawn(draws);
  for (Drawn& one : drawn) {
    one = {expected, mean, deviation};
    for (double& value : one.coefficients) value += random.normal();
    backward(factor_, one.coefficients);
  }
  return drawn;
}

double Regression::Drawn::of(const std::vector<double>& x) const {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += coefficients[i] * x[i];
  return mean + deviation * sum;
}

}  // namespace canvas

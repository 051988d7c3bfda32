#include "canvas/search/regression.h"

#include <algorithm>
#include <cmath>

namespace canvas {

namespace {

// A lower triangle, row by row.
struct Triangle {
  std::vector<double> values;
  double* row(size_t i) { return values.data() + i * (i + 1) / 2; }
};

// The Cholesky factor, in place.
void factorise(Triangle& matrix, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    double* row = matrix.row(i);
    for (size_t j = 0; j <= i; ++j) {
      const double* other = matrix.row(j);
      double sum = row[j];
      for (size_t k = 0; k < j; ++k) sum -= row[k] * other[k];
      row[j] = i == j ? std::sqrt(std::max(sum, 1e-12)) : sum / other[j];
    }
  }
}

// Solves factor x = b, in place.
void forward(Triangle& factor, std::vector<double>& x) {
  for (size_t i = 0; i < x.size(); ++i) {
    const double* row = factor.row(i);
    double sum = x[i];
    for (size_t k = 0; k < i; ++k) sum -= row[k] * x[k];
    x[i] = sum / row[i];
  }
}

// Solves factor^T x = b, in place.
void backward(Triangle& factor, std::vector<double>& x) {
  for (size_t i = x.size(); i-- > 0;) {
    const double* row = factor.row(i);
    x[i] /= row[i];
    for (size_t k = 0; k < i; ++k) x[k] -= row[k] * x[i];
  }
}

}  // namespace

Regression::Regression(size_t features, size_t outputs, double noise)
    : features_(features),
      noise_(noise),
      products_(features * (features + 1) / 2, 0.0),
      sums_(features, 0.0),
      mixed_(outputs, std::vector<double>(features, 0.0)),
      total_(outputs, 0.0),
      squares_(outputs, 0.0) {}

void Regression::add(const std::vector<double>& x, const std::vector<double>& y) {
  double* row = products_.data();
  for (size_t i = 0; i < features_; row += ++i) {
    sums_[i] += x[i];
    for (size_t j = 0; x[i] != 0 && j <= i; ++j) row[j] += x[i] * x[j];
  }
  for (size_t output = 0; output < y.size(); ++output) {
    for (size_t i = 0; i < features_; ++i) mixed_[output][i] += x[i] * y[output];
    total_[output] += y[output];
    squares_[output] += y[output] * y[output];
  }
  ++examples_;
}

std::vector<Regression::Drawn> Regression::draw(size_t draws, Random& random) const {
  Triangle factor{products_};
  const double precision = 1 / (noise_ * noise_);
  for (double& value : factor.values) value *= precision;
  for (size_t i = 0; i < features_; ++i) factor.row(i)[i] += 1;
  factorise(factor, features_);
  std::vector<Drawn> drawn(draws);
  const double count = static_cast<double>(std::max<size_t>(examples_, 1));
  for (size_t output = 0; output < total_.size(); ++output) {
    const double mean = total_[output] / count;
    const double deviation = std::sqrt(std::max(squares_[output] / count - mean * mean, 1e-12));
    std::vector<double> expected(features_);
    for (size_t i = 0; i < features_; ++i) {
      expected[i] = (mixed_[output][i] - mean * sums_[i]) / deviation * precision;
    }
    forward(factor, expected);  // the mean is factor^-T of this, and so is the deviation of white noise
    for (Drawn& one : drawn) {
      std::vector<double> coefficients = expected;
      for (double& value : coefficients) value += random.normal();
      backward(factor, coefficients);
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

#include "canvas/search/regression.h"

#include <algorithm>
#include <cmath>

#include "canvas/base/error.h"

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
      expected_(features, 0.0),
      factor_(features * (features + 1) / 2, 0.0),
      sums_(features, 0.0),
      mixed_(features, 0.0) {
  for (size_t i = 0; i < features; ++i) row_of(factor_, i)[i] = 1;
}

void Regression::expect(const std::vector<double>& means, double deviation) {
  require(examples_ == 0 && means.size() == features_, "what is expected comes first, a number for each feature");
  for (size_t i = 0; i < features_; ++i) {
    double& root = row_of(factor_, i)[i];
    root = i == 0 ? 1 : 1 / deviation;
    expected_[i] = root * root * means[i];
  }
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

double Regression::mean() const { return total_ / static_cast<double>(std::max<size_t>(examples_, 1)); }

double Regression::deviation() const {
  if (examples_ == 0) return 1;
  return std::sqrt(std::max(squares_ / static_cast<double>(examples_) - mean() * mean(), 1e-12));
}

std::vector<double> Regression::weighted() const {
  const double mean = this->mean(), deviation = this->deviation(), precision = 1 / (noise_ * noise_);
  std::vector<double> found(features_);
  for (size_t i = 0; i < features_; ++i) {
    found[i] = expected_[i] + (mixed_[i] - mean * sums_[i]) / deviation * precision;
  }
  forward(factor_, found);
  return found;
}

std::vector<double> Regression::means() const {
  std::vector<double> found = weighted();
  backward(factor_, found);
  return found;
}

std::vector<Regression::Drawn> Regression::draw(size_t draws, Random& random) const {
  const Drawn likely = {weighted(), mean(), deviation()};
  std::vector<Drawn> drawn(draws, likely);
  for (Drawn& one : drawn) {
    for (double& value : one.coefficients) value += random.normal();  // the deviation is factor^-T of white noise
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

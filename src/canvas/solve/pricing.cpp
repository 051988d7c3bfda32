#include "canvas/solve/pricing.h"

#include <algorithm>
#include <cstdlib>

namespace canvas {

namespace {

constexpr double kLargestCount = 9e18;           // what counts must stay below to fit 64 bits, with room for a rounding
constexpr double kRounder = 6755399441055744.0;  // 1.5 * 2^52: a sum with it has no fraction
constexpr double kExact = 2251799813685248.0;    // 2^51: where that works
constexpr double kBytes = 4;                     // fp32

// Counts are whole; a coefficient such as C/3 need not be.
double whole(double count) { return count < kExact ? (count + kRounder) - kRounder : count; }

template <class T>
size_t place_of(std::vector<T>& all, const T& one) {
  const auto at = std::find(all.begin(), all.end(), one);
  if (at != all.end()) return static_cast<size_t>(at - all.begin());
  all.push_back(one);
  return all.size() - 1;
}

}  // namespace

Pricing::Pricing(const Kernel& kernel, Statics& statics) : terms_(1) {
  const CostModel model(kernel);
  for (const Count& monomial : model.monomials()) {
    const Size& size = monomial.plain();
    std::vector<Power> term;
    for (int v = kFirstDynamic; v < kernel.variables().count(); ++v) {
      if (size.exponent(v) != 0) term.push_back({static_cast<size_t>(v - kFirstDynamic), size.exponent(v)});
    }
    monomials_.push_back({static_cast<double>(size.numerator()), static_cast<double>(size.denominator()),
                          statics.add(monomial), place_of(terms_, term)});
  }
  sums_ = {model.flops(), model.params()};
  sums_.insert(sums_.end(), model.alive().begin(), model.alive().end());
}

bool Pricing::prepare(const std::vector<Quotient>& statics, Ground& ground) const {
  const size_t terms = terms_.size();
  ground.terms.assign(terms, 1);
  ground.rows.assign(sums_.size() * terms, 0);
  for (size_t row = 0; row < sums_.size(); ++row) {
    for (size_t i : sums_[row]) {
      const Monomial& monomial = monomials_[i];
      const Quotient& fixed = statics[monomial.fixed];
      const double top = monomial.top * static_cast<double>(fixed.top);
      if (top > kLargestCount) return false;
      ground.rows[row * terms + monomial.term] += top / (monomial.bottom * static_cast<double>(fixed.bottom));
    }
  }
  return true;
}

bool Pricing::even_in_last(size_t variables) const {
  for (size_t row = 0; row < 2; ++row) {
    for (size_t i : sums_[row]) {
      for (const Power& power : terms_[monomials_[i].term]) {
        if (power.variable + 1 == variables && power.exponent != 1) return false;
      }
    }
  }
  return true;
}

std::optional<Cost> Pricing::cost(Ground& ground, const int64_t* option) const {
  const size_t terms = terms_.size();
  for (size_t t = 1; t < terms; ++t) {
    double top = 1, bottom = 1;
    for (const Power& power : terms_[t]) {
      double& side = power.exponent > 0 ? top : bottom;
      for (int times = std::abs(power.exponent); times > 0; --times)
        side *= static_cast<double>(option[power.variable]);
    }
    if (top > kLargestCount || bottom > kLargestCount) return std::nullopt;
    ground.terms[t] = top / bottom;
  }
  const double* row = ground.rows.data();
  const auto next = [&] {
    double sum = row[0];
    for (size_t t = 1; t < terms; ++t) sum += row[t] * ground.terms[t];
    row += terms;
    return sum;
  };
  Cost cost;
  cost.flops = whole(next());
  cost.params = whole(next());
  double alive = 0;
  for (size_t i = 2; i < sums_.size(); ++i) alive = std::max(alive, next());
  cost.memory = kBytes * whole(alive);
  if (cost.flops > kLargestCount || cost.params > kLargestCount || alive > kLargestCount) return std::nullopt;
  return cost;
}

}  // namespace canvas

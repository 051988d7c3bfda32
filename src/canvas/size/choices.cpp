#include "canvas/size/choices.h"

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <numeric>

#include "canvas/size/divisors.h"

namespace canvas {

namespace {

constexpr double kEven = 2, kSteps = 6;  // of a few values: half are even steps, half grow by a sixth

// `most` of the values, the first and the last included.
void thin(std::vector<int64_t>& values, size_t most) {
  if (values.size() <= most) return;
  const size_t last = values.size() - 1;
  for (size_t i = 0; i < most; ++i) values[i] = values[i * last / std::max<size_t>(1, most - 1)];
  values.resize(most);
}

// The numbers whose prime factors all sizes of a layer are made of.
std::vector<int64_t> prime_hints(const Values& values) {
  std::vector<int64_t> primes;
  for (int v = kC; v <= kT; ++v) {
    const int64_t extent = values[static_cast<size_t>(v)];
    if (extent == 0) continue;
    const int64_t stride = std::max<int64_t>(1, values[kStride]);
    for (int64_t number : {extent, (extent - 1) / stride + 1}) {
      for (int64_t prime : prime_factors(number)) primes.push_back(prime);
    }
  }
  std::sort(primes.begin(), primes.end());
  primes.erase(std::unique(primes.begin(), primes.end()), primes.end());
  return primes;
}

// Whether the layer sets all static variables of the size.
bool is_set(const Size& size, const Values& values) {
  for (int v = 0; v < kFirstDynamic; ++v) {
    if (size.exponent(v) != 0 && values[static_cast<size_t>(v)] == 0) return false;
  }
  return true;
}

bool within(const System::Bound& bound, const Quotient& size) {
  return static_cast<__int128>(bound.low) * size.bottom <= size.top &&
         (bound.high == 0 || static_cast<__int128>(bound.high) * size.bottom >= size.top);
}

}  // namespace

// Sets the variables one after the other.
class Choices::Search {
 public:
  Search(const Choices& choices, Ground& ground, const Extent& extent, const Visitor& visitor)
      : choices_(choices), ground_(ground), extent_(extent), visitor_(visitor), option_(ground.option) {
    option_.assign(choices.variables_, 1);
    ground.candidates.resize(choices.variables_);
  }

  bool run() { return set(0); }

 private:
  bool set(size_t step) {
    if (step == option_.size()) return visitor_.call(visitor_.own, option_.data());
    const size_t variable = choices_.order_[step];
    bool sure = false;
    std::vector<int64_t>& values = ground_.candidates[step];
    values.clear();
    const bool listed =
        ground_.rows.empty() || !ground_.rows[step] ? candidates(step, sure, values) : solution(step, values);
    if (!listed) return false;
    for (int64_t value : values) {
      if (variable == extent_.other_than && value == extent_.excluded) continue;
      option_[variable] = value;
      if ((sure || choices_.legal(ground_, option_.data(), step)) && !set(step + 1)) return false;
    }
    option_[variable] = 1;
    return true;
  }

  // What the equation of this step makes of the values so far; false where that is past exact arithmetic.
  bool solution(size_t step, std::vector<int64_t>& values) {
    const Ground::Row& row = *ground_.rows[step];
    Powers value = row.rest;
    for (size_t i = 0; i < step; ++i) {
      if (row.exponents[i] != 0)
        value = value.times(Powers(Size::constant(option_[choices_.order_[i]])), row.exponents[i]);
    }
    value = value.rooted(-row.exponents[step]);
    ground_.too_large = ground_.too_large || !value.valid();
    if (ground_.too_large) return false;
    if (value.root() != 1 || !value.is_whole(0)) return true;
    const Size size = value.size();
    if (!size.valid() && limited(choices_.order_[step])) return true;
    ground_.too_large = !size.valid();
    if (size.valid()) values.push_back(size.numerator());
    return size.valid();
  }

  // Whether a bound keeps the variable from being past 64 bits.
  bool limited(size_t variable) const {
    const Size size = Size::variable(kFirstDynamic + static_cast<int>(variable));
    return std::any_of(choices_.bounds_.begin(), choices_.bounds_.end(),
                       [&](const System::Bound& bound) { return bound.high > 0 && bound.size == size; });
  }

  // What `term` is with the variables set before `step`; nothing while one that is not set could still make it larger.
  std::optional<Quotient> so_far(const Term& term, const Quotient& ground, size_t step) const {
    Quotient result = ground;
    const auto here = choices_.order_.begin() + static_cast<std::ptrdiff_t>(step);
    for (const Term::Power& power : term.powers) {
      const bool is_set = std::find(choices_.order_.begin(), here, power.variable) != here;
      if (!is_set && power.exponent > 0 && power.variable != *here) return std::nullopt;
      if (!is_set) continue;
      int64_t& side = power.exponent > 0 ? result.top : result.bottom;
      if (!times_power(side, option_[power.variable], std::abs(power.exponent))) return std::nullopt;
    }
    return result;
  }

  // Values worth trying; false where they are too many. `sure`: all of them are legal.
  bool candidates(size_t step, bool& sure, std::vector<int64_t>& values) const {
    int64_t bound = 0, multiple = 1;  // it divides the bound, as a power; it is a multiple
    int bound_power = 1;
    int64_t largest = 1;  // of what a value multiplies
    sure = std::none_of(choices_.bounded_.begin(), choices_.bounded_.end(),
                        [&](const Term& term) { return term.last == step; });
    for (size_t i = 0; i < choices_.sizes_.size(); ++i) {
      const Term& term = choices_.sizes_[i];
      const auto power = std::find_if(term.powers.begin(), term.powers.end(),
                                      [&](const Term::Power& p) { return p.variable == choices_.order_[step]; });
      if (power == term.powers.end()) continue;
      const auto now = so_far(term, ground_.sizes[i], step);
      sure = sure && (now || term.last != step);
      if (!now) continue;
      if (power->exponent > 0) {
        const int64_t missing = now->bottom == 1 ? 1 : now->bottom / std::gcd(now->top, now->bottom);
        sure = sure && missing == 1 && power->exponent == 1;
        largest = std::max(largest, now->top);
        if (power->exponent == 1) multiple = std::lcm(multiple, std::min<int64_t>(missing, int64_t{1} << 31));
        continue;
      }
      if (now->bottom != 1 && now->top % now->bottom != 0) return true;
      const int64_t most = now->bottom == 1 ? now->top : now->top / now->bottom;
      if (bound > 0 && most != bound && bound_power == 1 && power->exponent == -1) {
        bound = std::gcd(bound, most);
      } else if (bound == 0 || most < bound) {
        sure = sure && bound == 0 && power->exponent == -1;
        bound = most, bound_power = -power->exponent;
      } else {
        sure = sure && (most == bound && bound_power == 1 && power->exponent == -1);
      }
    }
    if (bound > 0) {
      static const std::vector<int64_t> kNone;
      divisors(bound, bound_power, bound < (int64_t{1} << 32) ? kNone : prime_hints(ground_.values), values);
    } else {
      const int64_t last = extent_.largest / multiple;
      const auto limit = static_cast<int64_t>(std::min(extent_.most, size_t{INT64_MAX}));
      const int64_t count = std::min(last, limit);
      if (extent_.few > 0 && step + 1 == option_.size() && last > static_cast<int64_t>(extent_.few)) {
        few_of(last, multiple, values);
        return true;
      }
      if (last > limit && !extent_.thin) return false;
      for (int64_t i = 1; i <= count; ++i)
        values.push_back(multiple * (count == last ? i : 1 + (i - 1) * (last - 1) / std::max<int64_t>(1, count - 1)));
    }
    if (extent_.thin) thin(values, extent_.most);
    sure = sure && !values.empty() && values.back() <= INT64_MAX / largest;
    return true;
  }

  // Some of the first `last` multiples.
  void few_of(int64_t last, int64_t multiple, std::vector<int64_t>& values) const {
    values.push_back(multiple);
    const double even = static_cast<double>(last) / static_cast<double>(extent_.few) * kEven;
    for (int64_t at = 1; at < last; values.push_back(at * multiple)) {
      const double step = std::min(even, static_cast<double>(at) / kSteps);
      at = std::min(last, at + std::max<int64_t>(1, static_cast<int64_t>(step)));
    }
  }

  const Choices& choices_;
  Ground& ground_;
  const Extent& extent_;
  const Visitor& visitor_;
  std::vector<int64_t>& option_;
};

Choices::Choices(const System& system, size_t variables)
    : variables_(variables), equations_(system.equations), bounds_(system.bounds) {
  std::vector<Size> sizes;
  for (const Size& size : system.whole) {
    if (std::find(sizes.begin(), sizes.end(), size) != sizes.end()) continue;
    sizes.push_back(size);
    (size.has_dynamic() ? sizes_ : fixed_).emplace_back(size, variables, statics_);
  }
  for (const System::Bound& bound : bounds_) {
    sizes.push_back(bound.size);
    bounded_.emplace_back(bound.size, variables, statics_);
  }
  for (int v = 0; v < kFirstDynamic; ++v) {
    if (std::any_of(sizes.begin(), sizes.end(), [&](const Size& size) { return size.exponent(v) != 0; }))
      needed_.push_back(v);
  }
  choose_order();
}

// First the variables that a size bounds by what is set already, then those that divide nothing.
void Choices::choose_order() {
  std::vector<bool> is_set(variables_, false);
  const auto rank = [&](size_t variable) {
    bool divides = false;
    for (const Term& size : sizes_) {
      bool here = false, open = false;
      for (const Term::Power& power : size.powers) {
        if (power.variable == variable)
          here = power.exponent < 0;
        else
          open = open || (!is_set[power.variable] && power.exponent > 0);
      }
      if (here && !open) return 0;
      divides = divides || here;
    }
    return divides ? 2 : 1;
  };
  while (order_.size() < variables_) {
    size_t best = variables_;
    for (size_t v = 0; v < variables_; ++v) {
      if (!is_set[v] && (best == variables_ || rank(v) < rank(best))) best = v;
    }
    is_set[best] = true;
    order_.push_back(best);
  }
  for (std::vector<Term>* terms : {&sizes_, &bounded_}) {
    for (Term& term : *terms) {
      for (const Term::Power& power : term.powers) {
        const auto step = static_cast<size_t>(std::find(order_.begin(), order_.end(), power.variable) - order_.begin());
        term.last = std::max(term.last, step);
      }
    }
  }
}

bool Choices::prepare(const Values& values, Ground& ground) const {
  ground.values = values;
  ground.sizes.clear();
  ground.bounds.clear();
  ground.rows.clear();
  ground.too_large = false;
  for (int v : needed_) {
    if (values[static_cast<size_t>(v)] == 0) return false;
  }
  if (!statics_.evaluate(values, ground.statics)) return false;
  for (const Term& term : fixed_) {
    const auto size = term.ground(ground.statics);
    if (!size || size->top % size->bottom != 0) return false;
  }
  const auto put = [&](const std::vector<Term>& terms, std::vector<Quotient>& into) {
    for (const Term& term : terms) {
      const auto quotient = term.ground(ground.statics);
      if (!quotient) return false;
      into.push_back(*quotient);
    }
    return true;
  };
  if (!put(sizes_, ground.sizes) || !put(bounded_, ground.bounds)) return false;
  for (size_t i = 0; i < bounded_.size(); ++i) {
    if (bounded_[i].powers.empty() && !within(bounds_[i], ground.bounds[i])) return false;
  }
  return equations_.empty() || close_equations(ground);
}

// Brings the equations into echelon form: at most one for each step, which the step's variable is the last to appear in.
bool Choices::close_equations(Ground& ground) const {
  ground.rows.assign(variables_, std::nullopt);
  const auto subtract = [&](Ground::Row& row, const Ground::Row& other, int64_t times) {
    for (size_t i = 0; i < variables_; ++i) {
      int64_t product = 0;
      ground.too_large = ground.too_large || __builtin_mul_overflow(other.exponents[i], times, &product) ||
                         __builtin_sub_overflow(row.exponents[i], product, &row.exponents[i]);
    }
    row.rest = row.rest.times(other.rest, -times);
    ground.too_large = ground.too_large || !row.rest.valid();
  };
  for (const auto& [left, right] : equations_) {
    Ground::Row row{std::vector<int64_t>(variables_, 0), {}};
    for (const auto& [side, sign] : {std::pair(&left, 1), std::pair(&right, -1)}) {
      if (!is_set(*side, ground.values)) return false;
      const auto quotient = side->quotient(ground.values);
      if (quotient) row.rest = row.rest.times(Powers(Size::constant(quotient->top, quotient->bottom)), sign);
      ground.too_large = ground.too_large || !quotient || !row.rest.valid();
      for (size_t i = 0; i < variables_; ++i)
        row.exponents[i] += sign * side->exponent(kFirstDynamic + static_cast<int>(order_[i]));
    }
    size_t step = variables_;
    for (; step-- > 0 && !ground.too_large;) {
      if (row.exponents[step] == 0) continue;
      if (!ground.rows[step]) {
        ground.rows[step] = std::move(row);
        break;
      }
      Ground::Row& pivot = *ground.rows[step];
      while (row.exponents[step] != 0 && !ground.too_large) {
        subtract(pivot, row, pivot.exponents[step] / row.exponents[step]);
        std::swap(pivot, row);
      }
    }
    if (ground.too_large || (step == SIZE_MAX && !row.rest.is_one())) return false;
  }
  return true;
}

bool Choices::legal(const Ground& ground, const int64_t* option, size_t step) const {
  for (size_t i = 0; i < sizes_.size(); ++i) {
    if (sizes_[i].last != step) continue;
    const auto now = sizes_[i].with(ground.sizes[i], option);
    if (!now || now->top % now->bottom != 0) return false;
  }
  for (size_t i = 0; i < bounded_.size(); ++i) {
    if (bounded_[i].last != step) continue;
    const auto now = bounded_[i].with(ground.bounds[i], option);
    if (!now || !within(bounds_[i], *now)) return false;
  }
  return true;
}

bool Choices::search(Ground& ground, const Extent& extent, const Visitor& visitor) const {
  return Search(*this, ground, extent, visitor).run();
}

bool Choices::in_order() const { return std::is_sorted(order_.begin(), order_.end()); }

bool Choices::ends_in_range() const {
  if (variables_ == 0 || !in_order() || !equations_.empty()) return false;
  const auto has = [&](const Term& term, int least, int most) {
    return std::any_of(term.powers.begin(), term.powers.end(), [&](const Term::Power& power) {
      return power.variable + 1 == variables_ && power.exponent >= least && power.exponent <= most;
    });
  };
  return std::none_of(bounded_.begin(), bounded_.end(),
                      [&](const Term& term) { return has(term, INT_MIN, INT_MAX); }) &&
         std::none_of(sizes_.begin(), sizes_.end(),
                      [&](const Term& term) { return has(term, INT_MIN, -1) || has(term, 2, INT_MAX); });
}

Answer solve(const System& system, const Values& values, int64_t largest) {
  Answer answer;
  const std::vector<int> all = system.variables();
  const int last = std::max(kFirstDynamic - 1, all.empty() ? 0 : all.back());
  const Choices choices(system, static_cast<size_t>(last + 1 - kFirstDynamic));
  Choices::Ground ground;
  const bool possible = choices.prepare(values, ground);
  const auto first_of = [&](const Choices::Extent& extent, Values& into) {
    bool found = false;
    choices.each(ground, extent, [&](const int64_t* option) {
      std::copy(option, option + choices.variables(), into.begin() + kFirstDynamic);
      found = true;
      return false;
    });
    return found;
  };
  answer.first = values;
  answer.found = possible && first_of({largest}, answer.first);
  for (int v : all) {
    if (!answer.found || !is_dynamic(v)) continue;
    Values other = values;
    const int64_t value = answer.first[static_cast<size_t>(v)];
    if (first_of({largest, SIZE_MAX, false, static_cast<size_t>(v - kFirstDynamic), value}, other)) {
      answer.free.push_back(v);
    } else {
      answer.forced.emplace_back(v, value);
    }
  }
  answer.too_large = ground.too_large;
  return answer;
}

}  // namespace canvas

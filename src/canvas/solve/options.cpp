#include "canvas/solve/options.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

#include "canvas/ir/primitive.h"
#include "canvas/size/divisors.h"

namespace canvas {

namespace {

constexpr int64_t kLargestFree = 1024;
constexpr int64_t kFreeTimes = 4;       // or so many times the layer's channels
constexpr double kLargestCount = 9e18;  // what counts must stay below to fit 64 bits, with room for a rounding

bool times_power(int64_t& product, int64_t value, int power) {
  for (; power > 0; --power) {
    if (__builtin_mul_overflow(product, value, &product)) return false;
  }
  return true;
}

double power_of(double value, int power) {
  double product = 1;
  for (; power > 0; --power) product *= value;
  return product;
}

// `most` of the values, the first and the last included.
void thin(std::vector<int64_t>& values, size_t most) {
  if (values.size() <= most) return;
  std::vector<int64_t> kept;
  for (size_t i = 0; i < most; ++i) kept.push_back(values[i * (values.size() - 1) / std::max<size_t>(1, most - 1)]);
  values = std::move(kept);
}

}  // namespace

// Sets the variables one after the other, each to what divides or is a multiple of what the sizes demand so far.
class Sizing::Search {
 public:
  Search(const Sizing& sizing, Ground& ground, size_t most)
      : sizing_(sizing), ground_(ground), most_(most), option_(sizing.variables_, 1) {
    const Layer& layer = ground.layer;
    for (int64_t extent : {layer.c_in, layer.c_out, std::max<int64_t>(1, layer.tokens)}) large_.push_back(extent);
    for (int64_t extent : layer.spatial) large_.push_back(extent);
    for (int64_t extent : layer.output()) large_.push_back(extent);
  }

  Options run() {
    Options found = attempt(SIZE_MAX);
    if (found.complete) return found;
    found =
        attempt(static_cast<size_t>(std::pow(static_cast<double>(most_), 1.0 / std::max<size_t>(1, found.variables))));
    found.complete = false;
    return found;
  }

 private:
  Options attempt(size_t most_values) {
    Options found;
    found.variables = sizing_.variables_;
    most_values_ = std::max<size_t>(2, most_values);
    limited_ = most_values != SIZE_MAX;
    std::fill(option_.begin(), option_.end(), 1);
    set(0, found);
    return found;
  }

  void set(size_t step, Options& found) {
    if (step == option_.size()) {
      const auto cost = sizing_.legal_cost(ground_, option_.data());
      if (!cost) return;
      if (!limited_ && found.size() >= most_) {
        found.complete = false;
        return;
      }
      found.values.insert(found.values.end(), option_.begin(), option_.end());
      found.costs.push_back(*cost);
      return;
    }
    const size_t variable = sizing_.order_[step];
    for (int64_t value : candidates(step, found)) {
      option_[variable] = value;
      if (sizing_.legal(ground_, option_.data(), step)) set(step + 1, found);
      if (!found.complete) return;
    }
    option_[variable] = 1;
  }

  // What `term` is with the variables set before `step`; nothing while one that is not set could still make it larger.
  std::optional<Quotient> so_far(const Term& term, const Quotient& ground, size_t step) const {
    Quotient result = ground;
    for (const Power& power : term.powers) {
      const bool is_set = std::find(sizing_.order_.begin(), sizing_.order_.begin() + static_cast<std::ptrdiff_t>(step),
                                    power.variable) != sizing_.order_.begin() + static_cast<std::ptrdiff_t>(step);
      if (!is_set && power.exponent > 0 && power.variable != sizing_.order_[step]) return std::nullopt;
      if (!is_set) continue;
      int64_t& side = power.exponent > 0 ? result.top : result.bottom;
      if (!times_power(side, option_[power.variable], std::abs(power.exponent))) return std::nullopt;
    }
    return result;
  }

  std::vector<int64_t> candidates(size_t step, Options& found) const {
    int64_t bound = 0, multiple = 1;  // it divides the bound, as a power; it is a multiple
    int bound_power = 1;
    for (size_t i = 0; i < sizing_.sizes_.size(); ++i) {
      const Term& term = sizing_.sizes_[i];
      const auto power = std::find_if(term.powers.begin(), term.powers.end(),
                                      [&](const Power& p) { return p.variable == sizing_.order_[step]; });
      if (power == term.powers.end()) continue;
      const auto now = so_far(term, ground_.sizes[i], step);
      if (!now) continue;
      if (power->exponent > 0) {
        const int64_t missing = now->bottom / std::gcd(now->top, now->bottom);
        if (power->exponent == 1) multiple = std::lcm(multiple, std::min<int64_t>(missing, int64_t{1} << 31));
        continue;
      }
      if (now->top % now->bottom != 0) return {};
      const int64_t most = now->top / now->bottom;
      if (bound == 0 || most < bound) bound = most, bound_power = -power->exponent;
    }
    std::vector<int64_t> values;
    if (bound > 0) {
      values = divisors(bound, bound_power, bound < (int64_t{1} << 32) ? std::vector<int64_t>() : hints());
    } else {
      const int64_t last = largest_free(ground_.layer) / multiple;
      const int64_t limit = static_cast<int64_t>(std::min(most_ + 1, most_values_));
      const int64_t count = std::min(last, limit);
      if (last > limit && !limited_) found.complete = false;
      for (int64_t i = 1; i <= count; ++i)
        values.push_back(multiple * (count == last ? i : 1 + (i - 1) * (last - 1) / std::max<int64_t>(1, count - 1)));
    }
    thin(values, most_values_);
    return values;
  }

  std::vector<int64_t> hints() const {
    std::vector<int64_t> primes;
    for (int64_t number : large_) {
      for (int64_t prime : prime_factors(number)) primes.push_back(prime);
    }
    std::sort(primes.begin(), primes.end());
    primes.erase(std::unique(primes.begin(), primes.end()), primes.end());
    return primes;
  }

  const Sizing& sizing_;
  Ground& ground_;
  size_t most_;
  size_t most_values_ = SIZE_MAX;
  bool limited_ = false;  // the second attempt, with fewer values a variable
  std::vector<int64_t> option_;
  std::vector<int64_t> large_;  // whose prime factors all sizes are made of
};

Sizing::Sizing(const Kernel& kernel, int64_t multiple_of)
    : kernel_(kernel),
      model_(kernel),
      variables_(static_cast<size_t>(kernel.variables().count() - kFirstDynamic)),
      multiple_of_(multiple_of) {
  std::vector<Size> free;
  const auto put = [&](const Size& size) {
    std::vector<Size>& sizes = size.has_dynamic() ? free : fixed_;
    if (std::find(sizes.begin(), sizes.end(), size) == sizes.end()) sizes.push_back(size);
  };
  for (const Node& node : kernel.nodes()) {
    Size channels;
    for (const Axes* axes : {&node.axes, &node.attributes.to}) {
      for (const Axis& axis : *axes) put(axis.size);
    }
    for (const Axis& axis : node.axes) {
      if (axis.role == Role::kChannel) channels = channels * axis.size;
    }
    if (multiple_of > 1 && channels.has_dynamic()) put(channels * Size::constant(1, multiple_of));
    splits_ = splits_ || (node.primitive && node.primitive->is(kBijective));
    picky_ = picky_ || (node.primitive && node.primitive->misfit);
  }
  for (const Size& size : free) sizes_.push_back(term(size));
  for (const Size& monomial : model_.monomials()) monomials_.push_back(term(monomial));
  choose_order();
}

Sizing::Term Sizing::term(const Size& size) const {
  Term result{size, {}, 0};
  for (size_t i = 0; i < variables_; ++i) {
    const int exponent = size.exponent(kFirstDynamic + static_cast<int>(i));
    if (exponent != 0) result.powers.push_back({i, exponent});
  }
  return result;
}

// First the variables that a size bounds by what is set already, then those that divide nothing.
void Sizing::choose_order() {
  std::vector<bool> is_set(variables_, false);
  const auto rank = [&](size_t variable) {
    bool divides = false;
    for (const Term& size : sizes_) {
      bool here = false, open = false;
      for (const Power& power : size.powers) {
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
  for (Term& size : sizes_) {
    for (const Power& power : size.powers) {
      const auto step = static_cast<size_t>(std::find(order_.begin(), order_.end(), power.variable) - order_.begin());
      size.last = std::max(size.last, step);
    }
  }
}

bool Sizing::prepare(const Layer& layer, Ground& ground) const {
  const Values values = layer.values();
  ground.layer = layer;
  ground.sizes.clear();
  ground.monomials.clear();
  for (const Size& size : fixed_) {
    if (!size.evaluate(values)) return false;
  }
  const auto put = [&](const std::vector<Term>& terms, std::vector<Quotient>& into) {
    for (const Term& term : terms) {
      for (int v = 0; v < kFirstDynamic; ++v) {
        if (term.size.exponent(v) != 0 && values[static_cast<size_t>(v)] == 0) return false;
      }
      const auto quotient = term.size.quotient(values);
      if (!quotient) return false;
      into.push_back(*quotient);
    }
    return true;
  };
  if (!put(sizes_, ground.sizes) || !put(monomials_, ground.monomials)) return false;
  ground.one_by_one = picky_;
  for (int64_t extent : layer.spatial) ground.one_by_one = ground.one_by_one || (splits_ && extent % layer.stride != 0);
  ground.amounts.resize(monomials_.size());
  return true;
}

bool Sizing::legal(const Ground& ground, const int64_t* option, size_t step) const {
  for (size_t i = 0; i < sizes_.size(); ++i) {
    if (sizes_[i].last != step) continue;
    Quotient now = ground.sizes[i];
    for (const Power& power : sizes_[i].powers) {
      int64_t& side = power.exponent > 0 ? now.top : now.bottom;
      if (!times_power(side, option[power.variable], std::abs(power.exponent))) return false;
    }
    if (now.top % now.bottom != 0) return false;
  }
  return true;
}

std::optional<Cost> Sizing::legal_cost(Ground& ground, const int64_t* option) const {
  for (size_t i = 0; i < monomials_.size(); ++i) {
    double top = static_cast<double>(ground.monomials[i].top);
    double bottom = static_cast<double>(ground.monomials[i].bottom);
    for (const Power& power : monomials_[i].powers) {
      (power.exponent > 0 ? top : bottom) *=
          power_of(static_cast<double>(option[power.variable]), std::abs(power.exponent));
    }
    if (top > kLargestCount || bottom > kLargestCount) return std::nullopt;
    ground.amounts[i] = top / bottom;
  }
  if (ground.one_by_one && check_sizes(kernel_, ground.layer, values(ground.layer, option))) return std::nullopt;
  return model_.combine(ground.amounts);
}

Options Sizing::options(const Layer& layer, size_t most) const {
  Options found;
  found.variables = variables_;
  Ground ground;
  if (!prepare(layer, ground)) return found;
  found = Search(*this, ground, most).run();
  if (std::is_sorted(order_.begin(), order_.end())) return found;
  std::vector<size_t> sorted(found.size());
  std::iota(sorted.begin(), sorted.end(), size_t{0});
  std::sort(sorted.begin(), sorted.end(), [&](size_t a, size_t b) {
    return std::lexicographical_compare(found.at(a), found.at(a) + variables_, found.at(b), found.at(b) + variables_);
  });
  Options result{variables_, {}, {}, found.complete};
  for (size_t i : sorted) {
    result.values.insert(result.values.end(), found.at(i), found.at(i) + variables_);
    result.costs.push_back(found.costs[i]);
  }
  return result;
}

void Sizing::restrict(Options& options, const Layer& layer) const {
  Ground ground;
  Options kept{variables_, {}, {}, options.complete};
  const bool possible = prepare(layer, ground);
  for (size_t i = 0; possible && i < options.size(); ++i) {
    bool fits = true;
    for (size_t step = 0; step < variables_ && fits; ++step) fits = legal(ground, options.at(i), step);
    if (!fits || !legal_cost(ground, options.at(i))) continue;
    kept.values.insert(kept.values.end(), options.at(i), options.at(i) + variables_);
    kept.costs.push_back(options.costs[i]);
  }
  options = std::move(kept);
}

std::vector<Cost> Sizing::costs(const Options& options, const Layer& layer) const {
  Ground ground;
  require(prepare(layer, ground), "options were priced on a layer where they are not legal");
  std::vector<Cost> costs;
  for (size_t i = 0; i < options.size(); ++i) costs.push_back(legal_cost(ground, options.at(i)).value_or(Cost{}));
  return costs;
}

Fault Sizing::why_none(const Layer& layer) const {
  const std::vector<int64_t> ones(variables_, 1);
  if (auto fault = check_sizes(kernel_, layer, values(layer, ones.data()))) return *fault;
  if (multiple_of_ > 1) {
    return Fault{"bind", "free sizes that make channels multiples of " + std::to_string(multiple_of_),
                 "none on the layer " + layer.str(), "take a smaller multiple_of"};
  }
  return Fault{"bind", "operations and parameters that fit 64-bit integers", "more on the layer " + layer.str(), ""};
}

Values Sizing::values(const Layer& layer, const int64_t* option) const {
  Values values = layer.values();
  std::copy(option, option + variables_, values.begin() + kFirstDynamic);
  return values;
}

int64_t Sizing::largest_free(const Layer& layer) {
  return std::max(kLargestFree, kFreeTimes * std::max(layer.c_in, layer.c_out));
}

std::optional<Fault> check_sizes(const Kernel& kernel, const Layer& layer, const Values& values) {
  const auto whole = [&](const Axes& axes) {
    int64_t product = 1;
    for (const Axis& axis : axes) {
      const auto extent = axis.size.evaluate(values);
      if (!extent || __builtin_mul_overflow(product, *extent, &product)) return int64_t{0};
    }
    return product;
  };
  for (const Node& node : kernel.nodes()) {
    for (const Axis& axis : node.axes) {
      if (axis.size.evaluate(values)) continue;
      return Fault{"bind", "axis " + axis.name + " of value " + node.name + " a positive integer on every layer",
                   to_string(axis.size, kernel.variables()) + " on the layer " + layer.str(), ""};
    }
    if (node.primitive && node.primitive->misfit) {
      if (auto fault = node.primitive->misfit(node, kernel.operands(node), values)) {
        return Fault{"bind", fault->required, fault->got + " on the layer " + layer.str(), fault->hint};
      }
    }
    if (node.primitive && node.primitive->is(kBijective) &&
        whole(node.axes) != whole(kernel.node(node.inputs[0]).axes)) {
      return Fault{
          "bind",
          "a stride that divides what " + std::string(node.primitive->name) + " " + node.name + " splits or merges",
          "the layer " + layer.str(), ""};
    }
    if (whole(node.axes) == 0)
      return Fault{"bind", "values that fit memory", "value " + node.name + " on the layer " + layer.str(), ""};
  }
  return std::nullopt;
}

}  // namespace canvas

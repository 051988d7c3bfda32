#include "canvas/solve/options.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

#include "canvas/ir/primitive.h"

namespace canvas {

namespace {

constexpr size_t kUsual = 16;  // options of a layer
constexpr int64_t kLargestFree = 1024;
constexpr int64_t kFreeTimes = 4;       // or so many times the layer's channels
constexpr double kLargestCount = 9e18;  // what counts must stay below to fit 64 bits, with room for a rounding

double power_of(double value, int power) {
  double product = 1;
  for (; power > 0; --power) product *= value;
  return product;
}

size_t free_sizes(const Kernel& kernel) { return static_cast<size_t>(kernel.variables().count() - kFirstDynamic); }

// The system, and that the channels of every value that a free size decides come in such multiples.
System in_multiples(const Kernel& kernel, System system, int64_t multiple_of) {
  for (const Node& node : kernel.nodes()) {
    Size channels;
    for (const Axis& axis : node.axes) {
      if (axis.role == Role::kChannel) channels = channels * axis.size;
    }
    if (multiple_of > 1 && channels.has_dynamic()) system.whole.push_back(channels * Size::constant(1, multiple_of));
  }
  return system;
}

}  // namespace

Sizing::Sizing(const Kernel& kernel, int64_t multiple_of)
    : kernel_(kernel),
      model_(kernel),
      multiple_of_(multiple_of),
      system_(system_of(kernel)),
      choices_(in_multiples(kernel, system_, multiple_of), free_sizes(kernel)) {
  for (const Node& node : kernel.nodes()) {
    picky_ = picky_ || (node.primitive && (node.primitive->is(kBijective) || node.primitive->misfit));
  }
  for (const Size& monomial : model_.monomials()) {
    monomials_.emplace_back(monomial, choices_.variables());
    if (!monomials_.back().powers.empty()) priced_.push_back(monomials_.size() - 1);
  }
}

bool Sizing::prepare(const Layer& layer, Ground& ground) const {
  ground.layer = layer;
  if (!choices_.prepare(layer.values(), ground.sizes)) return false;
  ground.monomials.clear();
  ground.amounts.clear();
  for (const Choices::Term& term : monomials_) {
    const auto quotient = term.size.quotient(ground.sizes.values);
    if (!quotient) return false;
    ground.monomials.push_back({static_cast<double>(quotient->top), static_cast<double>(quotient->bottom)});
    if (ground.monomials.back().top > kLargestCount) return false;
    ground.amounts.push_back(ground.monomials.back().top / ground.monomials.back().bottom);
  }
  ground.one_by_one = false;
  for (int64_t extent : layer.spatial) ground.one_by_one = ground.one_by_one || (picky_ && extent % layer.stride != 0);
  return true;
}

std::optional<Cost> Sizing::legal_cost(Ground& ground, const int64_t* option) const {
  for (size_t i : priced_) {
    auto [top, bottom] = ground.monomials[i];
    for (const Choices::Power& power : monomials_[i].powers) {
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
  const size_t variables = choices_.variables();
  Options found{variables};
  Ground& ground = ground_;
  if (!prepare(layer, ground)) return found;
  const auto list = [&](const Choices::Extent& extent) {
    found.values.clear();
    found.costs.clear();
    found.costs.reserve(kUsual);
    found.values.reserve(kUsual * variables);
    return choices_.each(ground.sizes, extent, [&](const int64_t* option) {
      const auto cost = legal_cost(ground, option);
      if (cost && !extent.thin && found.size() >= most) return false;
      if (cost) {
        found.values.insert(found.values.end(), option, option + variables);
        found.costs.push_back(*cost);
      }
      return true;
    });
  };
  found.complete = list({largest_free(layer), most + 1});
  if (!found.complete) {  // once more, with fewer values a variable
    const double each = std::pow(static_cast<double>(most), 1.0 / static_cast<double>(std::max<size_t>(1, variables)));
    list({largest_free(layer), std::max<size_t>(2, static_cast<size_t>(each)), true});
    found.complete = false;
  }
  if (choices_.in_order()) return found;
  std::vector<size_t> sorted(found.size());
  std::iota(sorted.begin(), sorted.end(), size_t{0});
  std::sort(sorted.begin(), sorted.end(), [&](size_t a, size_t b) {
    return std::lexicographical_compare(found.at(a), found.at(a) + variables, found.at(b), found.at(b) + variables);
  });
  Options result{variables, {}, {}, found.complete};
  for (size_t i : sorted) {
    result.values.insert(result.values.end(), found.at(i), found.at(i) + variables);
    result.costs.push_back(found.costs[i]);
  }
  return result;
}

void Sizing::restrict(Options& options, const Layer& layer) const {
  Ground& ground = ground_;
  Options kept{options.variables, {}, {}, options.complete};
  const bool possible = prepare(layer, ground);
  for (size_t i = 0; possible && i < options.size(); ++i) {
    bool fits = true;
    for (size_t step = 0; step < options.variables && fits; ++step)
      fits = choices_.legal(ground.sizes, options.at(i), step);
    if (!fits || !legal_cost(ground, options.at(i))) continue;
    kept.values.insert(kept.values.end(), options.at(i), options.at(i) + options.variables);
    kept.costs.push_back(options.costs[i]);
  }
  options = std::move(kept);
}

std::vector<Cost> Sizing::costs(const Options& options, const Layer& layer) const {
  Ground& ground = ground_;
  require(prepare(layer, ground), "options were priced on a layer where they are not legal");
  std::vector<Cost> costs;
  for (size_t i = 0; i < options.size(); ++i) costs.push_back(legal_cost(ground, options.at(i)).value_or(Cost{}));
  return costs;
}

Fault Sizing::why_none(const Layer& layer) const {
  if (auto fault = unmet(system_, kernel_, layer)) return *fault;
  const std::vector<int64_t> ones(choices_.variables(), 1);
  if (auto fault = check_sizes(kernel_, layer, values(layer, ones.data()))) return *fault;
  if (multiple_of_ > 1) {
    return Fault{"bind", "free sizes that make channels multiples of " + std::to_string(multiple_of_),
                 "none on the layer " + layer.str(), "take a smaller multiple_of"};
  }
  return Fault{"bind", "operations and parameters that fit 64-bit integers", "more on the layer " + layer.str(), ""};
}

Values Sizing::values(const Layer& layer, const int64_t* option) const {
  Values values = layer.values();
  std::copy(option, option + choices_.variables(), values.begin() + kFirstDynamic);
  return values;
}

int64_t Sizing::largest_free(const Layer& layer) {
  return std::max(kLargestFree, kFreeTimes * std::max(layer.c_in, layer.c_out));
}

}  // namespace canvas

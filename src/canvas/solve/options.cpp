#include "canvas/solve/options.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

#include "canvas/ir/primitive.h"

namespace canvas {

namespace {

constexpr size_t kFew = 64;         // values of a range
constexpr size_t kFewOfAll = 1024;  // of two ranges together
constexpr int64_t kLargestFree = 1024;
constexpr int64_t kFreeTimes = 4;  // or so many times the layer's channels

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
      multiple_of_(multiple_of),
      system_(system_of(kernel)),
      choices_(in_multiples(kernel, system_, multiple_of), free_sizes(kernel)),
      pricing_(kernel, choices_.statics()) {
  for (const Node& node : kernel.nodes()) {
    picky_ = picky_ || (node.primitive && (node.primitive->is(kBijective) || node.primitive->misfit));
  }
  even_ = choices_.ends_in_range() && pricing_.even_in_last(variables());
}

bool Sizing::prepare(const Layer& layer, Ground& ground) const {
  ground.layer = &layer;
  if (!choices_.prepare(layer.values(), ground.sizes)) return false;
  if (!pricing_.prepare(ground.sizes.statics, ground.costs)) return false;
  ground.one_by_one = false;
  for (int64_t extent : layer.spatial) ground.one_by_one = ground.one_by_one || (picky_ && extent % layer.stride != 0);
  return true;
}

std::optional<Cost> Sizing::legal_cost(Ground& ground, const int64_t* option) const {
  if (ground.one_by_one && check_sizes(kernel_, *ground.layer, values(*ground.layer, option))) return std::nullopt;
  return pricing_.cost(ground.costs, option);
}

size_t Sizing::list(const Layer& layer, size_t most, Options& into) const { return list(layer, most, 0, into); }

size_t Sizing::list_few(const Layer& layer, size_t most, double memory, Options& into) const {
  if (!even_) return list(layer, most, 0, into);
  const size_t start = into.size(), last = into.variables - 1;
  const size_t count = list(layer, most, kFew, into);
  std::vector<int64_t> option(into.variables);
  for (size_t i = start + 1; i < start + count;
       ++i) {  // the last that fits the memory, where the one behind it does not
    const int64_t *low = into.at(i - 1), *high = into.at(i);
    if (!std::equal(low, low + last, high)) continue;
    if (into.costs[i - 1].memory > memory || into.costs[i].memory <= memory) continue;
    std::copy(low, low + into.variables, option.begin());
    const int64_t step = into.at(start)[last];  // all are multiples of the least
    int64_t from = low[last] / step, to = high[last] / step;
    Cost fits = into.costs[i - 1];
    while (to - from > 1) {
      const int64_t middle = (from + to) / 2;
      option[last] = middle * step;
      const auto cost = legal_cost(ground_, option.data());
      if (cost && cost->memory <= memory) {
        from = middle;
        fits = *cost;
      } else {
        to = middle;
      }
    }
    option[last] = from * step;
    if (from * step != low[last]) into.add(option.data(), fits);
  }
  into.few = true;
  return into.size() - start;
}

size_t Sizing::list(const Layer& layer, size_t most, size_t few, Options& into) const {
  Ground& ground = ground_;
  if (!prepare(layer, ground)) return 0;
  const size_t start = into.size();
  const auto each = [&](const Choices::Extent& extent) {
    return choices_.each(ground.sizes, extent, [&](const int64_t* option) {
      const auto cost = legal_cost(ground, option);
      if (cost && !extent.thin && into.size() - start >= most) return false;
      if (cost) into.add(option, *cost);
      return true;
    });
  };
  Choices::Extent all{largest_free(layer), few > 0 ? kFewOfAll : most + 1};
  all.few = few;
  if (!each(all)) {  // once more, with fewer values a variable
    into.cut(start);
    const auto wanted = static_cast<double>(few > 0 ? std::min(most, kFewOfAll) : most);
    const double share = std::pow(wanted, 1.0 / static_cast<double>(std::max<size_t>(1, variables())));
    each({largest_free(layer), std::max<size_t>(2, static_cast<size_t>(share)), true});
    into.complete = false;
  }
  if (!choices_.in_order()) sort(start, into);
  return into.size() - start;
}

void Sizing::sort(size_t start, Options& options) {
  std::vector<size_t> sorted(options.size() - start);
  std::iota(sorted.begin(), sorted.end(), start);
  const size_t variables = options.variables;
  std::sort(sorted.begin(), sorted.end(), [&](size_t a, size_t b) {
    return std::lexicographical_compare(options.at(a), options.at(a) + variables, options.at(b),
                                        options.at(b) + variables);
  });
  Options result{variables};
  for (size_t i : sorted) result.add(options.at(i), options.costs[i]);
  options.cut(start);
  options.values.insert(options.values.end(), result.values.begin(), result.values.end());
  options.costs.insert(options.costs.end(), result.costs.begin(), result.costs.end());
}

void Sizing::restrict(Options& options, const Layer& layer) const {
  Ground& ground = ground_;
  Options kept{options.variables};
  kept.complete = options.complete;
  const bool possible = prepare(layer, ground);
  for (size_t i = 0; possible && i < options.size(); ++i) {
    bool fits = true;
    for (size_t step = 0; step < options.variables && fits; ++step)
      fits = choices_.legal(ground.sizes, options.at(i), step);
    if (fits && legal_cost(ground, options.at(i))) kept.add(options.at(i), options.costs[i]);
  }
  options = std::move(kept);
}

void Sizing::price(const Layer& layer, size_t count, Options& options) const {
  Ground& ground = ground_;
  require(prepare(layer, ground), "options were priced on a layer where they are not legal");
  for (size_t i = 0; i < count; ++i) options.costs.push_back(legal_cost(ground, options.at(i)).value_or(Cost{}));
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

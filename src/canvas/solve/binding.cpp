#include "canvas/solve/binding.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "canvas/base/error.h"
#include "canvas/ir/primitive.h"

namespace canvas {

namespace {

constexpr int64_t kMostValues = 64;       // legal values kept for one variable
constexpr int64_t kLargestFree = 1024;    // a variable that divides nothing goes up to here
constexpr int64_t kMostChoices = 100000;  // combinations looked at

std::string percent(double fraction) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", fraction);
  return text;
}

// Every distinct size of a kernel that mentions a dynamic variable.
std::vector<Size> dynamic_sizes(const Kernel& kernel) {
  std::vector<Size> sizes;
  const auto put = [&](const Size& size) {
    if (size.has_dynamic() && std::find(sizes.begin(), sizes.end(), size) == sizes.end()) sizes.push_back(size);
  };
  for (const Node& node : kernel.nodes()) {
    for (const Axis& axis : node.axes) put(axis.size);
    for (const Axis& axis : node.attributes.to) put(axis.size);
  }
  return sizes;
}

bool mentions_only(const Size& size, int variable) {
  for (int v = kFirstDynamic; v < kMaxVariables; ++v) {
    if (v != variable && size.exponent(v) != 0) return false;
  }
  return size.exponent(variable) != 0;
}

// The values of one variable for which every size in it alone is integral on every layer.
std::vector<int64_t> legal_values(int variable, const std::vector<Size>& sizes, const std::vector<Values>& layers) {
  int64_t largest = kLargestFree;
  for (const Size& size : sizes) {
    if (size.exponent(variable) >= 0 || !mentions_only(size, variable)) continue;
    for (Values values : layers) {  // size >= 1 bounds the variable by the size at 1
      values[static_cast<size_t>(variable)] = 1;
      largest = std::min(largest, size.evaluate(values).value_or(largest));
    }
  }
  std::vector<int64_t> found;
  for (int64_t value = 1; value <= largest && static_cast<int64_t>(found.size()) < kMostValues; ++value) {
    bool legal = true;
    for (size_t i = 0; i < layers.size() && legal; ++i) {
      Values values = layers[i];
      values[static_cast<size_t>(variable)] = value;
      for (const Size& size : sizes) legal = legal && (!mentions_only(size, variable) || size.evaluate(values));
    }
    if (legal) found.push_back(value);
  }
  return found;
}

struct Use {
  double flops, params, memory;  // fractions of the original
};

// How far outside its range a use is, as a factor (1: inside), and of what.
struct Miss {
  double factor = 1;
  std::string reason;
  std::string hint;
};

Miss miss(const Use& use, const Budget& budget) {
  Miss worst;
  const auto look = [&](const char* name, const std::optional<Range>& range, double used) {
    if (!range) return;
    constexpr double kRounding = 1 + 1e-12;
    Miss found;
    if (used > range->high * kRounding) {
      found.factor = used / range->high;
      found.reason = std::string(name) + " must be at most " + percent(range->high) +
                     " of the original, the kernel needs " + percent(used);
      found.hint = "raise the budget by a factor of " + percent(found.factor);
    } else if (used * kRounding < range->low) {
      found.factor = range->low / std::max(used, 1e-12);
      found.reason = std::string(name) + " must be at least " + percent(range->low) +
                     " of the original, the kernel reaches " + percent(used);
      found.hint = "lower that floor by a factor of " + percent(found.factor);
    }
    if (found.factor > worst.factor) worst = found;
  };
  look("flops", budget.flops, use.flops);
  look("params", budget.params, use.params);
  look("memory", budget.memory, use.memory);
  return worst;
}

class Solver {
 public:
  Solver(const Kernel& kernel, const std::vector<Layer>& layers, const Budget& budget)
      : kernel_(kernel), layers_(layers), budget_(budget), model_(kernel), original_(total_cost(layers)) {
    for (const Layer& layer : layers) values_.push_back(layer.values());
  }

  // How far the nearest sizes miss the budget, as a factor, after run().
  double missed() const { return nearest_.factor; }

  Result<Binding> run() {
    const int variables = kernel_.variables().count() - kFirstDynamic;
    const std::vector<Size> sizes = dynamic_sizes(kernel_);
    std::vector<std::vector<int64_t>> choices;
    for (int v = kFirstDynamic; v < kFirstDynamic + variables; ++v) {
      choices.push_back(legal_values(v, sizes, values_));
      if (choices.back().empty()) {
        return Fault{"bind", "a value of " + kernel_.variables().name(v) + " that makes its sizes whole on every layer",
                     "none", "leave out the layers whose channels share no divisor"};
      }
    }
    std::vector<size_t> at(choices.size(), 0);
    for (int64_t tried = 0; tried < kMostChoices; ++tried) {
      std::vector<int64_t> chosen;
      for (size_t i = 0; i < at.size(); ++i) chosen.push_back(choices[i][at[i]]);
      consider(chosen);
      size_t digit = at.size();
      while (digit > 0 && ++at[digit - 1] == choices[digit - 1].size()) at[--digit] = 0;
      if (digit == 0) break;
    }
    if (best_capacity_ >= 0) return bound(best_);
    if (nearest_.factor < HUGE_VAL) return Fault{"bind", "budget " + nearest_.reason, "", nearest_.hint};
    return *fault_;
  }

 private:
  void set(std::vector<Values>& values, const std::vector<int64_t>& chosen) const {
    for (Values& layer : values) {
      for (size_t i = 0; i < chosen.size(); ++i) layer[static_cast<size_t>(kFirstDynamic) + i] = chosen[i];
    }
  }

  void consider(const std::vector<int64_t>& chosen) {
    set(values_, chosen);
    for (size_t i = 0; i < layers_.size(); ++i) {
      if (auto fault = check_sizes(kernel_, layers_[i], values_[i])) {
        if (!fault_) fault_ = fault;
        return;
      }
    }
    Cost cost;
    for (size_t i = 0; i < layers_.size(); ++i) {
      const Cost layer = model_.evaluate(values_[i]);
      cost.flops += layer.flops * static_cast<double>(layers_[i].count);
      cost.params += layer.params * static_cast<double>(layers_[i].count);
      cost.memory = std::max(cost.memory, layer.memory);
    }
    if (!std::isfinite(cost.flops + cost.params + cost.memory)) {
      if (!fault_) fault_ = Fault{"bind", "operations and parameters that fit 64-bit integers", "more", ""};
      return;
    }
    const Use use{cost.flops / original_.flops, cost.params / original_.params, cost.memory / original_.memory};
    const Miss missed = miss(use, budget_);
    if (missed.factor > 1) {
      if (missed.factor < nearest_.factor) nearest_ = missed;
      return;
    }
    const double capacity = std::sqrt(std::max(use.flops, 1e-12) * std::max(use.params, 1e-12));
    if (capacity <= best_capacity_) return;
    best_capacity_ = capacity;
    best_ = chosen;
  }

  Binding bound(const std::vector<int64_t>& chosen) {
    set(values_, chosen);
    Binding binding{kernel_, {}, {}};
    for (size_t i = 0; i < layers_.size(); ++i) {
      const Cost cost = model_.evaluate(values_[i]);
      binding.layers.push_back({kernel_, layers_[i], values_[i], cost});
      binding.cost.flops += cost.flops * static_cast<double>(layers_[i].count);
      binding.cost.params += cost.params * static_cast<double>(layers_[i].count);
      binding.cost.memory = std::max(binding.cost.memory, cost.memory);
    }
    return binding;
  }

  const Kernel& kernel_;
  const std::vector<Layer>& layers_;
  const Budget& budget_;
  CostModel model_;
  Cost original_;
  std::vector<Values> values_;
  std::vector<int64_t> best_;
  double best_capacity_ = -1;
  Miss nearest_{HUGE_VAL, "", ""};
  std::optional<Fault> fault_;
};

}  // namespace

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

Result<Binding> bind(const Kernel& kernel, const std::vector<Layer>& layers, const Budget& budget, double* missed) {
  if (layers.empty()) throw ArgumentError("a kernel is bound to at least one layer, got none");
  budget.check();
  if (missed) *missed = HUGE_VAL;
  const size_t dimensions = kernel.signature().from.size() - 1;
  for (const Layer& layer : layers) {
    layer.check();
    if (layer.spatial.size() == dimensions) continue;
    return Fault{"bind", "layers of " + std::to_string(dimensions) + " spatial extents, as the kernel's signature has",
                 "the layer " + layer.str(), ""};
  }
  Solver solver(kernel, layers, budget);
  Result<Binding> binding = solver.run();
  if (missed) *missed = solver.missed();
  return binding;
}

}  // namespace canvas

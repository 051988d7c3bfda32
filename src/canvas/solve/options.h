// The options of one layer: every combination of values of a kernel's free sizes that is legal there, with what it costs. The solver of
// budgets (binding.cpp) asks for these; nothing here knows a budget.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "canvas/analyze/cost.h"
#include "canvas/base/error.h"
#include "canvas/ir/kernel.h"
#include "canvas/size/choices.h"
#include "canvas/solve/network.h"
#include "canvas/solve/pricing.h"
#include "canvas/solve/structural.h"

namespace canvas {

struct Options {
  size_t variables = 0;              // free sizes of the kernel
  std::vector<int64_t> values = {};  // `variables` numbers an option, a layer's options in lexicographic order
  std::vector<Cost> costs = {};      // of one such layer, one image
  bool few = false;                  // some values of a range stand for all: mixtures of theirs are mixtures of all
  bool complete = true;  // false: a layer has too many; a part was taken, spread evenly over each variable's values

  size_t size() const { return costs.size(); }
  void cut(size_t size) { costs.resize(size), values.resize(size * variables); }
  void add(const int64_t* option, const Cost& cost) {
    for (size_t i = 0; i < variables; ++i) values.push_back(option[i]);
    costs.push_back(cost);
  }
  const int64_t* at(size_t option) const { return values.data() + option * variables; }
};

// Lists one kernel's options on any number of layers. A free size that must divide something takes its divisors; one that must be a multiple
// of something, these; any other takes every whole number. Where nothing bounds it, it goes up to largest_free(layer).
class Sizing {
 public:
  // multiple_of: the channels of every value, where a free size decides how many they are, come in such multiples.
  Sizing(const Kernel& kernel, int64_t multiple_of);

  size_t variables() const { return choices_.variables(); }
  // Adds the layer's options, about `most` at most, and says how many they are; none where no sizes are legal, and why_none() says why.
  size_t list(const Layer& layer, size_t most, Options& into) const;
  // The same, but few values of a free size that costs grow evenly with: those between which the others are, also among those that take
  // `memory` at most.
  size_t list_few(const Layer& layer, size_t most, double memory, Options& into) const;
  // Drops the options that are not legal on `layer` too; the costs stay those of the layer that they were listed for.
  void restrict(Options& options, const Layer& layer) const;
  // Adds what the first `count` options, which are legal on this layer too, cost on it.
  void price(const Layer& layer, size_t count, Options& options) const;
  Fault why_none(const Layer& layer) const;

  Values values(const Layer& layer, const int64_t* option) const;
  static int64_t largest_free(const Layer& layer);

 private:
  struct Ground {  // what a layer makes of sizes and costs while the free variables are 1
    const Layer* layer = nullptr;
    Choices::Ground sizes;
    Pricing::Ground costs;
    bool one_by_one = false;  // options need check_sizes: a stride does not divide an extent, and a primitive minds
  };

  bool prepare(const Layer& layer, Ground& ground) const;
  std::optional<Cost> legal_cost(Ground& ground, const int64_t* option) const;
  size_t list(const Layer& layer, size_t most, size_t few, Options& into) const;
  static void sort(size_t start, Options& options);

  const Kernel& kernel_;
  int64_t multiple_of_;
  System system_;
  Choices choices_;
  Pricing pricing_;        // its static sizes are in one table with those of the choices
  mutable Ground ground_;  // of the layer last asked about; kept for its memory
  bool even_ = false;      // list_few has something to leave out
  bool picky_ = false;     // a primitive asks for more than whole sizes, which a stride that does not divide can break
};

}  // namespace canvas

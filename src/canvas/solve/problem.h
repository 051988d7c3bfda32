// A kernel, a network and a budget as the knapsack that fill.h solves: who chooses together, what each choice costs, which limits hold.
// binding.cpp solves it, conflict.cpp asks by how much the limits would have to give for a solution to exist.
#pragma once

#include <optional>
#include <vector>

#include "canvas/solve/fill.h"
#include "canvas/solve/options.h"

namespace canvas {

enum class Resource { kFlops, kParams, kMemory };
inline constexpr Resource kResources[] = {Resource::kFlops, Resource::kParams, Resource::kMemory};

const char* name_of(Resource resource);
double amount(const Cost& cost, Resource resource);

// One limit in amounts, with the range that it came from.
struct Limit {
  Resource resource;
  Range range;
  double original = 1;  // what range's fractions are of; 1 for amounts

  double low() const { return range.low * original; }
  double high() const { return range.high * original; }
  // By which factor `used` is outside; 1 inside. HUGE_VAL for a floor above a use of nothing.
  double missed(double used) const;
};

// The limits that a budget sets for what costs `original`.
std::vector<Limit> limits_of(const Budget& budget, const Cost& original);

// Layers that take the same sizes (a group of such decisions, where several are equal).
struct Unit {
  const Options* options;
  std::vector<Cost> totals;    // by option: of all layers of one decision, with their counts; memory of the largest
  std::vector<double> missed;  // by option: by which factor it misses a limit on a single layer, or the peak of memory
  std::vector<size_t> layers;  // in the network's list
  int copies = 1;              // equal decisions: one of each layer, or 1 where the layers are decided on together
};

struct Solution {
  bool found = false;
  bool proven = false;                     // it is the best, or there is none
  std::vector<std::vector<size_t>> picks;  // by unit and copy: the option
  Cost total;
  double bound = 0;  // no choice has a larger capacity
};

class Problem {
 public:
  Problem(const Sizing& sizing, const std::vector<Layer>& layers, const Budget& budget);

  // Adds all layers of the network, each (or each shape) choosing for itself, or all together; one of the two is called, once. A Fault
  // where a layer has no legal sizes.
  std::optional<Fault> add_each(bool by_shape);
  std::optional<Fault> add_together();

  // The best choice with all limits `factor` times as wide (floors as much lower).
  Solution solve(double factor, Aim aim) const;

  // No smaller factor makes a solution possible.
  double least_factor() const;
  const std::vector<Unit>& units() const { return units_; }
  const std::vector<Layer>& layers() const { return layers_; }
  const std::vector<Limit>& limits() const { return limits_; }
  std::vector<Limit> limits_on(const Layer& layer) const;
  bool complete() const;
  // What one layer costs with an option of its unit, once.
  Cost cost(size_t layer, size_t option) const;

 private:
  struct Listed {  // by group: its points, the option that each is, and the unit that it is of
    std::vector<Group> groups;
    std::vector<std::vector<size_t>> options;
    std::vector<size_t> owners;
  };
  struct Shape {                   // layers of equal sizes
    size_t first;                  // of these layers
    Options options = {};          // where such layers decide for themselves
    std::vector<Cost> costs = {};  // where all decide together: of their options, by option
  };
  Box box(double factor) const;
  bool list(size_t unit, double factor, double least_memory, Listed& into) const;
  Solution solve_listed(const Listed& listed, double factor, Aim aim) const;
  Solution reach_memory(const Listed& listed, double factor, Aim aim, Solution free) const;
  const std::vector<Cost>& costs_on(size_t layer) const;
  void price(Unit& unit) const;

  const Sizing& sizing_;
  const std::vector<Layer>& layers_;
  const Budget& budget_;
  std::vector<Limit> limits_;
  std::vector<Shape> shapes_;
  std::vector<size_t> shape_of_;  // by layer
  size_t most_ = 0;               // options of a shape
  std::vector<Unit> units_;
};

}  // namespace canvas

// A kernel, a network and a budget as the knapsack that fill.h solves: who chooses together, what each choice costs, which limits hold.
// binding.cpp solves it, conflict.cpp asks by how much the limits would have to give for a solution to exist.
#pragma once

#include <map>
#include <optional>
#include <string>
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

  // Adds all layers of the network, `share` deciding who chooses together. A Fault where a layer has no legal sizes.
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
  // What one layer of a unit costs with an option, once.
  Cost cost(size_t unit, size_t layer, size_t option) const;

 private:
  struct Listed {  // a unit's points, and the option that each is
    Group group;
    std::vector<size_t> options;
  };
  Box box(double factor) const;
  std::optional<Listed> list(const Unit& unit, double factor, double least_memory) const;
  Solution solve_listed(const std::vector<Listed>& listed, const std::vector<size_t>& owners, double factor,
                        Aim aim) const;
  Solution reach_memory(const std::vector<Listed>& listed, double factor, Aim aim, Solution free) const;
  void price(Unit& unit) const;
  Options& options_on(size_t layer);

  const Sizing& sizing_;
  const std::vector<Layer>& layers_;
  const Budget& budget_;
  std::vector<Limit> limits_;
  std::map<Values, Options> shapes_;
  size_t most_ = 0;  // options of a shape
  std::vector<Unit> units_;
};

}  // namespace canvas

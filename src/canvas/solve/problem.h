// A kernel, a network and a budget as the knapsack that fill.h solves: who chooses together, what each choice costs, which limits hold.
// binding.cpp solves it, conflict.cpp asks by how much the limits would have to give for a solution to exist.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "canvas/solve/fill.h"
#include "canvas/solve/options.h"
#include "canvas/solve/prices.h"

namespace canvas {

enum class Resource { kFlops, kParams, kMemory, kLatency };

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
  size_t shape = 0;            // whose options it has
  size_t first = 0, last = 0;  // of Problem's entries
  size_t layers = 0;           // the first of its layers, among the layers by unit
  size_t count = 0;            // of layers
  size_t decision = 0;         // the first of its decisions
  int copies = 1;              // equal decisions: one of each layer, or 1 where the layers are decided on together
};

struct Solution {
  bool found = false;
  bool proven = false;        // it is the best, or there is none
  std::vector<size_t> picks;  // by decision, in the order of the units: the option
  Cost total;
  double bound = 0;  // no choice has a larger capacity
};

class Problem {
 public:
  // `prices`, where given, holds for as long; without them the limit on latency is nobody's concern here.
  Problem(const Sizing& sizing, const std::vector<Layer>& layers, const Budget& budget, const Prices* prices);

  // Adds all layers of the network, each (or each shape) choosing for itself, or all together; one of the two is called, once. A Fault
  // where a layer has no legal sizes.
  std::optional<Fault> add_each(bool by_shape);
  std::optional<Fault> add_together();

  // The best choice with all limits `factor` times as wide (floors as much lower).
  Solution solve(double factor, Aim aim) const;

  // No smaller factor makes a solution possible.
  double least_factor() const;
  const std::vector<Layer>& layers() const { return layers_; }
  const std::vector<Limit>& limits() const { return limits_; }
  std::vector<Limit> limits_on(const Layer& layer) const;
  bool complete() const { return options_.complete; }
  // Calls visit(layer, its option, what that costs once) for all layers.
  template <class Visit>
  void each_choice(const Solution& solution, const Visit& visit) const {
    for (const Unit& unit : units_) {
      for (size_t i = 0; i < unit.count; ++i) {
        const size_t layer = by_unit_[unit.layers + i],
                     option = solution.picks[unit.decision + (unit.copies > 1 ? i : 0)];
        visit(layer, options_.at(shapes_[unit.shape].options + option), cost(layer, option));
      }
    }
  }

 private:
  struct Shape {         // layers of equal sizes
    size_t layer;        // the first of them
    size_t options = 0;  // where they start, and how many there are
    size_t count = 0;
    size_t costs = 0;        // where these options' costs start
    size_t unit = SIZE_MAX;  // the last one added
  };
  struct Entry {  // an option of a unit, by ascending costs
    Point point;  // of all layers of one decision, with their counts
    double memory;
    double latency;
    double missed;  // by which factor it misses a limit on a single layer, or the peak of memory
    uint32_t option;
  };
  struct Listed {  // what may be chosen: groups of points, and by point, by group what these are
    std::vector<Point> points;
    std::vector<double> seconds;  // none where time is not limited
    std::vector<uint32_t> entries;
    std::vector<Group> groups;
    std::vector<size_t> owners;  // by group: the unit
  };
  Box box(double factor) const;
  bool list(size_t unit, double factor, double least_memory, Listed& into) const;
  Solution solve_listed(const Listed& listed, double factor, Aim aim) const;
  Solution reach_memory(double floor, double factor, Aim aim, double bound) const;
  const Cost& cost(size_t layer, size_t option) const {
    return options_.costs[shapes_[shape_of_[layer]].costs + option];
  }
  void arrange(const std::vector<size_t>& unit_of);
  void price(Unit& unit);
  size_t keep_priced(size_t layer, size_t start);
  void count_in(const Unit& unit);
  Listed room(size_t more) const;

  const Sizing& sizing_;
  const std::vector<Layer>& layers_;
  const Budget& budget_;
  const Prices* prices_;
  std::vector<Limit> limits_;
  std::vector<Shape> shapes_;
  std::vector<size_t> shape_of_;  // by layer
  bool few_ = false;              // too many decisions for a proof: a few values may stand for a range
  size_t most_ = 0;               // options of a shape
  Options options_;               // of all shapes
  std::vector<Unit> units_;
  std::vector<size_t> by_unit_;  // layers
  std::vector<Entry> entries_;   // of all units
  size_t decisions_ = 0;
  Cost least_, most_of_all_;  // of all layers
  double least_missed_ = 1;
};

}  // namespace canvas

// What a growing kernel costs on the network at least, so that growth leaves out what no budget holds; and whether simple free sizes make
// a finished one fit, which spares most the solver. Counts are kept by monomial, since most are known from earlier kernels.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "canvas/ir/primitive.h"
#include "canvas/size/size_table.h"
#include "canvas/solve/binding.h"
#include "canvas/solve/network.h"

namespace canvas {

class Spending {
 public:
  Spending(const std::vector<Layer>& layers, const Budget& budget, const Rules& rules, const Signature& signature);

  // The places in the table of what a step costs, or kFree.
  static constexpr int kFree = -1;
  struct Step {
    int flops = kFree, params = kFree;
  };
  Step step(const Node& node, const OperandAxes& operands);
  std::vector<Step> steps(const Kernel& kernel);
  // The same of so many operations at a position, and so many parameters where there are some.
  Step step(const Count& flops, const std::optional<Count>& params);

  // Whether free sizes of 1, 2, 4, ..., chosen layer by layer, keep these steps and one more below the limits; with some room for sizes
  // in between.
  bool affordable(const std::vector<Step>& steps, const std::vector<Step>& ahead);

  // Whether they can reach the budget's floors.
  bool enough(const std::vector<Step>& steps);

  // Whether free sizes of 1, 2, 4, ..., the same on all layers, keep the budget, as far as such sizes tell; and whether they are legal as
  // well. If not, others may.
  bool fits(const std::vector<Step>& steps);
  bool fits(const Kernel& kernel);

  // Forgets counts where there are many; the places of steps mean nothing any more.
  void tidy();

 private:
  // Of each of the first two free sizes that many are tried; a third one's effect is not counted.
  static constexpr size_t kChoices = 8, kPoints = kChoices * kChoices;
  static constexpr size_t kUsualPoint = 3 + 3 * kChoices;  // where most that can be afforded is: free sizes of 8

  struct Entry {
    size_t points = 1;                // the first 1, kChoices or kPoints points tell its values apart
    std::vector<double> values = {};  // by point, then by layer; for all layers of the kind
    std::vector<double> totals = {};  // by point
  };
  struct Wholeness {
    uint64_t points = 0;  // at which it is whole on all layers
    float most = 0;       // the logarithm of the largest value there
  };
  int place(const Count& count);
  size_t points_of(const std::vector<int>& places) const;
  // By point, then by layer.
  const std::vector<double>& sums(const std::vector<int>& places, size_t points);
  // All layers' sums at one point, and at each layer's least.
  double at_point(const std::vector<int>& places, size_t point) const;
  double least(const std::vector<int>& places);
  // The points at which they keep the budget.
  uint64_t within(const std::vector<Step>& steps);
  const Wholeness& whole_at(const Size& size);
  Values values_at(size_t layer, size_t point) const;
  // The points at which the kernel's sizes are whole and its values fit 64 bits on all layers.
  uint64_t legal_points(const Kernel& kernel);
  // Whether the positions that are taken of axes are there.
  bool has_positions(const Kernel& kernel, size_t point) const;

  Count times_;  // how often a kernel runs
  std::vector<Values> layers_;
  std::vector<double> counts_;
  bool simple_ = true;  // nothing is asked but that FLOPs and parameters of the whole network keep their limits
  std::optional<Range> flops_, params_;  // in amounts
  SizeTable<Entry, Count> counts_known_;
  size_t held_ = 0;  // values in them
  SizeTable<Wholeness> whole_;
  std::vector<double> sums_, some_;  // room for sums() and place()
  std::vector<int> places_;
};

}  // namespace canvas

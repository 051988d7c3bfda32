// What a growing kernel costs on the network at least, so that growth leaves out what no budget holds. Counts are kept by monomial, since
// most of a step's are known from earlier kernels. A bound, not a solver: solve/ has the last word.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "canvas/ir/primitive.h"
#include "canvas/solve/network.h"

namespace canvas {

class Spending {
 public:
  Spending(const std::vector<Layer>& layers, const Budget& budget, bool per_position);

  // The places in the table of what a step costs, or kFree.
  static constexpr int kFree = -1;
  struct Step {
    int flops = kFree, params = kFree;
  };
  Step step(const Node& node, const std::vector<const Axes*>& operands);
  // The place of any other count of operations or parameters.
  int place(const Size& count);

  // Whether free sizes of 1, 2, 4, ..., chosen layer by layer, keep these steps and one more below the limits; with some room for sizes
  // in between.
  bool affordable(const std::vector<Step>& steps, const Step& ahead) const;

 private:
  // Of each of the first two free sizes that many are tried; a third one's effect is not counted.
  static constexpr size_t kChoices = 8, kPoints = kChoices * kChoices;

  struct Hash {
    size_t operator()(const Size& size) const;
  };
  struct Entry {
    size_t points = 1;          // the first 1, kChoices or kPoints points tell its values apart
    std::vector<float> values;  // by point, then by layer; for all layers of the kind
  };
  bool within(const std::vector<int>& places, double high) const;

  Size times_;  // how often a kernel runs
  std::vector<Values> layers_;
  std::vector<double> counts_;
  double most_flops_ = 0, most_params_ = 0;  // 0: no limit
  std::vector<Entry> entries_;
  std::unordered_map<Size, int, Hash> known_;
};

}  // namespace canvas

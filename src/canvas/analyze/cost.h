// What a kernel costs, as sums of monomials in its variables and in extents that strides divide (Count), and what that is for given
// values.
#pragma once

#include <cstdint>
#include <vector>

#include "canvas/ir/kernel.h"

namespace canvas {

struct Cost {
  double flops = 0;    // of one image or sequence; 2 x multiply-adds for contractions
  double params = 0;   // trained numbers
  double memory = 0;   // bytes of fp32 activations alive at once, at most, one image or sequence
  double latency = 0;  // seconds, where somebody predicts them (solve/prices.h)
};

class CostModel {
 public:
  explicit CostModel(const Kernel& kernel);
  // Every size must be integral; infinite where a count is past 64 bits. A kernel that is applied to every position by itself runs
  // T times.
  Cost evaluate(const Values& values) const;

  // For who evaluates the monomials in a way of their own (the solver, for thousands of values): the distinct ones, and which of them
  // are summed. Memory, in numbers of 4 bytes: for the steps of the printed order, the values that are alive while one runs; the largest
  // sum counts (steps that others cover are left out). A view shares its operand's bytes unless it copies (unfold); one that fc alone
  // reads, be it through other views, is never materialised, since it becomes a convolution.
  using Sum = std::vector<size_t>;  // of monomials, by index
  const std::vector<Count>& monomials() const { return monomials_; }
  const Sum& flops() const { return flops_; }
  const Sum& params() const { return params_; }
  const std::vector<Sum>& alive() const { return alive_; }

 private:
  size_t index(const Count& monomial);

  std::vector<Count> monomials_;
  Sum flops_;
  Sum params_;
  std::vector<Sum> alive_;
};

}  // namespace canvas

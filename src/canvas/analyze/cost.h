// What a kernel costs, as sums of monomials in its variables, and what that is for given values.
#pragma once

#include <cstdint>
#include <vector>

#include "canvas/ir/kernel.h"

namespace canvas {

struct Cost {
  double flops = 0;   // of one image or sequence; 2 x multiply-adds for contractions
  double params = 0;  // trained numbers
  double memory = 0;  // bytes of fp32 activations alive at once, at most, one image or sequence
};

// Evaluates quickly for many values: the solver asks thousands of times.
class CostModel {
 public:
  explicit CostModel(const Kernel& kernel);
  // Every size must be integral; infinite where a count is past 64 bits. A kernel that is applied to every position by itself runs
  // T times.
  Cost evaluate(const Values& values) const;

 private:
  std::vector<Size> flops_;
  std::vector<Size> params_;
  // Memory: for each step of the printed order, the values that are alive while it runs. A view shares its operand's bytes unless it
  // copies (unfold); an unfold read by fc alone is never materialised, since it becomes a convolution.
  std::vector<std::vector<Size>> alive_;
};

}  // namespace canvas

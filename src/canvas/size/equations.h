// Exact solution of equations between sizes. Taking exponents makes each equation linear over the integers in the dynamic
// variables' exponents; elimination is by unimodular steps, so nothing is rounded and no solution is lost.
// The kernel builder collects the equations of a kernel and asks for the variables that they force.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "canvas/base/error.h"
#include "canvas/size/size.h"

namespace canvas {

class Equations {
 public:
  // Demands left == right and eliminates at once. A Fault (with `label`) when no monomial values of the dynamic variables
  // can make them equal. Example: C/g == m forces m = C/g; C == K cannot hold, since both are set by the layer.
  std::optional<Fault> equate(const Size& left, const Size& right, const std::string& label,
                              const Variables& variables);

  // `size` with every forced variable replaced by what it must be.
  Size resolve(const Size& size) const;

  // What a dynamic variable must be, or nothing while it is free.
  std::optional<Size> forced(int variable) const;
  bool empty() const { return steps_.empty(); }

 private:
  struct Step {
    int variable;
    Size value;
  };
  std::vector<Step> steps_;  // applied in order
};

}  // namespace canvas

// A nest with numbers in place of names: loops with their steps, neighbouring ones made one where every access allows it. Between plan and
// writer.
#pragma once

#include <cstdint>
#include <vector>

#include "canvas/native/plan.h"

namespace canvas::native {

struct Loop {
  struct Part {
    std::string name;  // the nest's
    int64_t extent;
    std::vector<int64_t> step;
  };
  int64_t extent;
  bool reduced;
  std::vector<int64_t> step;  // in elements, of each operand: the result, the factors, then the loads of the expression
  std::vector<Part> parts;    // what was joined, outer first
};

struct Operand {
  int buffer;
  int64_t start;                // of its first element, from that of the buffer
  std::vector<int64_t> around;  // steps for the loops around the nest
  bool packed = false;  // a constant factor: stored anew in the order in which it is read; its steps are those before
  bool half = false;    // its elements are bf16
};

struct Loops {
  std::vector<Loop> loops;
  std::vector<Operand> operands;
  size_t factors = 0;     // operands 1 to `factors`
  Expression expression;  // its loads are numbered by `function`: "2" is operand 2
};

Loops loops_of(const Nest& nest, const Buffers& buffers);

}  // namespace canvas::native

// Calls of tiles within loops, as text: which loops threads share out, and where the operands of each call lie. Called by the writer of nests.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "canvas/native/outside.h"

namespace canvas::native {

// Loops around a call, outermost first, and the call.
struct Statement {
  std::vector<std::string> heads;
  std::string call;
  bool near = false;  // it shares the outer loops that it can with the statement before
};

// One after the other; those that may run in any order share their loops where all are equal.
std::string text_of(const std::vector<Statement>& statements, bool any_order);

// A call while the loops around it are written, from the outside in.
class Call {
 public:
  using Step = std::function<int64_t(size_t)>;  // of an operand, in elements

  // Pointers to the operands.
  explicit Call(std::vector<std::string> operands) : operands_(std::move(operands)) {}
  // Moves all operands.
  void forward(const Step& by);
  // A loop over some of `all` steps, if more than one; threads may share these out. `again`: each of its steps reads the same weights.
  void around(const std::string& index, Range steps, int64_t all, bool shared, bool again, const Step& step);
  // "(o0 + q == 1 ? first : other)": the function for the first time that weights are read, and that for other times.
  std::string either(const std::string& first, const std::string& other) const;
  bool reads_again() const { return !again_.empty(); }
  Statement of(const std::string& function, bool near) const;

 private:
  std::vector<std::string> operands_, heads_, again_;
  int64_t first_ = 0;  // the sum of the indices of `again_` when weights are read first
  bool shared_ = false;
};

}  // namespace canvas::native

// Exact solution of equations between sizes. Taking exponents makes each equation linear over the integers in the unknown variables'
// exponents; elimination is by unimodular steps and roots, so nothing is rounded and no solution is lost. Equations are added one by one
// and taken back by mark, so that whoever builds a kernel step by step pays for what changed alone.
// The kernel builder collects the equations of a kernel and asks for the variables that they force; System solves whole systems with it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "canvas/base/error.h"
#include "canvas/size/powers.h"
#include "canvas/size/size.h"

namespace canvas {

// What a system of sizes asks of the variables that are known: C = K, C is a square, C/4 is whole.
struct Condition {
  enum Kind { kEqual, kPower, kWhole, kWithin };
  Kind kind;
  Powers of;  // kEqual: must be 1; kPower: a number's `low`-th power; kWhole: a whole number; kWithin: from low to high
  int64_t low = 1;   // kWithin, kPower
  int64_t high = 0;  // kWithin; 0: no limit

  bool too_large() const { return !of.valid(); }
  // Whether it is about numbers alone and fails.
  bool never() const;
  // "C = K", "C/K is a square", "C/4 is whole", "g is at least 2".
  std::string str(const Variables& variables) const;
  bool operator==(const Condition&) const = default;
};

class Equations {
 public:
  // The variables from `first` on are unknown.
  explicit Equations(int first = kFirstDynamic) : first_(first) {}

  // Demands ratio == 1 and eliminates at once. Nothing where the unknown variables can see to that whatever the known ones are; otherwise
  // what is left to ask of those (!valid() where it is too large to say). Example: r*r/C: C is a square, and r its root.
  std::optional<Condition> add(const Powers& ratio);

  // The same for what must hold on every layer, or else is left out: a Fault (with `label`) that says where it does hold.
  // Example: C/g == m forces m = C/g; C == K cannot hold, since both are set by the layer.
  std::optional<Fault> equate(const Size& left, const Size& right, const std::string& label,
                              const Variables& variables);

  // `size` with every forced variable replaced by what it must be.
  Size resolve(const Size& size) const;
  Powers resolve(Powers powers) const;

  bool empty() const { return steps_.empty(); }
  // undo(mark()) takes back what was added in between.
  size_t mark() const { return steps_.size(); }
  void undo(size_t mark) { steps_.resize(mark); }

 private:
  struct Step {
    int variable = 0;
    Powers value = {};
  };
  int smallest(const Powers& powers, int except = -1) const;

  int first_;
  std::vector<Step> steps_;  // applied in order
};

}  // namespace canvas

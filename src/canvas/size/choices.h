// Lists what the dynamic variables of a system can be on one layer. Variables are set one after the other, each to what divides or is a
// multiple of what the sizes demand so far, or to what an equation makes of those before it, so that little is tried in vain.
// Binding lists a kernel's free sizes with it, and solve() answers for a system as a whole.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "canvas/size/statics.h"
#include "canvas/size/system.h"

namespace canvas {

class Choices {
 public:
  // What one layer makes of the system while the dynamic variables are 1.
  struct Ground {
    struct Row {  // an equation that the variable of its step closes: the product of all powers and `rest` is 1
      std::vector<int64_t> exponents;  // by step
      Powers rest;
    };
    Values values{};
    std::vector<Quotient> statics, sizes, bounds;
    std::vector<std::optional<Row>> rows;  // by step
    bool too_large = false;                // equations past exact arithmetic: nothing is listed, and that says nothing
    std::vector<int64_t> option;           // kept for their memory, as the next
    std::vector<std::vector<int64_t>> candidates;
  };

  // The variables kFirstDynamic to kFirstDynamic + variables - 1 are listed; the system has no other dynamic ones.
  Choices(const System& system, size_t variables);

  // False where the static variables alone rule out everything, or a size that they give is too large.
  bool prepare(const Values& values, Ground& ground) const;
  // Whether the variable of this step, with those of the steps before it, leaves all sizes whole and within their bounds.
  bool legal(const Ground& ground, const int64_t* option, size_t step) const;

  struct Extent {
    int64_t largest;               // of variables that divide nothing and that no equation sets
    size_t most = SIZE_MAX;        // values of one variable
    bool thin = false;             // take `most` of them, spread evenly, where there are more; otherwise give up
    size_t other_than = SIZE_MAX;  // this variable is to differ ...
    int64_t excluded = 0;          // ... from this
    // About so many values of the variable set last, if nothing limits it and there are more: the first two, the last, some between, small
    // ones closer together. 0: all.
    size_t few = 0;
  };
  // Calls visit(values) for each choice until it returns false; the values ascend in the order in which the variables are set.
  // False where it was stopped or gave up.
  template <class Visit>
  bool each(Ground& ground, const Extent& extent, Visit visit) const {
    return search(ground, extent, {&visit, [](void* own, const int64_t* option) {
                                     return static_cast<bool>((*static_cast<Visit*>(own))(option));
                                   }});
  }

  size_t variables() const { return variables_; }
  // Of its sizes. Others may add theirs before the first layer, and find them in Ground::statics.
  Statics& statics() { return statics_; }
  // Whether the variables are set in their own order, so that choices come in lexicographic order.
  bool in_order() const;
  // They are, and every multiple of some number up to the largest is legal for the last, whatever the others are.
  bool ends_in_range() const;

 private:
  class Search;
  struct Visitor {
    void* own;
    bool (*call)(void* own, const int64_t* option);
  };
  bool search(Ground& ground, const Extent& extent, const Visitor& visitor) const;
  void choose_order();
  bool close_equations(Ground& ground) const;

  size_t variables_;
  std::vector<std::pair<Size, Size>> equations_;
  Statics statics_;
  std::vector<int> needed_;  // static variables that a layer must set
  std::vector<Term> fixed_;  // sizes without dynamic variables
  std::vector<Term> sizes_;  // those with
  std::vector<Term> bounded_;
  std::vector<System::Bound> bounds_;
  std::vector<size_t> order_;  // in which the search sets the variables
};

// All that a system leaves open on one layer.
struct Answer {
  bool too_large = false;                       // could not be computed; nothing else is meant
  bool found = false;                           // there is a solution
  Values first{};                               // one of them
  std::vector<std::pair<int, int64_t>> forced;  // variables that are the same in all of them
  std::vector<int> free;                        // the others
};

// Solves a system where the static variables are set in `values`; the dynamic ones go up to `largest` where neither a bound nor a size
// that they divide limits them. Unlike verdict(), it rounds H/s up, as the layers do.
Answer solve(const System& system, const Values& values, int64_t largest);

}  // namespace canvas

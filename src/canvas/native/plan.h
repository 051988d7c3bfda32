// A kernel as loop nests over buffers: which values are stored and how, and what each nest computes. Made from lowered core forms; what is
// affine is an access, maps are computed where their results are used, and everything else is stored once.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "canvas/native/access.h"

namespace canvas::native {

// What is computed for one element: a tree of functions over elements of buffers and the nest's own sum.
struct Expression {
  enum Kind { kLoad, kCore, kApply, kShare } kind;
  Access access = {};         // kLoad
  std::string function = {};  // kApply: a primitive's name, or one of plain_forms.h
  double divisor = 1;         // kShare
  std::vector<Expression> of = {};
};

// For all elements of `to`: expression(sum or maximum over `reduced` of the product of `factors`).
struct Nest {
  std::vector<std::pair<std::string, int64_t>> loops;    // axes of the result and their extents
  std::vector<std::pair<std::string, int64_t>> reduced;  // axes that are summed
  Access to;
  std::vector<Access> factors;  // none: the expression alone
  bool maximum = false;         // of one factor
  Expression expression;
  bool once = false;  // depends on parameters alone
  int parts = 0;      // nests of one number, not 0, write parts of one value: in any order, none reads another's
  std::vector<std::string> around;  // loops that its block has around all of its nests, outermost first
};

// Neighbouring nests within common loops: what one makes for the next is made for one step of these loops at a time.
struct Block {
  size_t first, last;            // nests
  std::vector<int64_t> extents;  // of the loops around
  size_t depth = 0;              // loops around all of it
  int64_t images = 0;            // above 0: its one loop counts images, so many in a step
};

// Calls visit(access) for the result, the factors and the loads of a nest, in order.
template <class N, class Visit>
void for_each_access(N& nest, const Visit& visit) {
  visit(nest.to);
  for (auto& factor : nest.factors) visit(factor);
  const auto look = [&](const auto& self, auto& expression) -> void {
    if (expression.kind == Expression::kLoad) visit(expression.access);
    for (auto& child : expression.of) self(self, child);
  };
  look(look, nest.expression);
}

struct Plan {
  Buffers buffers;
  std::vector<Nest> nests;
  std::vector<std::string> parameters;  // names, by number
  std::vector<Block> blocks;
};

// An input of this name is what is added to the output.
inline const std::string kAddendName = "the addend";

// The axes of the input and of the result as they lie in memory. Throws ArgumentError where a core form is not known.
Plan make_plan(const CoreProgram& program, const Axes& from, const Axes& to, const Values& values);

}  // namespace canvas::native

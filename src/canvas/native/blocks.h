// Blocks: loops that neighbouring nests have in common are put around all of them, so that what one nest makes for the next stays in the
// cache. Between plan and loops.
#pragma once

#include "canvas/native/plan.h"

namespace canvas::native {

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

// Where scratch would not fit a cache. Buffers that are used within a block alone lose the axes of its loops.
void make_blocks(Plan& plan);

}  // namespace canvas::native

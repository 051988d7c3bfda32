// Grows a kernel primitive by primitive so that a legal completion always exists: an action is taken only if the steps that
// would then close the kernel still fit. So every try ends in a kernel that verifies.
#pragma once

#include <vector>

#include "canvas/base/random.h"
#include "canvas/ir/builder.h"
#include "canvas/sample/limits.h"

namespace canvas {

class Growth {
 public:
  // Continues `builder`, which may already hold a part of a kernel.
  Growth(Builder builder, const Limits& limits, Random& random);

  // Whether at most `limits.max_primitives` primitives can close what is there.
  bool can_close() const;

  // Adds primitives until the kernel is complete with about `length` of them; requires can_close().
  Kernel grow(int length, const std::string& name);

 private:
  bool complete() const;
  bool try_action(int remaining);
  bool try_unary(const Primitive& primitive, int remaining);
  bool try_join(const Primitive& primitive, int remaining);
  bool keep_if_closable(int remaining);
  void close_step();
  Proposal proposal(std::vector<int> operands) const;
  int weighted() const;

  Builder builder_;
  const Limits& limits_;
  Random& random_;
  std::vector<double> weights_;
  // What proposals refer to; refreshed before each.
  mutable std::vector<Size> channel_sizes_;
  mutable std::vector<Size> group_sizes_;
  mutable Axes partners_;
};

// An upper bound on the primitives that close a partial kernel: converts every open value to the result's axes and joins them.
int closing_steps(const Builder& builder);

}  // namespace canvas

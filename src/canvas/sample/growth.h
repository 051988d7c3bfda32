// Grows a kernel primitive by primitive so that a legal completion always exists: an action is taken only if the steps that
// would then close the kernel still fit. So every try ends in a kernel that verifies.
#pragma once

#include <vector>

#include "canvas/base/random.h"
#include "canvas/ir/builder.h"
#include "canvas/sample/closing.h"
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
  // Adds a primitive on a way that closes the kernel within `room` of them.
  void close_step(int room);
  void close_shortest(const ClosingStep& step);
  void add_closing(const Primitive& primitive, std::vector<int> operands, const Attributes& attributes);
  void add_first_proposal(const Primitive& primitive, std::vector<int> operands);
  void mix(int value);
  void fold_mean(int value, std::vector<std::string> axes);
  void join(int a, int b);
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

}  // namespace canvas

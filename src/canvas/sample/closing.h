// How many primitives a partial kernel still needs, and which: the sampler takes an action only if the rest can be closed in the room that
// is left. A sound bound comes first, from converting and joining the open values; where that is too many, a search over sets of axes looks
// for a shorter way. Knows no random numbers and changes no builder.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "canvas/sample/outline.h"

namespace canvas {

// How often a primitive is drawn: its own weight, unless `weights` names it; 0: never.
double weight_of(const Primitive& primitive, const std::map<std::string, double>& weights);

bool subset(const Axes& small, const Axes& large);
// One's axes are among the other's.
bool joinable(const Axes& a, const Axes& b);
// Axes of one name have one size, so that a broadcast is legal.
bool compatible(const Axes& a, const Axes& b);

// What a value lacks to be the result.
struct Open {
  bool channels = false;   // has an axis that can become K
  bool is_result = false;  // its non-spatial axes are just the result's channel axis
  bool subsample = false;  // a spatial axis still has to stride
  bool upsample = false;   // a spatial axis was made shorter than the result's by a whole number
  AxisNames foreign = {};  // spatial axes that the result has not
};
Open open(const Axes& axes, const Signature& signature);

// One primitive of a way to close a kernel.
struct ClosingStep {
  enum Kind { kMix, kSubsample, kUpsample, kFold, kJoin, kContract, kStack };
  Kind kind;
  Inputs values;
  AxisNames axes = {};  // kFold, kContract
};

class Closing {
 public:
  // The longest way that is searched for; past it, the bound is all there is.
  static constexpr int kDeepest = 4;

  // weights: those of Limits; fold, contract and stack are used only where they are not forbidden. Both must outlive it.
  Closing(const Outline& outline, const std::map<std::string, double>& weights);

  // Outline::bound(), or a million where the values have too many axes to tell.
  int bound() const { return bound_; }
  // Whether at most `steps` primitives close the kernel: exactly, where `steps` or the least number is at most kDeepest, among all that
  // the primitives propose and the sampler joins (see joinable); otherwise true at least where bound() says so.
  bool within(int steps) const { return bound_ <= steps || first_step(steps).has_value(); }
  // The least number of primitives, with the same reservation.
  int least() const;
  // How a way of at most `steps` primitives begins, where there is one and bound() gives none.
  std::optional<ClosingStep> first_step(int steps) const;

 private:
  const Outline& outline_;
  const std::map<std::string, double>& weights_;
  int bound_;
};

}  // namespace canvas

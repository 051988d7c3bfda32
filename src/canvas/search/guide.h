// What a search learns from results so far: which of several proposals to evaluate next.
//
// Each objective is a linear function of a kernel's features, learned as a distribution (regression.h). To choose, one function is drawn
// from it for each objective (Thompson sampling: what is unsure is tried in proportion), and the proposal is taken that is best by a random
// weighing of the objectives (ParEGO, Knowles 2006), each on the scale of the front.
#pragma once

#include <optional>

#include "canvas/search/features.h"
#include "canvas/search/pareto.h"
#include "canvas/search/regression.h"

namespace canvas {

class Guide {
 public:
  // A candidate's result, nothing for one that failed.
  void learn(const Features& features, const std::optional<Point>& objectives);
  // Whether there are results enough to choose by.
  bool ready() const { return outcome_ && outcome_->examples() >= 2 && front_.size() > 0; }
  // The index of the proposal to evaluate.
  size_t choose(const std::vector<Features>& proposals, Random& random) const;

 private:
  std::optional<Regression> outcome_;  // of those that did not fail
  Regression failure_ = Regression(kFeatures, 1, 1.0);
  std::vector<Point> front_;
};

}  // namespace canvas

// What a search learns from results so far: which of several proposals to evaluate next.
//
// Each objective is a linear function of a kernel's features, learned as a distribution (regression.h). That proposal is taken from which
// the largest growth of the front's hypervolume is expected: a mean over functions that are drawn from the distribution, of the growth
// along random directions (hypervolume scalarisation, Golovin and Zhang 2020, "Random Hypervolume Scalarizations").
#pragma once

#include <optional>

#include "canvas/search/features.h"
#include "canvas/search/pareto.h"
#include "canvas/search/regression.h"

namespace canvas {

class Guide {
 public:
  // A candidate's result, nothing for one that failed; then `known` may hold what is known of it, NaN for the rest.
  void learn(const Features& features, const std::optional<Point>& objectives, const Point& known = {});
  // Whether there are results enough to choose by.
  bool ready() const;
  // The index of the proposal to evaluate.
  size_t choose(const std::vector<Features>& proposals, Random& random) const;

 private:
  // The part of the space between the front's best and its worst, to which objectives are scaled.
  struct Scale {
    Point worst, range;
  };
  Scale scale() const;

  std::vector<Regression> outcomes_;  // of each objective
  Regression failure_ = Regression(kFeatures, 1.0);
  std::vector<Point> front_;
};

}  // namespace canvas

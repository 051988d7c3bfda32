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

// The coefficients of an objective's function that examples teach, beginning with what is expected (kFeatures, or none): lower outputs are
// better, and are taken in units of their deviation. Throws ArgumentError for other numbers of features.
Features taught(const std::vector<Features>& features, const std::vector<double>& outputs, const Features& expected);

class Guide {
 public:
  // `prior`: for each objective the coefficients that are expected of its function (kFeatures; none: nothing is known), as earlier
  // searches taught them. Throws ArgumentError where these are not so many finite numbers.
  explicit Guide(std::vector<Features> prior = {});

  // A candidate's result, nothing for one that failed; then `known` may hold what is known of it, NaN for the rest.
  void learn(const Features& features, const std::optional<Point>& objectives, const Point& known = {});
  // Whether there is enough to choose by: results, or what is expected.
  bool ready() const { return informed() || expects(); }
  // Whether earlier searches taught something.
  bool expects() const { return !prior_.empty(); }
  // The indices of the proposals, the one to evaluate first.
  std::vector<size_t> ranked(const std::vector<Features>& proposals, Random& random) const;

 private:
  // The part of the space between the front's best and its worst, to which objectives are scaled.
  struct Scale {
    Point worst, range;
  };
  Scale scale() const;
  // Whether there are results enough to choose by.
  bool informed() const;
  // What is expected of each objective before there are results.
  std::vector<Regression> expected(size_t objectives) const;

  std::vector<Features> prior_;
  std::vector<Regression> outcomes_;  // of each objective
  Regression failure_ = Regression(kFeatures, 1.0);
  std::vector<Point> front_;
};

}  // namespace canvas

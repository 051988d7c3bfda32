// Ask/tell search over kernels: random, or evolution by cutting and completing. It evaluates nothing itself.
//
// Candidate i is a function of the seed and of the results of candidates 0 .. i - lookahead alone, whatever the order and time in which
// results arrive. So any number of workers gives the same candidates, and a search that is asked and told the same again goes on as if
// it had never stopped.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "canvas/sample/sampler.h"
#include "canvas/search/pareto.h"

namespace canvas {

struct Candidate {
  int64_t index = 0;
  std::string hash;
  Kernel kernel;
  std::string origin;   // "random" or "mutation"
  int64_t parent = -1;  // the candidate that was changed, or -1
};

enum class Strategy { kRandom, kEvolution };

class Search {
 public:
  // Throws ArgumentError for a lookahead below 1 and whatever Sampler throws.
  Search(std::vector<Layer> layers, Budget budget, Limits limits, uint64_t seed, Strategy strategy, int64_t lookahead);

  // The next candidate; nothing while results of earlier ones must be told first. Throws Infeasible when no new kernel can be found.
  std::optional<Candidate> ask();

  // The result of a candidate: objectives, each "lower is better", or nothing for one that failed. Throws ArgumentError for an unknown
  // candidate, a second result, non-finite values, or another number of objectives than before.
  void tell(int64_t index, std::optional<Point> objectives);

  // Indices of the told candidates that no other dominates, in order.
  std::vector<int64_t> front() const;

  // The sizes that a candidate takes on the layers.
  Binding bound(const Candidate& candidate) const { return sampler_.bound(candidate.kernel); }

  const std::map<std::string, int64_t>& counts() const { return sampler_.counts(); }

 private:
  struct Record {
    std::optional<Kernel> kernel;  // none where it can be no parent any more
    bool told = false;
    std::optional<Point> objectives;
  };
  void rank_parents();

  Sampler sampler_;
  uint64_t seed_;
  Strategy strategy_;
  int64_t lookahead_;
  std::vector<Record> records_;
  int64_t told_ = 0;              // all candidates before this one are told
  int64_t pooled_ = 0;            // and those before this one have been in the pool
  std::vector<int64_t> pool_;     // the best so far, in the order asked
  std::vector<int64_t> parents_;  // the best of these first
  size_t dimensions_ = 0;
};

}  // namespace canvas

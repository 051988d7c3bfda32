// Ask/tell search over kernels: random, by evolution, or by evolution with a model that chooses among children. It evaluates nothing itself.
//
// Candidate i is a function of the seed and of the results of candidates 0 .. i - lookahead alone, whatever the order and time in which
// results arrive. So any number of workers gives the same candidates, and a search that is asked and told the same again goes on as if
// it had never stopped.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "canvas/sample/behaviour.h"
#include "canvas/sample/sampler.h"
#include "canvas/search/guide.h"
#include "canvas/search/pareto.h"

namespace canvas {

struct Candidate {
  int64_t index = 0;
  std::string hash;
  Kernel kernel;
  std::string origin;   // "given", "random", "mutation" or "crossover"
  int64_t parent = -1;  // the candidate that was changed, or -1
};

enum class Strategy { kRandom, kEvolution, kGuided };

// When a kernel is another one: where its form differs, or where it does something else (behaviour.h), on inputs of either sign or on such as
// are not negative. One that is shorter than all that do the same is another one, too.
enum class Distinct { kByForm, kByResult, kByResultOfNonnegative };

class Search {
 public:
  // Throws ArgumentError for a lookahead below 1 and whatever Sampler throws.
  // `first`: these come before all others, but for those that do not serve the layers within the budget; other limits are not held against
  // them. `only`: hashes of the kernels that may come after them, any where it is empty. `prior`: what earlier searches taught (guide.h), for
  // each objective. `distinct`: of those after the first.
  Search(std::vector<Layer> layers, Budget budget, Limits limits, uint64_t seed, Strategy strategy, int64_t lookahead,
         const std::vector<Kernel>& first = {}, std::set<std::string> only = {}, std::vector<Features> prior = {},
         Distinct distinct = Distinct::kByForm);

  // The next candidate; nothing while results of earlier ones must be told first. Throws Infeasible when no new kernel can be found.
  std::optional<Candidate> ask();

  // Instead of asking: the next candidate as a search with the same arguments and results gave it, which takes less time.
  // Throws ArgumentError where results of earlier ones must be told first, and for a kernel that was there before.
  void repeat(const Kernel& kernel);

  // The result of a candidate: objectives, each "lower is better", or nothing for one that failed; `known` may hold what is known of
  // such a one's objectives all the same, NaN for the others: it cannot be a parent, but a model learns from it. Throws ArgumentError for
  // an unknown candidate, a second result, non-finite objectives, or another number of them than before.
  void tell(int64_t index, std::optional<Point> objectives, Point known = {});

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
    Point known = {};        // of one that failed
    Features features = {};  // for the guide, until it has learned from them
  };
  struct Proposal {
    Sampler::Judged judged;
    const char* origin;
    int64_t parent;
  };
  // So many random candidates come before the first child.
  int64_t warm_up() const;
  // The results that the next candidate may depend on.
  int64_t known() const { return static_cast<int64_t>(records_.size()) - lookahead_ + 1; }
  std::vector<Proposal> proposals(Random& random);
  Proposal propose(Random& random);
  std::vector<Features> described(const std::vector<Proposal>& proposals) const;
  std::optional<uint64_t> behaviour_of(const Kernel& kernel) const;  // where that tells kernels apart
  // Whether no candidate that is as short does the same.
  bool is_new(std::optional<uint64_t> behaviour, int length) const;
  void remember(std::optional<uint64_t> behaviour, int length);
  // Whether earlier results must be told before the next candidate.
  bool waits();
  // Takes the results that the next candidate may depend on into the guide and the pool.
  void learn();
  std::vector<int64_t> best_first() const;  // of the pool
  void thin_pool();
  void list_parents();
  int64_t choose_parent(Random& random) const;

  Sampler sampler_;
  Cost original_;
  std::vector<Canonical> first_;
  std::set<std::string> only_;
  Guide guide_;
  uint64_t seed_;
  Strategy strategy_;
  int64_t lookahead_;
  std::optional<Behaviours> behaviours_;
  std::unordered_map<uint64_t, int> shortest_;  // number of primitives, by behaviour
  std::vector<Record> records_;
  int64_t told_ = 0;              // all candidates before this one are told
  int64_t learned_ = 0;           // and those before this one have been learned from
  std::vector<int64_t> pool_;     // the best so far, in the order asked
  std::vector<int64_t> parents_;  // the best of these first ...
  bool listed_ = false;           // ... of what has been learned so far
  size_t dimensions_ = 0;
};

}  // namespace canvas

// Samples kernels for a network: legal by construction, plausible, within budget, distinct. Mutates and completes given ones in the same
// way. Every stream of random numbers is passed in or derived from a seed, so the same seed gives the same kernels, on any number of threads.
#pragma once

#include <cmath>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "canvas/base/random.h"
#include "canvas/ir/canonical.h"
#include "canvas/sample/growth.h"
#include "canvas/sample/limits.h"
#include "canvas/sample/plausible.h"
#include "canvas/sample/spending.h"
#include "canvas/solve/binding.h"

namespace canvas {

struct Sample {
  std::string hash;
  Kernel kernel;  // canonical; the layers and the budget have a binding for it
};

class Sampler {
 public:
  // Throws ArgumentError for bad layers, budget or limits. The kernels' signature follows from the layers.
  Sampler(std::vector<Layer> layers, Budget budget, Limits limits);

  // What became of one try, but for whether its kernel was there before.
  struct Judged {
    const char* fate;         // a key of counts(): "kept" where nothing speaks against it
    std::string reason = "";  // of an implausible one
    Digest identity = {};
    std::optional<Kernel> kernel = {};  // of one to be kept
    std::string refusal = "";           // of one that the network or the budget turned down
    double missed = HUGE_VAL;
    int excess = 0;  // primitives of the canonical form beyond the most, or, negative, below the fewest
    std::vector<std::string> before = {};  // why earlier ends of the same try were turned down
    // Whether another end may do better: it was turned down for what it is, not for having been there before.
    bool turned_down() const { return !kernel && std::string(fate) != "duplicate"; }
  };
  // What judging keeps from kernel to kernel.
  struct Workspace {
    Spending spending;
    Plausibility plausibility;
  };
  Workspace workspace() const;
  // One try from nothing, in two steps. The first may run on several threads at once, each with a workspace of its own; the second goes by
  // the order of the tries. A kernel that is turned down is taken back some steps and ended in another way, up to kOtherEnds times.
  Judged attempt(Random& random, Workspace& workspace) const;
  Judged attempt(Random& random) { return attempt(random, *workspace_); }
  std::optional<Sample> accept(Judged judged);
  // The first step for kernels made elsewhere, which serve the layers: where one is turned down, or making it failed, another is made, up to
  // twice as often.
  using Make = std::function<std::optional<Kernel>(const Growing&)>;
  Judged attempt(const Make& make);

  // How many tries ended how: tried, illegal, implausible, over_budget, duplicate, kept.
  const std::map<std::string, int64_t>& counts() const { return counts_; }
  // Of the implausible ones, how many for which reason.
  const std::map<std::string, int64_t>& reasons() const { return reasons_; }
  // How many ends of tries were taken back, by the reason or fate that they had.
  const std::map<std::string, int64_t>& taken_back() const { return taken_back_; }
  // Throws Infeasible: `tries` in a row gave no new kernel. Says which budget the nearest kernel so far missed, and by how much.
  [[noreturn]] void give_up(int tries) const;
  // The binding of a kernel to be kept.
  Binding bound(const Kernel& kernel) const;
  // That of the kernels.
  const Signature& signature() const { return signature_; }

 private:
  int other_ends() const;
  Judged judge(const Kernel& kernel, Workspace& workspace) const;

  struct Hash {
    size_t operator()(const Digest& digest) const { return digest.first; }
  };
  std::vector<Layer> layers_;
  Budget budget_;
  Limits limits_;
  Signature signature_;
  int shortest_ = 0;             // that a try may aim at
  std::vector<double> lengths_;  // weights of the lengths from that one on
  std::optional<Chances> chances_;
  std::optional<Workspace> workspace_;
  std::unordered_set<Digest, Hash> seen_;
  std::map<std::string, int64_t> counts_, reasons_, taken_back_;
  std::string refusal_;           // why the network or the budget turned down the kernel that came nearest, or ""
  double least_miss_ = HUGE_VAL;  // by which factor that missed the budget
};

// An endless list of distinct kernels, taken in parts; of those taken, only the hashes are kept.
class Samples {
 public:
  // Throws what Sampler throws, and ArgumentError for less than one thread.
  Samples(std::vector<Layer> layers, Budget budget, Limits limits, uint64_t seed, int threads);

  // The next `count` kernels. Throws Infeasible when 2000 tries in a row give none, with the reason of the nearest refusal; those that came
  // before are there for a smaller count.
  std::vector<Sample> take(int64_t count);
  const Sampler& sampler() const { return sampler_; }

 private:
  void judge_more();

  Sampler sampler_;
  Random seed_;
  uint64_t next_ = 0;  // try
  int fruitless_ = 0;
  std::vector<Sampler::Workspace> workspaces_;  // one a thread
  std::deque<Sampler::Judged> waiting_;
  std::deque<Sample> found_;  // and not yet taken
};

// The first `count` kernels of that list.
std::vector<Sample> sample(const std::vector<Layer>& layers, int64_t count, uint64_t seed, const Budget& budget,
                           const Limits& limits, int threads = 1);

}  // namespace canvas

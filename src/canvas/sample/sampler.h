// Samples kernels for a network: legal by construction, plausible, within budget, distinct. Mutates and completes given ones in the same
// way. Every stream of random numbers is passed in or derived from a seed, so the same seed gives the same kernels, on any number of threads.
#pragma once

#include <cmath>
#include <cstdint>
#include <deque>
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
  };
  // What judging keeps from kernel to kernel.
  struct Workspace {
    Spending spending;
    Plausibility plausibility;
  };
  Workspace workspace() const;
  // What a kernel made elsewhere is best grown under; until the next call.
  Growing growing();
  // One try from nothing, in two steps. The first may run on several threads at once, each with a workspace of its own; the second goes by
  // the order of the tries.
  Judged attempt(Random& random, Workspace& workspace) const;
  Judged attempt(Random& random) { return attempt(random, *workspace_); }
  std::optional<Sample> accept(Judged judged);
  // The same with a kernel made elsewhere, or with none where making it failed. The kernel serves the layers.
  Judged judged(const std::optional<Kernel>& child);
  std::optional<Sample> consider(const std::optional<Kernel>& child) { return accept(judged(child)); }

  // How many tries ended how: tried, illegal, implausible, over_budget, duplicate, kept.
  const std::map<std::string, int64_t>& counts() const { return counts_; }
  // Of the implausible ones, how many for which reason.
  const std::map<std::string, int64_t>& reasons() const { return reasons_; }
  // Throws Infeasible: `tries` in a row gave no new kernel. Says which budget the nearest kernel so far missed, and by how much.
  [[noreturn]] void give_up(int tries) const;
  // The binding of a kernel to be kept.
  Binding bound(const Kernel& kernel) const;
  // That of the kernels.
  const Signature& signature() const { return signature_; }

 private:
  Judged judge(const Kernel& kernel, Workspace& workspace) const;

  struct Hash {
    size_t operator()(const Digest& digest) const { return digest.first; }
  };
  std::vector<Layer> layers_;
  Budget budget_;
  Limits limits_;
  Signature signature_;
  std::vector<double> lengths_;  // weights of the lengths that a try may aim at, from the shortest
  std::optional<Chances> chances_;
  std::optional<Workspace> workspace_;
  std::unordered_set<Digest, Hash> seen_;
  std::map<std::string, int64_t> counts_, reasons_;
  std::string refusal_;           // why the network or the budget turned down the kernel that came nearest, or ""
  double least_miss_ = HUGE_VAL;  // by which factor that missed the budget
};

// An endless list of distinct kernels, taken in parts; of those taken, only the hashes are kept.
class Samples {
 public:
  // Throws what Sampler throws, and ArgumentError for less than one thread.
  Samples(std::vector<Layer> layers, Budget budget, Limits limits, uint64_t seed, int threads);

  // The next `count` kernels. Throws Infeasible when 2000 tries in a row give none, with the reason of the nearest refusal.
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
};

// The first `count` kernels of that list.
std::vector<Sample> sample(const std::vector<Layer>& layers, int64_t count, uint64_t seed, const Budget& budget,
                           const Limits& limits, int threads = 1);

}  // namespace canvas

// Samples kernels for a network: legal by construction, plausible, within budget, distinct. Mutates and completes given ones in the same
// way. Every stream of random numbers is passed in or derived from a seed, so the same seed gives the same kernels.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "canvas/base/random.h"
#include "canvas/sample/limits.h"
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

  // One try from nothing.
  std::optional<Sample> draw(Random& random);
  // One try from a parent: cuts and completes, inserts, removes or changes a primitive.
  std::optional<Sample> mutate(const Kernel& parent, Random& random);

  // One try with a kernel made elsewhere, or with none where making it failed. The kernel serves the layers.
  std::optional<Sample> consider(const std::optional<Kernel>& child);

  // How many tries ended how: tried, illegal, implausible, over_budget, duplicate, kept.
  const std::map<std::string, int64_t>& counts() const { return counts_; }
  // Throws Infeasible: `tries` in a row gave no new kernel. Says which budget the nearest kernel so far missed, and by how much.
  [[noreturn]] void give_up(int tries) const;
  // The binding of a kernel that draw() or mutate() gave.
  Binding bound(const Kernel& kernel) const;
  // That of the kernels.
  const Signature& signature() const { return signature_; }

 private:
  std::optional<Sample> judge(const Kernel& kernel);

  std::vector<Layer> layers_;
  Budget budget_;
  Limits limits_;
  Signature signature_;
  std::set<std::string> seen_;
  std::map<std::string, int64_t> counts_;
  std::string refusal_;           // why the network or the budget turned down the kernel that came nearest, or ""
  double least_miss_ = HUGE_VAL;  // by which factor that missed the budget
};

// `count` distinct kernels. Throws Infeasible when 2000 tries in a row give none, with the reason of the nearest refusal.
std::vector<Sample> sample(const std::vector<Layer>& layers, int64_t count, uint64_t seed, const Budget& budget,
                           const Limits& limits);

}  // namespace canvas

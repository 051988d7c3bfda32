#include "canvas/sample/sampler.h"

#include <algorithm>

#include "canvas/ir/canonical.h"
#include "canvas/sample/growth.h"
#include "canvas/sample/mutation.h"
#include "canvas/sample/plausible.h"
#include "canvas/sample/superfluous.h"

namespace canvas {

namespace {

constexpr int kFruitlessTries = 2000;

}  // namespace

Sampler::Sampler(std::vector<Layer> layers, Budget budget, Limits limits)
    : layers_(std::move(layers)), budget_(std::move(budget)), limits_(std::move(limits)) {
  if (layers_.empty()) throw ArgumentError("sampling needs at least one layer, got none");
  for (const Layer& layer : layers_) {
    layer.check();
    if (layer.kind() != layers_[0].kind()) {
      throw ArgumentError("all layers must be of one kind, got " + layers_[0].kind() + " and " + layer.kind() +
                          "; sample for each kind by itself: layer.kind tells them apart");
    }
  }
  budget_.check();
  limits_.check();
  limits_.rules.check();
  const bool tokens = limits_.mix_tokens &&
                      std::all_of(layers_.begin(), layers_.end(), [](const Layer& layer) { return layer.tokens; });
  signature_ = tokens ? Signature::tokens() : Signature::convolution(static_cast<int>(layers_[0].spatial.size()));
  if (signature_.per_position() && limits_.min_reach > 1) {
    throw ArgumentError("a linear layer's kernel sees one position: min_reach must be 1, got " +
                        std::to_string(limits_.min_reach));
  }
  limits_.check_plausibility();
  for (const char* fate : {"tried", "illegal", "implausible", "over_budget", "duplicate", "kept"}) counts_[fate] = 0;
}

std::optional<Sample> Sampler::draw(Random& random) {
  ++counts_["tried"];
  const auto span = static_cast<size_t>(limits_.max_primitives - std::max(3, limits_.min_primitives) + 1);
  const int length = std::max(3, limits_.min_primitives) + static_cast<int>(random.below(span));
  return judge(Growth(Builder(signature_), limits_, random).grow(length, "kernel"));
}

std::optional<Sample> Sampler::mutate(const Kernel& parent, Random& random) {
  return consider(mutated(parent, limits_, random));
}

std::optional<Sample> Sampler::consider(const std::optional<Kernel>& child) {
  ++counts_["tried"];
  if (child) return judge(*child);
  ++counts_["illegal"];
  return std::nullopt;
}

std::optional<Sample> Sampler::judge(const Kernel& grown) {
  // What is cheap and turns down many goes first.
  if ((limits_.concise && superfluous(grown)) || ill_connected(grown, limits_)) {
    ++counts_["implausible"];
    return std::nullopt;
  }
  const Canonical form = canonical(grown);
  const Kernel& kernel = form.kernel;
  std::string identity = hash_of(form);
  if (seen_.count(identity)) {
    ++counts_["duplicate"];
    return std::nullopt;
  }
  if (kernel.length() < limits_.min_primitives || untrainable(kernel, limits_)) {
    ++counts_["implausible"];
    return std::nullopt;
  }
  double missed = least_miss_;
  if (const auto fault = unbindable(kernel, layers_, budget_, limits_.rules, &missed)) {
    if (refusal_.empty() || missed < least_miss_) refusal_ = fault->str();
    least_miss_ = std::min(least_miss_, missed);
    ++counts_["over_budget"];
    return std::nullopt;
  }
  if (fails_forward(kernel, limits_)) {
    ++counts_["implausible"];
    return std::nullopt;
  }
  seen_.insert(identity);
  ++counts_["kept"];
  Kernel named = kernel.renamed("k" + identity.substr(0, 8));
  return Sample{std::move(identity), std::move(named)};
}

Binding Sampler::bound(const Kernel& kernel) const {
  auto binding = bind(kernel, layers_, budget_, limits_.rules);
  require(static_cast<bool>(binding), "a sampled kernel has no binding");
  return std::move(*binding);
}

void Sampler::give_up(int tries) const {
  const std::string nearest = refusal_.empty() ? "; widen the limits" : "; of those refused, the nearest: " + refusal_;
  throw Infeasible("sampling: " + std::to_string(tries) + " tries in a row gave no new kernel that fits" + nearest);
}

std::vector<Sample> sample(const std::vector<Layer>& layers, int64_t count, uint64_t seed, const Budget& budget,
                           const Limits& limits) {
  if (count < 0) throw ArgumentError("the number of samples must not be negative, got " + std::to_string(count));
  Sampler sampler(layers, budget, limits);
  std::vector<Sample> samples;
  int fruitless = 0;
  for (uint64_t attempt = 0; static_cast<int64_t>(samples.size()) < count; ++attempt) {
    Random random = Random(seed).split(attempt);
    if (auto found = sampler.draw(random)) {
      samples.push_back(std::move(*found));
      fruitless = 0;
    } else if (++fruitless == kFruitlessTries) {
      sampler.give_up(kFruitlessTries);
    }
  }
  return samples;
}

}  // namespace canvas

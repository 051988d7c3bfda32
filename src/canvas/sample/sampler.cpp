#include "canvas/sample/sampler.h"

#include <algorithm>

#include "canvas/ir/canonical.h"
#include "canvas/sample/growth.h"
#include "canvas/text/printer.h"
#include "canvas/sample/mutation.h"
#include "canvas/sample/plausible.h"
#include "canvas/sample/superfluous.h"

namespace canvas {

namespace {

constexpr int kFruitlessTries = 2000;

// How often a length is drawn: there are few short kernels, and most would come again and again.
double length_weight(int length) {
  constexpr double kShort[] = {0.02, 0.25, 0.7};  // of 3, 4 and 5 primitives
  return length < 6 ? kShort[std::max(0, length - 3)] : 1;
}

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
  for (int length = std::max(3, limits_.min_primitives); length <= limits_.max_primitives; ++length)
    lengths_.push_back(length_weight(length));
  spending_.emplace(layers_, budget_, signature_.per_position());
  for (const char* fate : {"tried", "illegal", "implausible", "over_budget", "duplicate", "kept"}) counts_[fate] = 0;
}

std::optional<Sample> Sampler::draw(Random& random) {
  ++counts_["tried"];
  const int length = std::max(3, limits_.min_primitives) + static_cast<int>(random.weighted(lengths_));
  return judge(Growth(Builder(signature_), limits_, random, &*spending_).grow(length, "kernel"));
}

std::optional<Sample> Sampler::mutate(const Kernel& parent, Random& random) {
  ++counts_["tried"];
  const auto child = mutated(parent, limits_, random);
  if (child) return judge(*child);
  ++counts_["illegal"];
  return std::nullopt;
}

std::optional<Sample> Sampler::judge(const Kernel& grown) {
  // What is cheap and turns down many goes first.
  if (limits_.concise) if (auto r = superfluous(grown)) {
    ++counts_["implausible"];
    ++counts_[std::string("R ")+r];
    return std::nullopt;
  }
  if (auto r = ill_connected(grown, limits_)) {
    ++counts_["implausible"];
    ++counts_["R "+r->substr(0,30)];
    return std::nullopt;
  }
  const Canonical form = canonical(grown);
  const Kernel& kernel = form.kernel;
  std::string identity = hash_of(form);
  if (seen_.count(identity)) {
    ++counts_["duplicate"];
    ++counts_["D " + std::to_string(100+kernel.length())];
    return std::nullopt;
  }
  if (kernel.length() < limits_.min_primitives || untrainable(kernel, limits_)) {
    ++counts_["implausible"];
    ++counts_["R un" + untrainable(kernel, limits_)->substr(0,9)+untrainable(kernel, limits_)->substr(13)];
    return std::nullopt;
  }
  double missed = least_miss_;
  if (const auto fault = unbindable(kernel, layers_, budget_, limits_.rules, &missed)) {
    if (refusal_.empty() || missed < least_miss_) refusal_ = fault->str();
    least_miss_ = std::min(least_miss_, missed);
    ++counts_["over_budget"];
    { std::string f; for (char c : fault->str().substr(0, 200)) if (!isdigit(c) && c != '.') f += c; ++counts_["B " + f.substr(0, 70)]; if (getenv("SHOWB")) fprintf(stderr, "%s\n%s\n", fault->str().c_str(), print(kernel).c_str()); }
    return std::nullopt;
  }
  if (fails_forward(kernel, limits_)) {
    ++counts_["implausible"];
    return std::nullopt;
  }
  seen_.insert(identity);
  ++counts_["kept"];
    ++counts_["K " + std::to_string(100+kernel.length())];
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

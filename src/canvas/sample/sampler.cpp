#include "canvas/sample/sampler.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <iterator>
#include <mutex>
#include <thread>

#include "canvas/sample/mutation.h"
#include "canvas/sample/superfluous.h"

namespace canvas {

namespace {

constexpr int kFruitlessTries = 2000;
constexpr int kOtherEnds = 8;                              // of a try
constexpr int kTakenBack = 2;                              // steps, once more each time
constexpr int64_t kPatience = 200;                         // tries
constexpr uint64_t kFewestAtOnce = 16, kMostAtOnce = 512;  // tries

// What is not turned down first: one, or what another(last, ends before) gives up to `others` times; or the last of these.
template <class Another>
Sampler::Judged first_good(Sampler::Judged found, int others, const Another& another) {
  for (int ends = 1; ends <= others && found.turned_down(); ++ends) {
    Sampler::Judged last = std::move(found);
    last.before.push_back(last.reason.empty() ? last.fate : last.reason);
    found = another(last, ends);
    found.before = std::move(last.before);
    if (found.refusal.empty() || last.missed < found.missed) {
      found.refusal = std::move(last.refusal);
      found.missed = last.missed;
    }
  }
  return found;
}

// How often a length is drawn: there are few short kernels, and most would come again and again.
double length_weight(int length) {
  constexpr double kShort[] = {0.01, 0.1, 0.4, 0.8};  // of 3, 4, 5 and 6 primitives
  return length < 7 ? kShort[std::max(0, length - 3)] : 1;
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
  shortest_ = std::max({3, limits_.min_primitives, std::min(limits_.min_weighted + 2, limits_.max_primitives)});
  for (int length = shortest_; length <= limits_.max_primitives; ++length) lengths_.push_back(length_weight(length));
  chances_.emplace(limits_);
  workspace_.emplace(workspace());
  for (const char* fate : {"tried", "illegal", "implausible", "over_budget", "duplicate", "kept"}) counts_[fate] = 0;
}

Sampler::Workspace Sampler::workspace() const {
  return {Spending(layers_, budget_, limits_.rules, signature_), Plausibility(limits_, signature_)};
}

Sampler::Judged Sampler::attempt(Random& random, Workspace& workspace) const {
  workspace.spending.tidy();
  int length = shortest_ + static_cast<int>(random.weighted(lengths_));
  Growth growth(Builder(signature_), {limits_, *chances_, &workspace.spending}, random);
  return first_good(judge(growth.grow(length, "kernel"), workspace), other_ends(), [&](const Judged& last, int before) {
    length = std::clamp(length - last.excess, std::min(3, limits_.max_primitives), limits_.max_primitives);
    growth.retreat(kTakenBack * before);
    return judge(growth.grow(length, "kernel"), workspace);
  });
}

// None any more where nothing has come of many tries: it is as soon known that nothing will.
int Sampler::other_ends() const { return counts_.at("kept") == 0 && counts_.at("tried") >= kPatience ? 0 : kOtherEnds; }

Sampler::Judged Sampler::attempt(const Make& make) {
  workspace_->spending.tidy();
  const auto once = [&] {
    const auto made = make({limits_, *chances_, &workspace_->spending});
    return made ? judge(*made, *workspace_) : Judged{"illegal"};
  };
  return first_good(once(), 2 * other_ends(), [&](const Judged&, int) { return once(); });
}

Sampler::Judged Sampler::judge(const Kernel& grown, Workspace& workspace) const {
  auto& [spending, plausibility] = workspace;
  // What is cheap and turns down many goes first.
  if (limits_.concise) {
    if (auto reason = superfluous(grown)) return {"implausible", std::move(*reason)};
  }
  if (const auto reason = plausibility.ill_connected(grown)) return {"implausible", reason->what};
  const CanonicalForm form(grown);
  Judged judged{"kept", "", form.digest()};
  if (seen_.count(judged.identity)) return {"duplicate"};
  judged.excess = form.length() - std::clamp(form.length(), limits_.min_primitives, limits_.max_primitives);
  if (judged.excess != 0) {
    judged.fate = "implausible";
    judged.reason = judged.excess < 0 ? "its canonical form is too short" : "its canonical form is too long";
    return judged;
  }
  Kernel kernel = form.kernel().kernel;
  if (const auto reason = plausibility.untrainable(kernel)) return {"implausible", reason->what};
  if (!spending.fits(kernel)) {
    judged.missed = least_miss_;
    if (const auto fault = unbindable(kernel, layers_, budget_, limits_.rules, &judged.missed)) {
      judged.fate = "over_budget";
      judged.refusal = fault->str();
      return judged;
    }
  }
  if (const auto reason = plausibility.fails_forward(kernel)) return {"implausible", reason->what};
  judged.kernel = std::move(kernel);
  return judged;
}

std::optional<Sample> Sampler::accept(Judged judged) {
  ++counts_["tried"];
  for (const std::string& reason : judged.before) ++taken_back_[reason];
  if (judged.kernel && !seen_.insert(judged.identity).second) judged = {"duplicate"};
  ++counts_[judged.fate];
  if (!judged.reason.empty()) ++reasons_[judged.reason];
  if (!judged.refusal.empty() && (refusal_.empty() || judged.missed < least_miss_)) {
    refusal_ = std::move(judged.refusal);
    least_miss_ = std::min(least_miss_, judged.missed);
  }
  if (!judged.kernel) return std::nullopt;
  std::string identity = to_string(judged.identity);
  return Sample{identity, std::move(*judged.kernel).renamed("k" + identity.substr(0, 8))};
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

Samples::Samples(std::vector<Layer> layers, Budget budget, Limits limits, uint64_t seed, int threads)
    : sampler_(std::move(layers), std::move(budget), std::move(limits)), seed_(seed) {
  if (threads < 1) throw ArgumentError("sampling needs at least one thread, got " + std::to_string(threads));
  for (int i = 0; i < threads; ++i) workspaces_.push_back(sampler_.workspace());
}

std::vector<Sample> Samples::take(int64_t count) {
  if (count < 0) throw ArgumentError("the number of samples must not be negative, got " + std::to_string(count));
  while (static_cast<int64_t>(found_.size()) < count) {
    if (waiting_.empty()) judge_more();
    auto found = sampler_.accept(std::move(waiting_.front()));
    waiting_.pop_front();
    fruitless_ = found ? 0 : fruitless_ + 1;
    if (found) found_.push_back(std::move(*found));
    if (fruitless_ == kFruitlessTries) {
      fruitless_ = 0;
      sampler_.give_up(kFruitlessTries);
    }
  }
  const auto end = found_.begin() + count;
  std::vector<Sample> samples(std::move_iterator(found_.begin()), std::move_iterator(end));
  found_.erase(found_.begin(), end);
  return samples;
}

// The next tries at once: how many depends on their place in the list alone, since a refusal is told against those of earlier parts.
void Samples::judge_more() {
  const auto count = static_cast<size_t>(std::clamp<uint64_t>(next_, kFewestAtOnce, kMostAtOnce));
  std::vector<std::optional<Sampler::Judged>> judged(count);
  std::atomic<size_t> next = 0;
  std::exception_ptr failure;
  std::mutex guard;
  const auto work = [&](Sampler::Workspace& workspace) {
    try {
      for (size_t i = next++; i < count; i = next++) {
        Random random = seed_.split(next_ + i);
        judged[i] = sampler_.attempt(random, workspace);
      }
    } catch (...) {
      const std::lock_guard lock(guard);
      failure = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  for (size_t i = 1; i < workspaces_.size(); ++i) others.emplace_back(work, std::ref(workspaces_[i]));
  work(workspaces_[0]);
  for (std::thread& other : others) other.join();
  if (failure) std::rethrow_exception(failure);
  next_ += count;
  for (auto& one : judged) waiting_.push_back(std::move(*one));
}

std::vector<Sample> sample(const std::vector<Layer>& layers, int64_t count, uint64_t seed, const Budget& budget,
                           const Limits& limits, int threads) {
  return Samples(layers, budget, limits, seed, threads).take(count);
}

}  // namespace canvas

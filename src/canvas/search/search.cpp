#include "canvas/search/search.h"

#include <algorithm>
#include <cmath>

#include "canvas/base/error.h"
#include "canvas/sample/mutation.h"

namespace canvas {

namespace {

constexpr int64_t kWarmUp = 16;         // random candidates before the first mutation
constexpr int64_t kInformedWarmUp = 4;  // the same where earlier searches say what to expect
constexpr double kRandomShare = 0.2;    // and this share of random ones after
constexpr size_t kTournament = 3;
constexpr size_t kPopulation = 48;  // the best this many told candidates may be parents
// So many are ranked; from twice as many the worse half goes, so that a study may have any number.
constexpr size_t kPool = 256;
constexpr int kFruitlessTries = 5000;
constexpr const char* kGiven = "given";
constexpr double kCrossoverShare = 0.2;  // of children, those of two parents
constexpr size_t kProposals = 32;        // children that the guide chooses among
constexpr int kRounds = 4;               // of proposals, until one is taken that does what another does

}  // namespace

Search::Search(std::vector<Layer> layers, Budget budget, Limits limits, uint64_t seed, Strategy strategy,
               int64_t lookahead, const std::vector<Kernel>& first, std::set<std::string> only,
               std::vector<Features> prior, Distinct distinct)
    : sampler_(layers, budget, limits),
      original_(total_cost(layers)),
      only_(std::move(only)),
      guide_(std::move(prior)),
      seed_(seed),
      strategy_(strategy),
      lookahead_(lookahead) {
  if (lookahead < 1) throw ArgumentError("lookahead must be at least 1, got " + std::to_string(lookahead));
  if (distinct != Distinct::kByForm) behaviours_.emplace(layers, distinct == Distinct::kByResultOfNonnegative);
  std::set<Digest> known;
  for (const Kernel& kernel : first) {
    const bool serves = std::none_of(layers.begin(), layers.end(),
                                     [&](const Layer& layer) { return misfit(kernel.signature(), layer).has_value(); });
    if (!serves || unbindable(kernel, layers, budget, limits.rules)) continue;
    Canonical form = canonical(kernel);
    if (known.insert(form.digest).second) first_.push_back(std::move(form));
  }
}

int64_t Search::warm_up() const { return guide_.expects() ? kInformedWarmUp : kWarmUp; }

bool Search::waits() {
  while (told_ < static_cast<int64_t>(records_.size()) && records_[static_cast<size_t>(told_)].told) ++told_;
  return told_ < known();
}

std::optional<Candidate> Search::ask() {
  if (waits()) return std::nullopt;
  const auto index = static_cast<int64_t>(records_.size());
  learn();
  list_parents();
  Random random = Random(seed_).split(static_cast<uint64_t>(index));
  for (int round = 1;; ++round) {
    std::vector<Proposal> all = proposals(random);
    if (all.empty()) sampler_.give_up(kFruitlessTries);
    std::vector<Features> features =
        strategy_ == Strategy::kGuided ? described(all) : std::vector<Features>(all.size());
    const std::vector<size_t> order = all.size() > 1 ? guide_.ranked(features, random) : std::vector<size_t>{0};
    std::optional<uint64_t> behaviour;
    const auto taken = std::find_if(order.begin(), order.end(), [&](size_t i) {
      const Kernel& kernel = *all[i].judged.kernel;
      behaviour = behaviour_of(kernel);
      return round == kRounds || all[i].origin == kGiven || is_new(behaviour, kernel.length());
    });
    for (auto passed = order.begin(); passed != order.end(); ++passed) {
      if (passed != taken) sampler_.accept({passed < taken ? "duplicate" : "outranked"});
    }
    if (taken == order.end()) continue;
    Proposal& proposal = all[*taken];
    std::optional<Sample> found = sampler_.accept(std::move(proposal.judged));
    remember(behaviour, found->kernel.length());
    records_.push_back({found->kernel, false, std::nullopt, {}, std::move(features[*taken])});
    return Candidate{index, std::move(found->hash), std::move(found->kernel), proposal.origin, proposal.parent};
  }
}

std::optional<uint64_t> Search::behaviour_of(const Kernel& kernel) const {
  return behaviours_ ? behaviours_->of(kernel) : std::nullopt;
}

bool Search::is_new(std::optional<uint64_t> behaviour, int length) const {
  const auto known = behaviour ? shortest_.find(*behaviour) : shortest_.end();
  return known == shortest_.end() || length < known->second;
}

void Search::remember(std::optional<uint64_t> behaviour, int length) {
  if (behaviour && is_new(behaviour, length)) shortest_[*behaviour] = length;
}

void Search::repeat(const Kernel& kernel) {
  if (waits()) throw ArgumentError("tell the results of earlier candidates before this one is repeated");
  learn();
  const Canonical form = canonical(kernel);
  if (!sampler_.accept({"kept", "", form.digest, form.kernel}))
    throw ArgumentError("this kernel was a candidate before");
  remember(behaviour_of(form.kernel), form.kernel.length());
  records_.push_back({form.kernel, false, std::nullopt, {}, {}});
  if (strategy_ == Strategy::kGuided) {
    records_.back().features = features(form.kernel, sampler_.bound(form.kernel).cost, original_);
  }
}

std::vector<Search::Proposal> Search::proposals(Random& random) {
  if (records_.size() < first_.size()) {
    const Canonical& given = first_[records_.size()];
    return {{{"kept", "", given.digest, given.kernel}, kGiven, -1}};
  }
  const bool guided = strategy_ == Strategy::kGuided && guide_.ready() &&
                      (guide_.expects() || static_cast<int64_t>(records_.size()) >= kWarmUp);
  std::vector<Proposal> found;
  for (int fruitless = 0; fruitless < kFruitlessTries && found.size() < (guided ? kProposals : 1);) {
    Proposal proposal = propose(random);
    if (proposal.judged.kernel && (only_.empty() || only_.count(to_string(proposal.judged.identity)))) {
      found.push_back(std::move(proposal));
      continue;
    }
    if (proposal.judged.kernel) proposal.judged = {"unlisted"};
    sampler_.accept(std::move(proposal.judged));
    ++fruitless;
  }
  return found;
}

std::vector<Features> Search::described(const std::vector<Proposal>& proposals) const {
  std::vector<Features> all;
  for (const Proposal& proposal : proposals) {
    const Kernel& kernel = *proposal.judged.kernel;
    all.push_back(features(kernel, sampler_.bound(kernel).cost, original_));
  }
  return all;
}

Search::Proposal Search::propose(Random& random) {
  const bool child = strategy_ != Strategy::kRandom && static_cast<int64_t>(records_.size()) >= warm_up() &&
                     !random.chance(kRandomShare);
  const int64_t parent = child ? choose_parent(random) : -1;
  if (parent < 0) return {sampler_.attempt(random), "random", -1};
  const Kernel& kernel = *records_[static_cast<size_t>(parent)].kernel;
  const int64_t other = random.chance(kCrossoverShare) ? choose_parent(random) : parent;
  if (other == parent) {
    const auto change = [&](const Growing& under) { return mutated(kernel, under, random); };
    return {sampler_.attempt(change), "mutation", parent};
  }
  const Kernel& second = *records_[static_cast<size_t>(other)].kernel;
  const auto cross = [&](const Growing& under) { return crossed(kernel, second, under, random); };
  return {sampler_.attempt(cross), "crossover", parent};
}

int64_t Search::choose_parent(Random& random) const {
  if (parents_.empty()) return -1;
  size_t best = random.below(parents_.size());  // the smallest of a few places is the tournament's winner
  for (size_t i = 1; i < kTournament; ++i) best = std::min(best, random.below(parents_.size()));
  return parents_[best];
}

void Search::learn() {
  listed_ = listed_ && learned_ >= known();
  for (; learned_ < known(); ++learned_) {
    Record& record = records_[static_cast<size_t>(learned_)];
    if (strategy_ == Strategy::kGuided) guide_.learn(record.features, record.objectives, record.known);
    record.features = {};
    record.known = {};
    if (!record.objectives) {
      record.kernel.reset();
      continue;
    }
    pool_.push_back(learned_);
    if (pool_.size() > 2 * kPool) thin_pool();
  }
}

std::vector<int64_t> Search::best_first() const {
  std::vector<Point> points;
  for (int64_t i : pool_) points.push_back(*records_[static_cast<size_t>(i)].objectives);
  const std::vector<int> rank = ranks(points);
  const std::vector<double> room = crowding(points, rank);
  std::vector<size_t> order(points.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return rank[a] != rank[b] ? rank[a] < rank[b] : room[a] > room[b]; });
  std::vector<int64_t> result;
  for (const size_t place : order) result.push_back(pool_[place]);
  return result;
}

void Search::thin_pool() {
  pool_ = best_first();
  for (size_t i = kPool; i < pool_.size(); ++i) records_[static_cast<size_t>(pool_[i])].kernel.reset();
  pool_.resize(kPool);
  std::sort(pool_.begin(), pool_.end());
}

void Search::list_parents() {
  if (listed_) return;
  listed_ = true;
  parents_ = best_first();
  parents_.resize(std::min(parents_.size(), kPopulation));
}

void Search::tell(int64_t index, std::optional<Point> objectives, Point known) {
  if (index < 0 || index >= static_cast<int64_t>(records_.size())) {
    throw ArgumentError("candidate " + std::to_string(index) + " was never asked for");
  }
  Record& record = records_[static_cast<size_t>(index)];
  if (record.told) throw ArgumentError("candidate " + std::to_string(index) + " was told already");
  if (objectives) {
    if (objectives->empty()) throw ArgumentError("at least one objective is needed");
    for (double value : *objectives) {
      if (!std::isfinite(value))
        throw ArgumentError("objectives must be finite; tell None for a candidate that failed");
    }
  }
  if (const size_t given = objectives ? objectives->size() : known.size()) {
    if (dimensions_ && dimensions_ != given) {
      throw ArgumentError("every candidate needs the same number of objectives, got " + std::to_string(given) +
                          " after " + std::to_string(dimensions_));
    }
    dimensions_ = given;
  }
  record.told = true;
  record.known = objectives ? Point{} : std::move(known);
  record.objectives = std::move(objectives);
}

std::vector<int64_t> Search::front() const {
  std::vector<int64_t> indices;
  std::vector<Point> points;
  for (size_t i = 0; i < records_.size(); ++i) {
    if (!records_[i].objectives) continue;
    indices.push_back(static_cast<int64_t>(i));
    points.push_back(*records_[i].objectives);
  }
  std::vector<int64_t> best;
  for (size_t i : canvas::front(points)) best.push_back(indices[i]);
  return best;
}

}  // namespace canvas

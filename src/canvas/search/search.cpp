#include "canvas/search/search.h"

#include <algorithm>
#include <cmath>

#include "canvas/base/error.h"

namespace canvas {

namespace {

constexpr int64_t kWarmUp = 16;       // random candidates before the first mutation
constexpr double kRandomShare = 0.2;  // and this share of random ones after
constexpr size_t kTournament = 3;
constexpr size_t kPopulation = 48;  // the best this many told candidates may be parents
// So many are ranked; from twice as many the worse half goes, so that a study may have any number.
constexpr size_t kPool = 256;
constexpr int kFruitlessTries = 5000;

}  // namespace

Search::Search(std::vector<Layer> layers, Budget budget, Limits limits, uint64_t seed, Strategy strategy,
               int64_t lookahead)
    : sampler_(std::move(layers), std::move(budget), std::move(limits)),
      seed_(seed),
      strategy_(strategy),
      lookahead_(lookahead) {
  if (lookahead < 1) throw ArgumentError("lookahead must be at least 1, got " + std::to_string(lookahead));
}

std::optional<Candidate> Search::ask() {
  const auto index = static_cast<int64_t>(records_.size());
  while (told_ < index && records_[static_cast<size_t>(told_)].told) ++told_;
  if (told_ <= index - lookahead_) return std::nullopt;
  rank_parents();
  Random random = Random(seed_).split(static_cast<uint64_t>(index));
  for (int attempt = 0; attempt < kFruitlessTries; ++attempt) {
    const bool mutate = strategy_ == Strategy::kEvolution && index >= kWarmUp && !random.chance(kRandomShare);
    int64_t parent = -1;
    if (mutate && !parents_.empty()) {
      size_t best = random.below(parents_.size());  // the smallest of a few places is the tournament's winner
      for (size_t i = 1; i < kTournament; ++i) best = std::min(best, random.below(parents_.size()));
      parent = parents_[best];
    }
    auto found =
        parent < 0 ? sampler_.draw(random) : sampler_.mutate(*records_[static_cast<size_t>(parent)].kernel, random);
    if (!found) continue;
    records_.push_back({found->kernel, false, std::nullopt});
    return Candidate{index, std::move(found->hash), std::move(found->kernel), parent < 0 ? "random" : "mutation",
                     parent};
  }
  sampler_.give_up(kFruitlessTries);
}

// Takes the results that the next candidate may depend on into the pool, and lists the parents that it may have.
void Search::rank_parents() {
  const auto known = static_cast<int64_t>(records_.size()) - lookahead_ + 1;
  if (pooled_ >= known) return;
  for (; pooled_ < known; ++pooled_) {
    Record& record = records_[static_cast<size_t>(pooled_)];
    if (record.objectives) {
      pool_.push_back(pooled_);
    } else {
      record.kernel.reset();
    }
  }
  std::vector<Point> points;
  for (int64_t i : pool_) points.push_back(*records_[static_cast<size_t>(i)].objectives);
  const std::vector<int> rank = ranks(points);
  const std::vector<double> room = crowding(points, rank);
  std::vector<size_t> order(points.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return rank[a] != rank[b] ? rank[a] < rank[b] : room[a] > room[b]; });
  parents_.clear();
  for (size_t i = 0; i < std::min(order.size(), kPopulation); ++i) parents_.push_back(pool_[order[i]]);
  if (pool_.size() <= 2 * kPool) return;
  std::sort(order.begin(), order.begin() + kPool);
  for (size_t i = kPool; i < order.size(); ++i) records_[static_cast<size_t>(pool_[order[i]])].kernel.reset();
  for (size_t i = 0; i < kPool; ++i) pool_[i] = pool_[order[i]];
  pool_.resize(kPool);
}

void Search::tell(int64_t index, std::optional<Point> objectives) {
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
    if (dimensions_ && dimensions_ != objectives->size()) {
      throw ArgumentError("every candidate needs the same number of objectives, got " +
                          std::to_string(objectives->size()) + " after " + std::to_string(dimensions_));
    }
    dimensions_ = objectives->size();
  }
  record.told = true;
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

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
  for (int64_t i = 0; i <= index - lookahead_; ++i) {
    if (!records_[static_cast<size_t>(i)].told) return std::nullopt;
  }
  Random random = Random(seed_).split(static_cast<uint64_t>(index));
  for (int attempt = 0; attempt < kFruitlessTries; ++attempt) {
    const bool mutate = strategy_ == Strategy::kEvolution && index >= kWarmUp && !random.chance(kRandomShare);
    const int64_t parent = mutate ? choose_parent(random) : -1;
    auto found =
        parent < 0 ? sampler_.draw(random) : sampler_.mutate(records_[static_cast<size_t>(parent)].kernel, random);
    if (!found) continue;
    records_.push_back({found->kernel, false, std::nullopt});
    return Candidate{index, std::move(found->hash), std::move(found->kernel), parent < 0 ? "random" : "mutation",
                     parent};
  }
  sampler_.give_up(kFruitlessTries);
}

int64_t Search::choose_parent(Random& random) const {
  const auto known = static_cast<int64_t>(records_.size()) - lookahead_ + 1;
  std::vector<int64_t> indices;
  std::vector<Point> points;
  for (int64_t i = 0; i < known; ++i) {
    const Record& record = records_[static_cast<size_t>(i)];
    if (!record.objectives) continue;
    indices.push_back(i);
    points.push_back(*record.objectives);
  }
  if (points.empty()) return -1;
  const std::vector<int> rank = ranks(points);
  const std::vector<double> room = crowding(points, rank);
  std::vector<size_t> order(points.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return rank[a] != rank[b] ? rank[a] < rank[b] : room[a] > room[b]; });
  const size_t size = std::min(order.size(), kPopulation);
  size_t best = random.below(size);  // positions in `order`: the smallest of a few is the tournament's winner
  for (size_t i = 1; i < kTournament; ++i) best = std::min(best, random.below(size));
  return indices[order[best]];
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
  for (size_t i = 0; i < records_.size(); ++i) {
    if (!records_[i].objectives) continue;
    const bool dominated = std::any_of(records_.begin(), records_.end(), [&](const Record& other) {
      return other.objectives && dominates(*other.objectives, *records_[i].objectives);
    });
    if (!dominated) indices.push_back(static_cast<int64_t>(i));
  }
  return indices;
}

}  // namespace canvas

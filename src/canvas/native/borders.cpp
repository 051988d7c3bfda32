// Where windows reach into margins: tiles at the border of an image sum fewer steps.
#include <algorithm>
#include <optional>

#include "canvas/native/tiled.h"

namespace canvas::native {

namespace {

constexpr size_t kMostStretches = 5;  // of a loop: each has functions of its own
constexpr double kGain = 0.97;        // of the cycles: what gains less is left as it is
constexpr double kLeast = 0.015;      // of all products: what a stretch of its own leaves out

}  // namespace

void TiledNest::find_borders(const Buffers& buffers) {
  if (nest.once || target_.choice("borders", number_, 1) == 0) return;
  for (size_t loop = 0; loop < it.loops.size(); ++loop) {
    for (size_t summed = 0; summed < it.loops.size(); ++summed) {
      if (at(loop).reduced || !at(summed).reduced || loop == lanes || summed == lanes) continue;
      const Loop::Part &positions = at(loop).parts.front(), &window = at(summed).parts.front();
      const auto own = std::find(nest.reduced.begin(), nest.reduced.end(), std::pair{window.name, window.extent});
      if (own == nest.reduced.end()) continue;  // taken in pairs
      Border border{loop, summed, {}};
      for (int64_t step = 0; step < positions.extent; ++step)
        border.kept.push_back(native::counting(nest, buffers, window.name, positions.name, step));
      if (std::any_of(border.kept.begin(), border.kept.end(),
                      [&](const Range& kept) { return kept.count() < window.extent; }))
        borders_.push_back(std::move(border));
    }
  }
}

// The steps of a summed loop that count at some of these steps of a loop.
Range TiledNest::counting(size_t loop, Range steps, size_t summed) const {
  for (const Border& border : borders_) {
    if (border.loop != loop || border.summed != summed) continue;
    const int64_t inner = at(loop).extent / static_cast<int64_t>(border.kept.size());
    const int64_t each = at(summed).extent / at(summed).parts.front().extent;
    Range all{at(summed).extent, 0};
    for (int64_t step = steps.first / inner; step <= steps.last / inner; ++step) {
      const Range& kept = border.kept[static_cast<size_t>(step)];
      all = {std::min(all.first, kept.first * each), std::max(all.last, (kept.last + 1) * each - 1)};
    }
    return all;
  }
  return {0, at(summed).extent - 1};
}

// The part of all products that is summed at these steps of a loop.
double TiledNest::share(size_t loop, Range steps) const {
  double part = 1;
  for (const Border& border : borders_) {
    if (border.loop == loop)
      part *= static_cast<double>(counting(loop, steps, border.summed).count()) /
              static_cast<double>(at(border.summed).extent);
  }
  return part;
}

// Cuts `count` tiles of `each` steps of a loop, from step `first` on, into stretches that sum the same steps; what sums most comes first.
std::vector<Range> TiledNest::stretches(size_t loop, int64_t first, int64_t each, int64_t count) const {
  if (std::none_of(borders_.begin(), borders_.end(), [&](const Border& border) { return border.loop == loop; }))
    return {{0, count - 1}};
  const auto part = [&](Range tiles) {
    return share(loop, {first + tiles.first * each, first + (tiles.last + 1) * each - 1});
  };
  const auto products = [&](Range tiles) { return static_cast<double>(tiles.count()) * part(tiles); };
  const auto alike = [&](int64_t one, int64_t other) {
    return std::all_of(borders_.begin(), borders_.end(), [&](const Border& border) {
      const auto summed = [&](int64_t tile) {
        return counting(loop, {first + tile * each, first + (tile + 1) * each - 1}, border.summed);
      };
      return border.loop != loop ||
             (summed(one).first == summed(other).first && summed(one).last == summed(other).last);
    });
  };
  std::vector<Range> made;
  for (int64_t tile = 0; tile < count; ++tile) {
    if (!made.empty() && alike(made.back().last, tile)) {
      made.back().last = tile;
    } else {
      made.push_back({tile, tile});
    }
  }
  while (made.size() > 1) {
    size_t best = 0;
    double least = 0;  // products that are summed in vain where two are one
    for (size_t i = 0; i + 1 < made.size(); ++i) {
      const double added = products({made[i].first, made[i + 1].last}) - products(made[i]) - products(made[i + 1]);
      if (i > 0 && added >= least) continue;
      best = i;
      least = added;
    }
    if (made.size() <= kMostStretches && least > kLeast * static_cast<double>(count)) break;
    made[best].last = made[best + 1].last;
    made.erase(made.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
  std::stable_sort(made.begin(), made.end(), [&](Range a, Range b) { return part(a) > part(b); });
  return made;
}

// Whether rows load vectors of their own, which neighbours share as windows slide: no count knows that, so rows stay as they are.
bool TiledNest::slides() const {
  for (size_t operand = 1; operand <= it.factors; ++operand)
    if (!it.operands[operand].packed && step(lanes, operand) != 0) return true;
  return false;
}

// Leaves out what meets margins where that gains, if need be with other rows: of short loops together, as images.
void TiledNest::use_borders(const Buffers& buffers) {
  find_borders(buffers);
  if (borders_.empty()) return;
  struct Choice {
    size_t rows, unit;
  };
  const Choice first{rows, unit};
  std::optional<Choice> best;
  double least = kGain * cycles();
  const auto look = [&](Choice choice) {
    rows = choice.rows;
    unit = choice.unit;
    arrange(buffers);
    if (cycles() > least) return;
    least = kGain * cycles();
    best = choice;
  };
  look(first);
  for (size_t loop = 0; loop < it.loops.size() && !slides(); ++loop) {
    for (size_t other = 0; other < it.loops.size(); ++other) {
      if (!go_together(loop, other)) continue;
      look({loop, it.loops.size()});
      if (at(other).extent <= kShort) look({loop, other});
    }
  }
  if (!best) borders_.clear();
  rows = best.value_or(first).rows;
  unit = best.value_or(first).unit;
  arrange(buffers);
}

void TiledNest::cut(const std::vector<Rows>& row_tiles) {
  parts = {{}};
  for (size_t loop : outer) {
    const std::vector<Range> own = stretches(loop, 0, 1, at(loop).extent);
    std::vector<Part> made;
    for (const Part& part : parts) {
      for (const Range& steps : own) {
        made.push_back(part);
        if (own.size() > 1) made.back().outer[loop] = steps;
      }
    }
    parts = std::move(made);
  }
  std::vector<Part> made;
  for (const Part& part : parts) {
    for (const Rows& of : row_tiles) {
      for (const Range& tiles :
           has_rows() ? stretches(rows, of.begin, of.steps, of.count) : std::vector<Range>{{0, 0}}) {
        made.push_back({of, tiles, part.outer, {}});
        std::map<size_t, Range> steps = part.outer;
        if (has_rows()) steps[rows] = {of.begin + tiles.first * of.steps, of.begin + (tiles.last + 1) * of.steps - 1};
        for (size_t summed : reduced) {
          Range kept{0, at(summed).extent - 1};
          for (const auto& [loop, own] : steps) {
            const Range one = counting(loop, own, summed);
            kept = {std::max(kept.first, one.first), std::min(kept.last, one.last)};
          }
          made.back().summed.push_back({kept.first, std::max(kept.first, kept.last)});
        }
      }
    }
  }
  parts = std::move(made);
}

}  // namespace canvas::native

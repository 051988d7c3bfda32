#include "canvas/native/tiled.h"

#include <algorithm>
#include <cmath>

namespace canvas::native {

namespace {

constexpr int kMostRows = 14;
constexpr int kMostVectors = 6;
constexpr double kLatency = 9;  // sums in flight that keep two multiply-add units busy, and one to spare
constexpr double kLoad = 0.25;  // what a load costs beside the arithmetic, in multiply-adds
constexpr int kMapVectors = 4;
constexpr double kSumUp = 8;  // adding up a vector's elements, in multiply-adds

// `extent` elements in panels of `vectors` vectors, then of single ones, then of narrower ones. Where elements may be computed twice, the
// last panel overlaps the one before instead.
std::vector<Panel> panels_of(int64_t extent, int vectors, int width, bool twice) {
  std::vector<Panel> panels;
  int64_t begin = 0;
  const auto take = [&](int count, int wide) {
    const int64_t panel = int64_t{count} * wide, number = (extent - begin) / panel;
    if (number > 0) panels.push_back({begin, number, count, wide});
    begin += number * panel;
  };
  take(vectors, width);
  if (const int left = static_cast<int>((extent - begin) / width); left > 0) take(left, width);
  for (int narrow = width; narrow > 0; narrow /= 2) {
    if (narrow < width) take(1, narrow);
    const int64_t left = extent - begin;
    if (twice && narrow > 1 && extent >= narrow && left > narrow / 2 && left <= narrow) {
      panels.push_back({extent - narrow, 1, 1, narrow});
      begin = extent;
    }
  }
  return panels;
}

}  // namespace

TiledNest::TiledNest(const Nest& of, Buffers& buffers, const Target& target)
    : nest(of), it(loops_of(of, buffers)), target_(target) {
  choose_lanes();
  choose_rows();
  order();
  tile();
  pack(buffers);
}

// The loop along which vectors lie: whose elements are neighbours in most operands.
void TiledNest::choose_lanes() {
  double reductions = 1;
  for (const Loop& loop : it.loops) reductions *= loop.reduced ? static_cast<double>(loop.extent) : 1;
  double best = -1;
  for (size_t i = 0; i < it.loops.size(); ++i) {
    const Loop& loop = it.loops[i];
    if (loop.reduced) continue;
    double apart = 0;
    for (size_t operand = 0; operand < it.operands.size(); ++operand) {
      if (it.operands[operand].packed || loop.step[operand] == 0 || loop.step[operand] == 1) continue;
      apart += operand > 0 && operand <= it.factors ? 1 : 1 / reductions;
    }
    double vectors = 0;
    for (const Panel& panel : panels_of(loop.extent, 1, target_.width, !sums()))
      vectors += static_cast<double>(panel.count);
    const double value = static_cast<double>(loop.extent) / (vectors * target_.width) / (1 + 4 * apart);
    if (value <= best) continue;
    best = value;
    lanes = i;
  }
  choose_summed_lanes(best);
  if (best >= 0 || across) return;
  lanes = it.loops.size();  // one element alone
  const std::vector<int64_t> steps(it.operands.size(), 1);
  it.loops.push_back({1, false, steps, {{1, steps}}});
}

// A loop that is summed and along which all factors are neighbours, where that is better than `least`.
void TiledNest::choose_summed_lanes(double least) {
  for (size_t i = 0; sums() && i < it.loops.size(); ++i) {
    if (!it.loops[i].reduced || it.loops[i].extent < target_.width) continue;
    bool near = true;
    double count = 1;
    for (size_t operand = 1; operand <= it.factors; ++operand)
      near = near && !it.operands[operand].packed && (step(i, operand) == 0 || step(i, operand) == 1);
    for (const Loop& loop : it.loops) count *= loop.reduced ? static_cast<double>(loop.extent) : 1;
    const double vectors = std::ceil(static_cast<double>(it.loops[i].extent) / target_.width);
    const double products = count / static_cast<double>(it.loops[i].extent) * vectors;
    const double used = static_cast<double>(it.loops[i].extent) / (vectors * target_.width);
    const double value = used * products / (products + kSumUp);
    if (!near || value <= least) continue;
    least = value;
    lanes = i;
    across = true;
  }
}

// The loop of which several steps share what is loaded of the factors; without factors the longest, which then runs within a tile.
void TiledNest::choose_rows() {
  rows = it.loops.size();
  double best = 0;
  for (size_t i = 0; i < it.loops.size(); ++i) {
    const Loop& loop = it.loops[i];
    if (loop.reduced || i == lanes) continue;
    double value = static_cast<double>(sums() ? std::min<int64_t>(loop.extent, 8) : loop.extent);
    for (size_t operand = 1; operand <= it.factors; ++operand) {
      if (loop.step[operand] == 0) value *= 16;
      if (it.operands[operand].packed && loop.step[operand] != 0) value /= 64;
    }
    if (value <= best) continue;
    best = value;
    rows = i;
  }
}

bool TiledNest::weighs(size_t loop) const {
  for (size_t operand = 1; operand <= it.factors; ++operand)
    if (it.operands[operand].packed && step(loop, operand) != 0) return true;
  return false;
}

void TiledNest::order() {
  for (size_t i = 0; i < it.loops.size(); ++i) {
    if (i != lanes && i != rows) (it.loops[i].reduced ? reduced : outer).push_back(i);
  }
  const auto steps = [&](size_t loop) {  // in what is not packed
    int64_t sum = 0;
    for (size_t operand = 1; operand <= it.factors; ++operand)
      sum += it.operands[operand].packed ? 0 : step(loop, operand);
    return sum;
  };
  std::stable_sort(reduced.begin(), reduced.end(), [&](size_t a, size_t b) { return steps(a) > steps(b); });
  // Loops over groups around those over positions: weights stay near.
  std::stable_partition(outer.begin(), outer.end(), [&](size_t loop) { return weighs(loop); });
}

// Vectors and numbers that one step of the innermost loop loads for so many rows and vectors.
double TiledNest::loads(int64_t tile_rows, int64_t vectors) const {
  double count = 0;
  for (size_t operand = 1; operand <= it.factors; ++operand) {
    const bool by_row = has_rows() && step(rows, operand) != 0;
    count += static_cast<double>((by_row ? tile_rows : 1) * (step(lanes, operand) != 0 ? vectors : 1));
  }
  return count;
}

// Cycles, up to a factor, for all rows and vectors in tiles of at most so many.
double TiledNest::cost(int64_t row_extent, int tile_rows, int64_t wide, int vectors) const {
  const int64_t tiles = (row_extent + tile_rows - 1) / tile_rows, most = (row_extent + tiles - 1) / tiles;
  const int64_t of_most = row_extent - tiles * (most - 1);
  double sum = 0;
  for (const auto& [r, r_count] : {std::pair{most, of_most}, std::pair{most - 1, tiles - of_most}}) {
    for (const auto& [v, v_count] : {std::pair<int64_t, int64_t>{vectors, wide / vectors}, {wide % vectors, 1}}) {
      if (r == 0 || v == 0) continue;
      const double loaded = loads(r, v), arithmetic = static_cast<double>(r * v);
      sum += static_cast<double>(r_count * v_count) * (std::max({arithmetic, loaded, kLatency}) + kLoad * loaded + 1);
    }
  }
  return sum;
}

// How many rows and vectors are kept in registers. Rows are shared out evenly.
void TiledNest::tile() {
  const int64_t row_extent = has_rows() ? at(rows).extent : 1;
  const int64_t wide = across ? 1 : std::max<int64_t>(1, at(lanes).extent / target_.width);
  int best_rows = 1, best_vectors = static_cast<int>(std::min<int64_t>(wide, kMapVectors));
  double best = HUGE_VAL;
  for (int vectors = 1; sums() && vectors <= kMostVectors && vectors <= wide; ++vectors) {
    for (int tile_rows = 1; tile_rows <= kMostRows && tile_rows <= row_extent; ++tile_rows) {
      if (tile_rows * vectors + vectors + 2 > target_.registers) break;
      const double found = cost(row_extent, tile_rows, wide, vectors);
      if (found >= best * 0.999) continue;
      best = found;
      best_rows = tile_rows;
      best_vectors = vectors;
    }
  }
  panels = across ? std::vector<Panel>{{0, 1, 1, target_.width}}
                  : panels_of(at(lanes).extent, best_vectors, target_.width, !sums());
  const int64_t tiles = (row_extent + best_rows - 1) / best_rows, most = (row_extent + tiles - 1) / tiles;
  const int64_t of_most = row_extent - tiles * (most - 1);
  row_tiles = {{0, of_most, static_cast<int>(most)}};
  if (of_most < tiles) row_tiles.push_back({of_most * most, tiles - of_most, static_cast<int>(most - 1)});
}

void TiledNest::pack(Buffers& buffers) {
  packed.resize(it.operands.size());
  for (size_t operand = 1; operand <= it.factors; ++operand) {
    if (!it.operands[operand].packed) continue;
    Packed& made = packed[operand];
    std::vector<size_t> around;
    if (has_rows() && step(rows, operand) != 0) around.push_back(rows);
    for (size_t loop : outer)
      if (step(loop, operand) != 0) around.push_back(loop);
    for (size_t loop : reduced) {
      if (step(loop, operand) == 0) continue;
      made.inner.push_back(loop);
      made.depth *= at(loop).extent;
    }
    made.lanes = step(lanes, operand) != 0;
    int64_t size = made.depth * (made.lanes ? at(lanes).extent : 1);
    for (size_t i = around.size(); i-- > 0;) {
      made.outer[around[i]] = size;
      size *= at(around[i]).extent;
    }
    made.buffer = buffers.add({Place::kConstant, {{"packed", size}}});
  }
}

int64_t TiledNest::lane_step(size_t operand) const {
  return it.operands[operand].packed ? packed[operand].lanes : step(lanes, operand);
}

int64_t TiledNest::panel_step(size_t operand) const {
  return lane_step(operand) * (it.operands[operand].packed ? packed[operand].depth : 1);
}

int64_t TiledNest::outer_step(size_t loop, size_t operand) const {
  if (!it.operands[operand].packed) return step(loop, operand);
  const auto found = packed[operand].outer.find(loop);
  return found == packed[operand].outer.end() ? 0 : found->second;
}

int64_t TiledNest::row_step(size_t operand) const { return has_rows() ? outer_step(rows, operand) : 0; }

int64_t TiledNest::reduced_step(size_t loop, size_t operand, const Panel& panel) const {
  if (!it.operands[operand].packed) return step(loop, operand);
  int64_t size = packed[operand].lanes ? panel.elements() : 1;
  for (size_t i = packed[operand].inner.size(); i-- > 0;) {
    if (packed[operand].inner[i] == loop) return size;
    size *= at(packed[operand].inner[i]).extent;
  }
  return 0;
}

}  // namespace canvas::native

#include "canvas/native/tiled.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace canvas::native {

namespace {

constexpr int kMostVectors = 6;
constexpr int kMapVectors = 4;
constexpr int64_t kStraight = 200;
// Tiles of few registers are gone through quickly: what a loop around them costs counts (measured: up to 1.4).
constexpr int64_t kInTurn = 4;
constexpr int kFewRegisters = 16;
constexpr double kApart = 8;                 // how much longer a vector takes of which each element lies by itself
constexpr int64_t kFarElements = 16 * 1024;  // of a packed factor, that caches may have lost until they are read again
constexpr double kAsItLies = 0.8;  // what sums along vectors are worth where constants could be packed for others

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

// The same where a panel may go beyond the end: what is left over is one panel.
std::vector<Panel> panels_beyond(int64_t extent, int vectors, int width) {
  std::vector<Panel> panels;
  const int64_t wide = int64_t{vectors} * width, whole = extent / wide, left = extent - whole * wide;
  if (whole > 0) panels.push_back({0, whole, vectors, width});
  if (left == 0) return panels;
  const int last = static_cast<int>((left + width - 1) / width);
  while (last == 1 && width / 2 >= left) width /= 2;
  panels.push_back({whole * wide, 1, last, width, int64_t{last} * width - left});
  return panels;
}

}  // namespace

std::vector<Rows> rows_in(int64_t extent, int steps) {
  const int64_t tiles = (extent + steps - 1) / steps, most = (extent + tiles - 1) / tiles;
  const int64_t of_most = extent - tiles * (most - 1);
  std::vector<Rows> made = {{0, of_most, static_cast<int>(most)}};
  if (of_most < tiles) made.push_back({of_most * most, tiles - of_most, static_cast<int>(most - 1)});
  return made;
}

TiledNest::TiledNest(const Nest& of, Buffers& buffers, const Target& target, size_t number)
    : nest(of),
      it(loops_of(of, buffers)),
      straight(target.choice("straight", number, kStraight)),
      in_turn(target.registers > kFewRegisters ? 1 : kInTurn),
      rows_outside(target.choice("order", number, 0) == 1),
      split(it.loops.size()),
      target_(target),
      number_(number) {
  choose_lanes();
  choose_pair();
  choose_rows();
  choose_unit();
  arrange(buffers);
  use_borders(buffers);
  choose_split(buffers);
  for (Packed& made : packed)
    if (made.size > 0) made.buffer = buffers.add({Place::kConstant, {{"packed", made.size}}});
}

void TiledNest::arrange(const Buffers& buffers) {
  order();
  tile(buffers);
  pack();
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
      apart += operand > 0 && operand <= it.factors ? 1 : (operand == 0 ? 1.1 : 1) / reductions;
    }
    double vectors = sums() ? std::ceil(static_cast<double>(loop.extent) / target_.width) : 0;
    for (const Panel& panel : panels_of(loop.extent, 1, target_.width, true))
      vectors += sums() ? 0 : static_cast<double>(panel.count);
    const double value = static_cast<double>(loop.extent) / (vectors * target_.width) / (1 + kApart * apart);
    if (value <= best) continue;
    best = value;
    lanes = i;
  }
  choose_summed_lanes(best);
  if (best >= 0 || across) return;
  lanes = it.loops.size();  // one element alone
  const std::vector<int64_t> steps(it.operands.size(), 1);
  it.loops.push_back({1, false, steps, {{"", 1, steps}}});
}

// Whether the loops of a constant factor say how it lies: as it is packed, what is joined need not run on from each other.
bool TiledNest::lies_plain(size_t operand) const {
  return std::all_of(it.loops.begin(), it.loops.end(), [&](const Loop& loop) {
    for (size_t i = 0; i + 1 < loop.parts.size(); ++i) {
      const Loop::Part& inner = loop.parts[i + 1];
      if (loop.parts[i].step[operand] != inner.step[operand] * inner.extent) return false;
    }
    return true;
  });
}

// A loop that is summed and along which all factors are neighbours, where that is better than `least`. Constant factors are read as they lie.
void TiledNest::choose_summed_lanes(double least) {
  for (size_t i = 0; sums() && i < it.loops.size(); ++i) {
    if (!it.loops[i].reduced || it.loops[i].extent < target_.width) continue;
    bool near = true, packs = false;
    double count = 1;
    for (size_t operand = 1; operand <= it.factors; ++operand) {
      packs = packs || it.operands[operand].packed;
      near = near && (step(i, operand) == 0 || step(i, operand) == 1) &&
             (!it.operands[operand].packed || lies_plain(operand));
    }
    for (const Loop& loop : it.loops) count *= loop.reduced ? static_cast<double>(loop.extent) : 1;
    const double vectors = std::ceil(static_cast<double>(it.loops[i].extent) / target_.width);
    const double products = count / static_cast<double>(it.loops[i].extent) * vectors;
    const double used = static_cast<double>(it.loops[i].extent) / (vectors * target_.width);
    const double value = used * products / (products + kSumUp) * (packs ? kAsItLies : 1);
    if (!near || value <= least) continue;
    least = value;
    lanes = i;
    across = true;
  }
  for (Operand& operand : it.operands) operand.packed = operand.packed && !across;
}

// Weights that meet numbers of bf16, neighbours of a summed loop, are kept as bf16 too: two of that loop's steps in the place of a number.
void TiledNest::choose_pair() {
  for (size_t operand = 1; target_.bf16 && it.factors == 2 && operand <= 2; ++operand) {
    const size_t other = 3 - operand;
    if (!it.operands[operand].packed || step(lanes, operand) == 0) continue;
    if (!it.operands[other].half || step(lanes, other) != 0) continue;
    for (size_t i = 0; i < it.loops.size(); ++i) {
      const Loop& loop = at(i);
      if (!loop.reduced || step(i, operand) == 0 || step(i, other) != 1 || loop.parts.back().extent % 2 != 0) continue;
      paired = operand;
      pair = i;
    }
  }
  if (paired == 0) return;
  Loop& whole = it.loops[pair];
  Loop::Part& part = whole.parts.back();
  Loop two{2, true, whole.step, {{"", 2, part.step}}};
  whole.extent /= 2;
  part.extent /= 2;
  for (size_t operand = 0; operand < it.operands.size(); ++operand) {
    whole.step[operand] *= 2;
    part.step[operand] *= 2;
  }
  pair = it.loops.size();
  it.loops.push_back(std::move(two));
}

// The loop of which several steps share what is loaded of the factors; without factors one of near steps, which then runs within a tile.
void TiledNest::choose_rows() {
  rows = it.loops.size();
  for (size_t i = 0; i < it.loops.size() && it.operands.size() == 2 && it.factors == 0; ++i) {
    if (i == lanes || it.expression.kind != Expression::kLoad || step(i, 1) != 1 || at(i).extent < 4) continue;
    if (step(lanes, 0) != 1 || step(lanes, 1) < 2 || it.operands[0].half || it.operands[1].half) continue;
    rows = i;
    transposes = true;
    return;
  }
  double best = 0;
  for (size_t i = 0; i < it.loops.size(); ++i) {
    const Loop& loop = it.loops[i];
    if (loop.reduced || i == lanes) continue;
    double value = static_cast<double>(std::min<int64_t>(loop.extent, 8));
    if (!sums()) value /= 8 + static_cast<double>(step(i, 0));  // rows near each other share pages and lines
    for (size_t operand = 1; operand <= it.factors; ++operand) {
      if (loop.step[operand] == 0) value *= 16;
      if (it.operands[operand].packed && loop.step[operand] != 0) value /= 64;
    }
    if (value <= best) continue;
    best = value;
    rows = i;
  }
}

// A loop of few steps is put into the steps of another one that shares as much.
void TiledNest::choose_unit() {
  unit = it.loops.size();
  if (!sums() || !has_rows() || at(rows).extent > kShort) return;
  size_t best = it.loops.size();
  for (size_t i = 0; i < it.loops.size(); ++i) {
    if (!go_together(rows, i)) continue;
    if (best == it.loops.size() || at(i).extent > at(best).extent) best = i;
  }
  if (best == it.loops.size()) return;
  unit = rows;
  rows = best;
}

// Whether steps of both loops can be rows of a tile: what one of them loads, weights among it, serves all.
bool TiledNest::go_together(size_t one, size_t other) const {
  if (one == other || one == lanes || other == lanes || at(one).reduced || at(other).reduced) return false;
  bool shares = false;
  for (size_t operand = 1; operand <= it.factors; ++operand) {
    const bool moves = step(one, operand) != 0 || step(other, operand) != 0;
    if (it.operands[operand].packed && moves) return false;
    shares = shares || !moves;
  }
  return shares;
}

int64_t TiledNest::row_offset(size_t operand, int row) const {
  if (!has_rows()) return 0;
  const int each = static_cast<int>(unit_extent());
  return row_step(operand) * (row / each) + (has_unit() ? outer_step(unit, operand) * (row % each) : 0);
}

bool TiledNest::weighs(size_t loop) const {
  for (size_t operand = 1; operand <= it.factors; ++operand)
    if (it.operands[operand].packed && step(loop, operand) != 0) return true;
  return false;
}

void TiledNest::order() {
  reduced.clear();
  outer.clear();
  for (size_t i = 0; i < it.loops.size(); ++i) {
    if (i == lanes || i == rows || i == unit || (paired > 0 && i == pair)) continue;
    (it.loops[i].reduced ? reduced : outer).push_back(i);
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

// Whether sums may be computed for elements behind the last: what is read there is memory of our own, and of no use.
bool TiledNest::may_go_beyond(const Buffers& buffers) const {
  if (!sums() || across || target_.width > 16) return false;  // a buffer is followed by 16 elements at least
  for (size_t operand = 1; operand < it.operands.size(); ++operand) {
    const int64_t lane = step(lanes, operand);
    if (it.operands[operand].packed || lane == 0) continue;
    const bool own = buffers[it.operands[operand].buffer].can_have_margins();
    if (lane != 1 || (operand <= it.factors && !own)) return false;
  }
  return true;
}

// How many rows and vectors are kept in registers. Rows are shared out evenly.
void TiledNest::tile(const Buffers& buffers) {
  const int64_t row_extent = has_rows() ? at(rows).extent : 1;
  const bool beyond = may_go_beyond(buffers);
  const int64_t over = beyond ? target_.width - 1 : 0;
  const int64_t wide = across ? 1 : std::max<int64_t>(1, (at(lanes).extent + over) / target_.width);
  struct Shape {
    double cost;
    int64_t rows, vectors;
  };
  std::vector<Shape> shapes;
  for (int vectors = 1; sums() && vectors <= kMostVectors && vectors <= wide; ++vectors) {
    for (int steps = 1; steps * unit_extent() <= kMostRows && steps <= row_extent; ++steps) {
      if (steps * unit_extent() * vectors + vectors + 1 > target_.registers) break;
      const int64_t tiles = (row_extent + steps - 1) / steps;
      if ((row_extent + tiles - 1) / tiles < steps) continue;  // shared out evenly there are fewer
      shapes.push_back({cost(row_extent, steps, wide, vectors), steps, vectors});
    }
  }
  std::stable_sort(shapes.begin(), shapes.end(), [](const Shape& a, const Shape& b) { return a.cost < b.cost; });
  if (shapes.empty()) shapes.push_back({0, 1, std::min<int64_t>(wide, kMapVectors)});
  const auto rank = static_cast<size_t>(std::max<int64_t>(0, target_.choice("tile", number_, 0)));
  const Shape& shape = shapes[std::min(rank, shapes.size() - 1)];
  const int best_rows = static_cast<int>(shape.rows), best_vectors = static_cast<int>(shape.vectors);
  strips = false;
  panels = across   ? std::vector<Panel>{{0, 1, 1, target_.width}}
           : beyond ? panels_beyond(at(lanes).extent, best_vectors, target_.width)
                    : panels_of(at(lanes).extent, best_vectors, target_.width, !sums());
  if (!sums() && !transposes && panels[0].count > 1) {
    strips = true;
    if (has_rows()) outer.push_back(rows);
    rows = it.loops.size();
  }
  cut(sums() ? rows_in(row_extent, best_rows) : std::vector<Rows>{{0, 1, 1}});
}

void TiledNest::pack() {
  packed.assign(it.operands.size(), {});
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
    made.size = made.depth * (made.lanes ? at(lanes).extent + panels.back().beyond : 1);
    for (size_t i = around.size(); i-- > 0;) {
      made.outer[around[i]] = made.size;
      made.size *= at(around[i]).extent;
    }
    made.far = made.lanes && made.size > kFarElements;
  }
}

bool TiledNest::reads_far() const {
  return std::any_of(packed.begin(), packed.end(), [](const Packed& one) { return one.far; });
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

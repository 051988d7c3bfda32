#include "canvas/native/tiled.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

namespace canvas::native {

namespace {

constexpr int kMostRows = 14;
constexpr int kMostVectors = 6;
constexpr double kLatency = 9;  // sums in flight that keep two multiply-add units busy, and one to spare
constexpr double kLoad = 0.25;  // what a load costs beside the arithmetic, in multiply-adds
constexpr double kFar = 0.5;    // the same for a vector of weights from the second cache
constexpr double kNearBytes = 24 * 1024;
constexpr int kMapVectors = 4;
constexpr int64_t kStraight = 200;
constexpr double kApart = 8;   // how much longer a vector takes of which each element lies by itself
constexpr double kGather = 2;  // instructions for an element that is loaded or stored by itself
constexpr double kCall = 16;   // instructions around a tile
constexpr double kBytes = 24;  // that the second cache moves in a cycle
constexpr double kSumUp = 8;   // adding up a vector's elements, in multiply-adds

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

TiledNest::TiledNest(const Nest& of, Buffers& buffers, const Target& target, size_t number)
    : nest(of),
      it(loops_of(of, buffers)),
      straight(target.choice("straight", number, kStraight)),
      rows_outside(target.choice("order", number, 0) == 1),
      target_(target),
      number_(number) {
  choose_lanes();
  choose_rows();
  choose_unit();
  order();
  tile(buffers);
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

// The loop of which several steps share what is loaded of the factors; without factors one of near steps, which then runs within a tile.
void TiledNest::choose_rows() {
  rows = it.loops.size();
  for (size_t i = 0; i < it.loops.size() && it.operands.size() == 2 && it.factors == 0; ++i) {
    if (i == lanes || it.expression.kind != Expression::kLoad || step(i, 1) != 1 || at(i).extent < 4) continue;
    if (step(lanes, 0) != 1 || step(lanes, 1) < 2) continue;
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
  if (!sums() || !has_rows() || at(rows).extent > kMostRows / 2) return;
  const auto suits = [&](size_t loop) {
    bool shares = false;
    for (size_t operand = 1; operand <= it.factors; ++operand) {
      if (it.operands[operand].packed && step(loop, operand) != 0) return false;
      shares = shares || (step(loop, operand) == 0 && step(rows, operand) == 0);
    }
    return shares;
  };
  size_t best = it.loops.size();
  for (size_t i = 0; suits(rows) && i < it.loops.size(); ++i) {
    if (i == lanes || i == rows || at(i).reduced || !suits(i)) continue;
    if (best == it.loops.size() || at(i).extent > at(best).extent) best = i;
  }
  if (best == it.loops.size()) return;
  unit = rows;
  rows = best;
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
  for (size_t i = 0; i < it.loops.size(); ++i) {
    if (i != lanes && i != rows && i != unit) (it.loops[i].reduced ? reduced : outer).push_back(i);
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
double TiledNest::loads(int64_t steps, int64_t vectors) const {
  double count = 0;
  for (size_t operand = 1; operand <= it.factors; ++operand) {
    const int64_t by_step = has_rows() && step(rows, operand) != 0 ? steps : 1;
    const int64_t by_unit = has_unit() && step(unit, operand) != 0 ? unit_extent() : 1;
    count += static_cast<double>(by_step * by_unit * (step(lanes, operand) != 0 ? vectors : 1));
  }
  return count;
}

// Multiply-adds in the time of which one step of the innermost loop is done for so many rows and vectors.
double TiledNest::step_cost(int64_t steps, int64_t vectors) const {
  const double loaded = loads(steps, vectors), arithmetic = static_cast<double>(steps * unit_extent() * vectors);
  double far = 0;  // vectors of weights that the first cache does not hold
  for (size_t operand = 1; operand <= it.factors; ++operand) {
    double bytes = 4.0 * static_cast<double>(vectors * target_.width);
    for (size_t loop : reduced) bytes *= step(loop, operand) == 0 ? 1 : static_cast<double>(at(loop).extent);
    if (it.operands[operand].packed && step(lanes, operand) != 0 && bytes > kNearBytes)
      far += static_cast<double>(vectors);
  }
  return std::max({arithmetic, loaded, kLatency}) + kLoad * loaded + kFar * far + 1;
}

// The same for all rows and vectors in tiles of at most so many.
double TiledNest::cost(int64_t row_extent, int steps, int64_t wide, int vectors) const {
  const int64_t tiles = (row_extent + steps - 1) / steps, most = (row_extent + tiles - 1) / tiles;
  const int64_t of_most = row_extent - tiles * (most - 1);
  double sum = 0;
  for (const auto& [r, r_count] : {std::pair{most, of_most}, std::pair{most - 1, tiles - of_most}}) {
    for (const auto& [v, v_count] : {std::pair<int64_t, int64_t>{vectors, wide / vectors}, {wide % vectors, 1}}) {
      if (r == 0 || v == 0) continue;
      sum += static_cast<double>(r_count * v_count) * step_cost(r, v);
    }
  }
  return sum;
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
      if (steps * unit_extent() * vectors + vectors + 2 > target_.registers) break;
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
  panels = across   ? std::vector<Panel>{{0, 1, 1, target_.width}}
           : beyond ? panels_beyond(at(lanes).extent, best_vectors, target_.width)
                    : panels_of(at(lanes).extent, best_vectors, target_.width, !sums());
  if (!sums() && !transposes && panels[0].count > 1) {
    strips = true;
    if (has_rows()) outer.push_back(rows);
    rows = it.loops.size();
    return;
  }
  const int64_t tiles = (row_extent + best_rows - 1) / best_rows, most = (row_extent + tiles - 1) / tiles;
  const int64_t of_most = row_extent - tiles * (most - 1);
  row_tiles = {{0, of_most, static_cast<int>(most)}};
  if (of_most < tiles) row_tiles.push_back({of_most * most, tiles - of_most, static_cast<int>(most - 1)});
}

// Instructions for one vector of an expression, and of what it reads.
double TiledNest::vector_cost(const Expression& expression) const {
  static const std::map<std::string, double> dear = {
      {"gelu", 40},      {"silu", 24},      {"sigmoid", 24}, {"tanh", 32},     {"exp", 16},
      {"sin", 400},      {"sqrt", 20},      {"div", 16},     {"quotient", 12}, {"exp of difference", 16},
      {"plain exp", 16}, {"plain sqrt", 20}};
  double cost = 1;
  if (expression.kind == Expression::kLoad) cost = access_cost(static_cast<size_t>(std::stoi(expression.function)));
  if (const auto found = dear.find(expression.function); expression.kind == Expression::kApply && found != dear.end())
    cost = found->second;
  for (const Expression& child : expression.of) cost += vector_cost(child);
  return cost;
}

double TiledNest::access_cost(size_t operand) const {
  const int64_t lane = lane_step(operand);
  if (transposes) return 2;
  return lane == 0 || lane == 1 ? 1 : kGather * target_.width;
}

double TiledNest::cycles() const {
  double around = 1, steps = 1, moved = 0;
  for (size_t loop : outer) around *= static_cast<double>(at(loop).extent);
  for (size_t loop : reduced) steps *= static_cast<double>(at(loop).extent);
  if (across) steps *= std::ceil(static_cast<double>(at(lanes).extent) / target_.width);
  const double each = vector_cost(it.expression) + access_cost(0);
  double sum = 0;
  for (const Panel& panel : panels) {
    for (const Rows& of : sums() ? row_tiles : std::vector<Rows>{{0, has_rows() ? at(rows).extent : 1, 1}}) {
      const int of_rows = rows_of(of);
      const double tile = static_cast<double>(of_rows * panel.vectors);
      double gathered = 0;  // of factors whose elements lie apart
      for (size_t operand = 1; operand <= it.factors; ++operand)
        gathered += tile * (access_cost(operand) - 1) / static_cast<double>(row_step(operand) == 0 ? of_rows : 1);
      const double products = sums() ? steps * (step_cost(of.steps, panel.vectors) + gathered) + kCall : 0;
      const double ends = tile * (each + (across ? kSumUp : 0));
      sum += static_cast<double>(panel.count * of.count) * (products + ends);
    }
  }
  for (size_t operand = 0; operand < it.operands.size(); ++operand) {
    double bytes = 4;
    for (size_t loop = 0; loop < it.loops.size(); ++loop)
      if (step(loop, operand) != 0) bytes *= static_cast<double>(at(loop).extent);
    moved += bytes;
  }
  return around * (sum / 2 + (sums() ? 0 : kCall)) + moved / kBytes;
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
    int64_t size = made.depth * (made.lanes ? at(lanes).extent + panels.back().beyond : 1);
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

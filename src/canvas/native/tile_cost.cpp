// What a tiled nest costs: the count by which shapes of tiles are ranked, and that of all its cycles.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>

#include "canvas/native/tiled.h"

namespace canvas::native {

namespace {

constexpr double kLatency = 9;    // sums in flight that keep two multiply-add units busy, and one to spare
constexpr double kOfPairs = 13;   // the same of pairs of bf16
constexpr double kLoad = 0.25;    // what a load costs beside the arithmetic, in multiply-adds
constexpr double kFar = 0.5;      // the same for a vector of weights from the second cache
constexpr double kFarRate = 2.5;  // between one such vector and the next, at least
constexpr double kNearBytes = 24 * 1024;
constexpr double kGather = 2;    // instructions for an element that is loaded or stored by itself
constexpr double kCall = 16;     // instructions around a tile
constexpr double kBytes = 24;    // that the second cache moves in a cycle
constexpr double kOther = 0.95;  // of the cost of sharing the longest loop, for another one to be shared
constexpr double kForeign = 3;   // bytes a cycle of what another core wrote (measured: 2.6)

}  // namespace

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
  return std::max({arithmetic, loaded, kFarRate * far, paired > 0 ? kOfPairs : kLatency}) + kLoad * loaded +
         kFar * far + 1;
}

// The same for all rows and vectors in tiles of at most so many.
double TiledNest::cost(int64_t row_extent, int steps, int64_t wide, int vectors) const {
  double sum = 0;
  for (const Rows& of : rows_in(row_extent, steps)) {
    auto tiles = static_cast<double>(of.count);
    for (int64_t i = 0; i < of.count && has_borders() && !slides(); ++i)
      tiles -= 1 - share(rows, {of.begin + i * of.steps, of.begin + (i + 1) * of.steps - 1});
    for (const auto& [v, v_count] : {std::pair<int64_t, int64_t>{vectors, wide / vectors}, {wide % vectors, 1}})
      if (v > 0) sum += tiles * static_cast<double>(v_count) * step_cost(of.steps, v);
  }
  return sum;
}

// Instructions for one vector of an expression, and of what it reads.
double TiledNest::vector_cost(const Expression& expression) const {
  static const std::map<std::string, double> dear = {
      {"gelu", 22},      {"silu", 24},      {"sigmoid", 24}, {"tanh", 32},     {"exp", 16},
      {"sin", 30},       {"sqrt", 20},      {"div", 16},     {"quotient", 12}, {"exp of difference", 16},
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

// Of all calls for each kind of tile (the parts of a panel are neighbours), within one step of the loops around.
std::vector<double> TiledNest::cycles_by_kind() const {
  const double each = vector_cost(it.expression) + access_cost(0) + (across ? kSumUp : 0);
  std::vector<double> kinds;
  for (const Panel& panel : panels) {
    for (const Part& part : parts) {
      const int of_rows = rows_of(part.rows);
      auto times = static_cast<double>(sums() || !has_rows() ? part.tiles.count() : at(rows).extent);
      for (const auto& [loop, own] : part.outer)
        times *= static_cast<double>(own.count()) / static_cast<double>(at(loop).extent);
      double steps = across ? std::ceil(static_cast<double>(at(lanes).extent) / target_.width) : 1;
      for (const Range& summed : part.summed) steps *= static_cast<double>(summed.count());
      const double tile = static_cast<double>(of_rows * panel.vectors);
      double gathered = 0;  // of factors whose elements lie apart
      for (size_t operand = 1; operand <= it.factors; ++operand)
        gathered += tile * (access_cost(operand) - 1) / static_cast<double>(row_step(operand) == 0 ? of_rows : 1);
      const double products = sums() ? steps * (step_cost(part.rows.steps, panel.vectors) + gathered) + kCall : 0;
      kinds.push_back(static_cast<double>(panel.count) * times * (products + tile * each) / 2);
    }
  }
  return kinds;
}

double TiledNest::cycles() const {
  double around = 1, moved = 0;
  for (size_t loop : outer) around *= static_cast<double>(at(loop).extent);
  const std::vector<double> kinds = cycles_by_kind();
  const double sum = std::accumulate(kinds.begin(), kinds.end(), sums() ? 0 : kCall);
  for (size_t operand = 0; operand < it.operands.size(); ++operand) {
    double bytes = it.operands[operand].half || (paired > 0 && operand == paired) ? 2 : 4;
    for (size_t loop = 0; loop < it.loops.size(); ++loop)
      if (step(loop, operand) != 0) bytes *= static_cast<double>(at(loop).extent);
    moved += bytes;
  }
  return around * sum + moved / kBytes;
}

// Which part of the calls for one kind of tile a thread makes where some share the steps of a loop.
double TiledNest::share_of(int64_t thread, size_t loop, const Panel& panel, const Part& part) const {
  const int64_t all = loop == lanes ? panel.count : loop == rows ? part.rows.count : at(loop).extent;
  const auto cut = part.outer.find(loop);
  const Range own = loop == rows ? part.tiles : cut == part.outer.end() ? Range{0, all - 1} : cut->second;
  const int64_t threads = target_.threads, first = std::max(own.first, all * thread / threads);
  const int64_t last = std::min(own.last, all * (thread + 1) / threads - 1);
  return static_cast<double>(std::max<int64_t>(0, last - first + 1)) / static_cast<double>(own.count());
}

// The loop whose steps threads share: where the slowest has least to compute, and to read of what others wrote. Panels share out channels.
void TiledNest::choose_split(const Buffers& buffers) {
  const int64_t threads = target_.threads;
  double around = 1, least = HUGE_VAL;
  for (size_t loop : outer) around *= static_cast<double>(at(loop).extent);
  std::vector<size_t> loops = outer;
  if (sums() && has_rows()) loops.push_back(rows);
  const auto steps = [&](size_t loop) { return loop == rows ? parts[0].rows.count : at(loop).extent; };
  std::stable_sort(loops.begin(), loops.end(), [&](size_t a, size_t b) { return steps(a) > steps(b); });
  if (!strips && lanes < it.loops.size()) loops.push_back(lanes);
  const std::vector<double> kinds = cycles_by_kind();
  for (size_t loop : loops) {
    double foreign = 0;
    std::vector<double> each(static_cast<size_t>(threads));
    auto kind = kinds.begin();
    for (const Panel& panel : panels) {
      for (const Part& part : parts) {
        const double all = around * *kind++;
        for (int64_t i = 0; i < threads; ++i) each[static_cast<size_t>(i)] += all * share_of(i, loop, panel, part);
      }
    }
    for (size_t operand = 1; operand < it.operands.size(); ++operand)
      if (!it.operands[operand].packed && step(loop, operand) == 0)
        foreign += 4 * static_cast<double>(buffers[it.operands[operand].buffer].elements());
    const double slowest = *std::max_element(each.begin(), each.end());
    const double cost = slowest + foreign * (1 - 1 / static_cast<double>(threads)) / kForeign;
    if (cost >= kOther * least) continue;
    least = cost;
    split = loop;
  }
}

}  // namespace canvas::native

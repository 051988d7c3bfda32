#include "canvas/native/writer.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "canvas/base/error.h"
#include "canvas/emit/python.h"
#include "canvas/native/loops.h"
#include "canvas/native/prelude.h"

namespace canvas::native {

namespace {

using std::to_string;

std::string term(const std::string& index, int64_t step) {
  return step == 0 ? "" : " + " + index + (step == 1 ? "" : " * " + to_string(step));
}

std::string loop(const std::string& index, int64_t extent, int64_t step = 1) {
  return "for (long " + index + " = 0; " + index + " < " + to_string(extent) + "; " + index +
         (step == 1 ? "++" : " += " + to_string(step)) + ") ";
}

// Some neighbouring elements along the vectors' loop: `vectors` vectors of `width`.
struct Panel {
  int64_t begin;  // the first element
  int64_t count;  // of such panels, one behind the other
  int vectors;
  int width;
  int64_t elements() const { return int64_t{vectors} * width; }
};

// Some neighbouring rows: `count` tiles of `rows`.
struct Rows {
  int64_t begin;
  int64_t count;
  int rows;
};

// One nest: how its loops are tiled, and its text.
class NestWriter {
 public:
  NestWriter(const Nest& nest, Buffers& buffers, const Target& target, int number)
      : nest_(nest), buffers_(buffers), target_(target), name_("n" + to_string(number)), it_(loops_of(nest, buffers)) {
    choose_lanes();
    choose_rows();
    for (size_t i = 0; i < it_.loops.size(); ++i) {
      if (i == lanes_ || i == rows_) continue;
      (it_.loops[i].reduced ? reduced_ : outer_).push_back(i);
    }
    order_reduced();
    tile();
    pack();
  }

  std::string functions() const { return functions_; }
  std::string setup() const { return setup_; }

  // The nest itself, as statements.
  std::string text() {
    std::string text;
    const size_t split = split_loop();
    for (const Panel& panel : panels_) {
      for (const Rows& rows : row_tiles_) text += tiles(panel, rows, split);
    }
    return text;
  }

 private:
  Loop& at(size_t loop) { return it_.loops[loop]; }
  int64_t step(size_t loop, size_t operand) { return at(loop).step[operand]; }
  bool factor(size_t operand) const { return operand >= 1 && operand <= it_.factors; }

  int64_t reductions() const {
    int64_t count = 1;
    for (const Loop& loop : it_.loops) count *= loop.reduced ? loop.extent : 1;
    return count;
  }

  // The loop along which vectors lie: whose elements are neighbours in most operands.
  void choose_lanes() {
    double best = -1;
    for (size_t i = 0; i < it_.loops.size(); ++i) {
      const Loop& loop = it_.loops[i];
      if (loop.reduced) continue;
      double apart = 0;
      for (size_t operand = 0; operand < it_.operands.size(); ++operand) {
        if (it_.operands[operand].packed || loop.step[operand] == 0 || loop.step[operand] == 1) continue;
        apart += factor(operand) ? 1 : 1.0 / static_cast<double>(reductions());
      }
      double vectors = 0;
      for (const Panel& panel : panels_of(loop.extent, 1)) vectors += static_cast<double>(panel.count);
      const double used = static_cast<double>(loop.extent) / (vectors * target_.width);
      const double value = used / (1 + 4 * apart);
      if (value > best) {
        best = value;
        lanes_ = i;
      }
    }
    if (best >= 0) return;
    lanes_ = it_.loops.size();  // one element alone
    it_.loops.push_back({1, false, std::vector<int64_t>(it_.operands.size(), 1), {}});
    it_.loops.back().parts = {{1, it_.loops.back().step}};
  }

  // The loop of which several steps share what is loaded of the factors.
  void choose_rows() {
    rows_ = it_.loops.size();
    if (it_.factors == 0) return;
    double best = 0;
    for (size_t i = 0; i < it_.loops.size(); ++i) {
      const Loop& loop = it_.loops[i];
      if (loop.reduced || i == lanes_) continue;
      double value = std::min<double>(static_cast<double>(loop.extent), 8);
      for (size_t operand = 1; operand <= it_.factors; ++operand) {
        if (loop.step[operand] == 0) value *= 16;
        if (it_.operands[operand].packed && loop.step[operand] != 0) value /= 64;
      }
      if (value <= best) continue;
      best = value;
      rows_ = i;
    }
  }

  // Channels innermost: the order of steps in what is not packed.
  void order_reduced() {
    std::stable_sort(reduced_.begin(), reduced_.end(), [&](size_t a, size_t b) {
      int64_t first = 0, second = 0;
      for (size_t operand = 1; operand <= it_.factors; ++operand) {
        if (it_.operands[operand].packed) continue;
        first += step(a, operand);
        second += step(b, operand);
      }
      return first > second;
    });
    // Loops over groups before those over positions: weights stay near.
    std::stable_partition(outer_.begin(), outer_.end(), [&](size_t loop) {
      for (size_t operand = 1; operand <= it_.factors; ++operand)
        if (it_.operands[operand].packed && step(loop, operand) != 0) return true;
      return false;
    });
  }

  std::vector<Panel> panels_of(int64_t extent, int vectors) const {
    std::vector<Panel> panels;
    const int width = target_.width;
    int64_t begin = 0;
    const auto take = [&](int count, int wide) {
      const int64_t panel = int64_t{count} * wide, number = (extent - begin) / panel;
      if (number > 0) panels.push_back({begin, number, count, wide});
      begin += number * panel;
    };
    take(vectors, width);
    for (int left = vectors - 1; left > 0; --left) {
      if ((extent - begin) / width == left) take(left, width);
    }
    for (int narrow = width / 2; narrow > 0; narrow /= 2) take(1, narrow);
    return panels;
  }

  // How many rows and vectors are kept in registers: what takes the fewest cycles for each product, remainders counted.
  void tile() {
    const int64_t row_extent = rows_ < it_.loops.size() ? at(rows_).extent : 1;
    const int64_t wide = std::max<int64_t>(1, at(lanes_).extent / target_.width);
    int best_rows = 1, best_vectors = 1;
    double best = HUGE_VAL;
    for (int vectors = 1; vectors <= 6 && vectors <= wide; ++vectors) {
      for (int rows = 1; rows <= 14 && rows <= row_extent; ++rows) {
        if (it_.factors == 0 && rows > 1) break;
        if (rows * vectors + vectors + 2 > target_.registers) break;
        double cost = 0;
        const int64_t rows_left = row_extent % rows, vectors_left = wide % vectors;
        for (const auto& [r, r_count] :
             {std::pair<int64_t, int64_t>{rows, row_extent / rows}, {rows_left, rows_left > 0}})
          for (const auto& [v, v_count] :
               {std::pair<int64_t, int64_t>{vectors, wide / vectors}, {vectors_left, vectors_left > 0}})
            cost += static_cast<double>(r_count * v_count) *
                    std::max({static_cast<double>(r * v), loads(r, v), 8.0, static_cast<double>(r + v)});
        if (cost >= best * 0.999) continue;
        best = cost;
        best_rows = rows;
        best_vectors = vectors;
      }
    }
    if (it_.factors == 0) best_vectors = static_cast<int>(std::min<int64_t>(wide, 4));
    panels_ = panels_of(at(lanes_).extent, best_vectors);
    row_tiles_ = {{0, row_extent / best_rows, best_rows}};
    if (row_extent % best_rows > 0)
      row_tiles_.push_back({row_extent - row_extent % best_rows, 1, static_cast<int>(row_extent % best_rows)});
  }

  // Vectors and numbers that one step of the innermost loop loads for so many rows and vectors.
  double loads(int64_t rows, int64_t vectors) {
    double count = 0;
    for (size_t operand = 1; operand <= it_.factors; ++operand) {
      const bool by_row = rows_ < it_.loops.size() && step(rows_, operand) != 0;
      const bool by_lane = step(lanes_, operand) != 0;
      count += static_cast<double>((by_row ? rows : 1) * (by_lane ? vectors : 1));
    }
    return count;
  }

  // Gives each packed factor a place among the constants, and writes the loops that fill it.
  void pack() {
    packed_.resize(it_.operands.size());
    for (size_t operand = 1; operand <= it_.factors; ++operand) {
      if (!it_.operands[operand].packed) continue;
      std::vector<size_t> order;
      if (rows_ < it_.loops.size() && step(rows_, operand) != 0) order.push_back(rows_);
      for (size_t loop : outer_)
        if (step(loop, operand) != 0) order.push_back(loop);
      std::vector<size_t> inner;
      for (size_t loop : reduced_)
        if (step(loop, operand) != 0) inner.push_back(loop);
      int64_t depth = 1;
      for (size_t loop : inner) depth *= at(loop).extent;
      const bool lanes = step(lanes_, operand) != 0;
      Packed& packed = packed_[operand];
      packed.depth = depth;
      packed.lanes = lanes;
      int64_t size = depth * (lanes ? at(lanes_).extent : 1);
      for (size_t i = order.size(); i-- > 0;) {
        packed.outer[order[i]] = size;
        size *= at(order[i]).extent;
      }
      packed.inner = inner;
      Buffer buffer{Place::kConstant, {{"packed", size}}};
      packed.buffer = buffers_.add(std::move(buffer));
      pending_.push_back(operand);
    }
  }

 public:
  // Writes what fills packed factors; after all buffers have their places.
  void write_packing() {
    for (size_t operand : pending_) {
      const Packed& packed = packed_[operand];
      std::string text = "  {\n    float* to = c + " + to_string(buffers_.start(buffers_.all(packed.buffer))) +
                         ";\n    const float* from = c + " + to_string(buffers_.start(all_of(operand))) + ";\n";
      std::string indent = "    ", to, from;
      for (const auto& [loop_id, size] : packed.outer) {
        const std::string index = "o" + to_string(loop_id);
        text += indent + loop(index, at(loop_id).extent) + "{\n";
        to += term(index, size);
        from += source(loop_id, operand, index);
      }
      const std::vector<Panel> panels = packed.lanes ? panels_ : std::vector<Panel>{{0, 1, 1, 1}};
      for (const Panel& panel : panels) {
        std::string place = to, origin = from, heads;
        const int64_t wide = panel.elements();
        heads += loop("v", panel.count);
        place += " + (" + to_string(panel.begin) + " + v * " + to_string(wide) + ") * " + to_string(packed.depth);
        int64_t size = packed.lanes ? wide : 1;
        std::vector<std::string> at_loops;
        for (size_t i = packed.inner.size(); i-- > 0;) {
          const std::string index = "r" + to_string(packed.inner[i]);
          heads += loop(index, at(packed.inner[i]).extent);
          place += term(index, size);
          origin += source(packed.inner[i], operand, index);
          size *= at(packed.inner[i]).extent;
        }
        if (packed.lanes) {
          heads += loop("l", wide);
          place += " + l";
          origin += source(lanes_, operand, "(" + to_string(panel.begin) + " + v * " + to_string(wide) + " + l)");
        }
        text += "      " + heads + "to[0" + place + "] = from[0" + origin + "];\n";
      }
      for (size_t i = 0; i < packed.outer.size(); ++i) text += "    }\n";
      setup_ += text + "  }\n";
    }
  }

 private:
  struct Packed {
    int buffer = -1;
    int64_t depth = 1;  // elements for each lane
    bool lanes = false;
    std::map<size_t, int64_t> outer;  // loops around and their steps
    std::vector<size_t> inner;
  };

  const Access& all_of(size_t operand) const { return nest_.factors[operand - 1]; }

  // Where a step of a loop, which may be several joined, leads in an operand as it was before packing.
  std::string source(size_t loop_id, size_t operand, const std::string& index) {
    std::string text;
    int64_t below = 1;
    const auto& parts = at(loop_id).parts;
    for (size_t i = parts.size(); i-- > 0;) {
      const auto& [extent, steps] = parts[i];
      std::string own = below == 1 ? index : index + " / " + to_string(below);
      if (i > 0) own = "(" + own + ") % " + to_string(extent);
      if (steps[operand] != 0) text += " + (" + own + ") * " + to_string(steps[operand]);
      below *= extent;
    }
    return text;
  }

  // The loop whose steps threads share: the longest.
  size_t split_loop() {
    size_t best = it_.loops.size();
    int64_t most = 1;
    for (size_t loop : outer_) {
      if (at(loop).extent > most) {
        most = at(loop).extent;
        best = loop;
      }
    }
    if (rows_ < it_.loops.size() && row_tiles_[0].count > most) best = rows_;
    return best;
  }

  std::string pointer(size_t operand) {
    const Operand& of = it_.operands[operand];
    if (of.packed) return "c + " + to_string(buffers_.start(buffers_.all(packed_[operand].buffer)));
    const Buffer& buffer = buffers_[of.buffer];
    const std::string start = " + " + to_string(operand_start(operand));
    switch (buffer.place) {
      case Place::kInput: return "x" + start;
      case Place::kOutput: return "y" + start;
      case Place::kParameter: return "p[" + to_string(buffer.parameter) + "]" + start;
      case Place::kConstant: return "c" + start;
      default: return "s" + start;
    }
  }

  int64_t operand_start(size_t operand) {
    if (operand == 0) return buffers_.start(nest_.to);
    if (factor(operand)) return buffers_.start(nest_.factors[operand - 1]);
    int64_t found = 0;
    const std::function<void(const Expression&, const Expression&)> look = [&](const Expression& one,
                                                                               const Expression&) {
      if (one.kind == Expression::kLoad && one.function == to_string(operand)) found = buffers_.start(one.access);
      for (const Expression& child : one.of) look(child, child);
    };
    look(it_.expression, it_.expression);
    return found;
  }

  // The steps of an operand along the loops of a tile.
  int64_t lane_step(size_t operand) {
    if (it_.operands[operand].packed) return packed_[operand].lanes ? 1 : 0;
    return step(lanes_, operand);
  }
  int64_t row_step(size_t operand) {
    if (rows_ >= it_.loops.size()) return 0;
    if (!it_.operands[operand].packed) return step(rows_, operand);
    const auto found = packed_[operand].outer.find(rows_);
    return found == packed_[operand].outer.end() ? 0 : found->second;
  }
  int64_t reduced_step(size_t loop, size_t operand, const Panel& panel) {
    if (!it_.operands[operand].packed) return step(loop, operand);
    const Packed& packed = packed_[operand];
    int64_t size = packed.lanes ? panel.elements() : 1;
    for (size_t i = packed.inner.size(); i-- > 0;) {
      if (packed.inner[i] == loop) return size;
      size *= at(packed.inner[i]).extent;
    }
    return 0;
  }

  // The loops around a tile, and the call of its function.
  std::string tiles(const Panel& panel, const Rows& rows, size_t split) {
    const std::string tile_name = name_ + "_" + to_string(panel.begin) + "_" + to_string(rows.begin);
    functions_ += tile_function(tile_name, panel, rows);
    std::vector<std::string> arguments(it_.operands.size());
    for (size_t operand = 0; operand < arguments.size(); ++operand) arguments[operand] = pointer(operand);
    std::string text, indent = "  ";
    bool shared = false;
    const auto open = [&](const std::string& index, int64_t extent, bool share) {
      if (share) {
        text += indent + "for (long " + index + " = " + to_string(extent) + " * t / n; " + index + " < " +
                to_string(extent) + " * (t + 1) / n; " + index + "++) {\n";
        shared = true;
      } else {
        text += indent + loop(index, extent) + "{\n";
      }
      indent += "  ";
    };
    const auto move = [&](const std::string& index, const std::function<int64_t(size_t)>& by) {
      for (size_t operand = 0; operand < arguments.size(); ++operand) arguments[operand] += term(index, by(operand));
    };
    std::string close;
    const auto outer_step = [&](size_t loop, size_t operand) {
      if (!it_.operands[operand].packed) return step(loop, operand);
      const auto found = packed_[operand].outer.find(loop);
      return found == packed_[operand].outer.end() ? int64_t{0} : found->second;
    };
    const auto around = [&](bool weights) {
      for (size_t loop : outer_) {
        bool own = false;
        for (size_t operand = 1; operand <= it_.factors; ++operand)
          own = own || (it_.operands[operand].packed && step(loop, operand) != 0);
        if (own != weights) continue;
        const std::string index = "o" + to_string(loop);
        open(index, at(loop).extent, loop == split);
        move(index, [&](size_t operand) { return outer_step(loop, operand); });
      }
    };
    around(true);
    const int64_t depth_begin = panel.begin;
    for (size_t operand = 0; operand < arguments.size(); ++operand) {
      const int64_t by =
          it_.operands[operand].packed ? (packed_[operand].lanes ? packed_[operand].depth : 0) : step(lanes_, operand);
      if (by != 0 && depth_begin != 0) arguments[operand] += " + " + to_string(depth_begin * by);
    }
    if (panel.count > 1) {
      open("v", panel.count, false);
      move("v", [&](size_t operand) {
        const int64_t by = it_.operands[operand].packed ? (packed_[operand].lanes ? packed_[operand].depth : 0)
                                                        : step(lanes_, operand);
        return by * panel.elements();
      });
    }
    around(false);
    if (rows_ < it_.loops.size()) {
      for (size_t operand = 0; operand < arguments.size(); ++operand) {
        const int64_t by = row_step(operand) * rows.begin;
        if (by != 0) arguments[operand] += " + " + to_string(by);
      }
      if (rows.count > 1) {
        open("q", rows.count, split == rows_);
        move("q", [&](size_t operand) { return row_step(operand) * rows.rows; });
      }
    }
    text += indent + tile_name + "(" + join(arguments) + ");\n";
    while (indent.size() > 2) {
      indent.resize(indent.size() - 2);
      text += indent + "}\n";
    }
    return shared ? text : "  if (t == 0) {\n" + text + "  }\n";
  }

  // Elements `vector` of row `row` of an operand, relative to `base`.
  std::string element(size_t operand, const std::string& base, int row, int vector, const Panel& panel) {
    const int64_t lane = lane_step(operand), by = row_step(operand) * row + lane * vector * panel.width;
    const std::string at = base + (by == 0 ? "" : " + " + to_string(by));
    if (lane == 0) return "*(" + at + ")";
    if (lane == 1) return "load<V>(" + at + ")";
    return "gather<V>(" + at + ", " + to_string(lane) + ")";
  }

  std::string value(const Expression& expression, int row, int vector, const Panel& panel) {
    switch (expression.kind) {
      case Expression::kCore: return "a" + to_string(row) + "_" + to_string(vector);
      case Expression::kScale: {
        return "(" + value(expression.of[0], row, vector, panel) + " * " + number(expression.factor) + "f)";
      }
      case Expression::kLoad: {
        const size_t operand = static_cast<size_t>(std::stoi(expression.function));
        const std::string text = element(operand, "f" + expression.function, row, vector, panel);
        return lane_step(operand) == 0 ? "splat<V>(" + text + ")" : text;
      }
      default: break;
    }
    std::vector<std::string> operands;
    for (const Expression& child : expression.of) operands.push_back(value(child, row, vector, panel));
    return function_name(expression.function) + "<V>(" + join(operands) + ")";
  }

  // One tile: so many rows of so many vectors, their sums in registers.
  std::string tile_function(const std::string& tile_name, const Panel& panel, const Rows& rows) {
    std::string text = "static __attribute__((noinline)) void " + tile_name + "(float* __restrict__ f0";
    for (size_t operand = 1; operand < it_.operands.size(); ++operand) text += ", const float* f" + to_string(operand);
    text += ") {\n  typedef v" + to_string(panel.width) + " V;\n";
    const std::string zero = nest_.maximum ? "splat<V>(-3.4e38f)" : "{}";
    if (it_.factors > 0) {
      for (int row = 0; row < rows.rows; ++row)
        for (int vector = 0; vector < panel.vectors; ++vector)
          text += "  V a" + to_string(row) + "_" + to_string(vector) + " = " + zero + ";\n";
      text += sums(panel, rows);
    }
    for (int row = 0; row < rows.rows; ++row) {
      for (int vector = 0; vector < panel.vectors; ++vector) {
        const int64_t lane = lane_step(0), by = row_step(0) * row + lane * vector * panel.width;
        text += std::string("  ") + (lane == 1 ? "store<V>" : "scatter<V>") + "(f0 + " + to_string(by) +
                (lane == 1 ? "" : ", " + to_string(lane)) + ", " + value(it_.expression, row, vector, panel) + ");\n";
      }
    }
    return text + "}\n";
  }

  std::string sums(const Panel& panel, const Rows& rows) {
    std::string text, indent = "  ";
    std::vector<std::string> base(it_.operands.size());
    for (size_t operand = 1; operand <= it_.factors; ++operand) base[operand] = "f" + to_string(operand);
    int64_t unrolled = int64_t{rows.rows} * panel.vectors;
    std::vector<bool> whole(reduced_.size(), false);
    for (size_t i = reduced_.size(); i-- > 0;) {
      unrolled *= at(reduced_[i]).extent;
      whole[i] = unrolled <= 160;
    }
    for (size_t i = 0; i < reduced_.size(); ++i) {
      const std::string index = "r" + to_string(i);
      if (whole[i]) text += "#pragma GCC unroll " + to_string(at(reduced_[i]).extent) + "\n";
      text += indent + loop(index, at(reduced_[i]).extent) + "{\n";
      indent += "  ";
      for (size_t operand = 1; operand <= it_.factors; ++operand)
        base[operand] += term(index, reduced_step(reduced_[i], operand, panel));
    }
    const auto name = [&](size_t operand, int row, int vector) {
      return "e" + to_string(operand) + (row_step(operand) != 0 ? "_" + to_string(row) : "") +
             (lane_step(operand) != 0 ? "v" + to_string(vector) : "");
    };
    const auto declare = [&](size_t operand, int row, int vector) {
      text += indent + "const auto " + name(operand, row, vector) + " = " +
              element(operand, base[operand], row, vector, panel) + ";\n";
    };
    for (size_t operand = 1; operand <= it_.factors; ++operand) {
      if (row_step(operand) != 0) continue;
      for (int vector = 0; vector < (lane_step(operand) != 0 ? panel.vectors : 1); ++vector)
        declare(operand, 0, vector);
    }
    for (int row = 0; row < rows.rows; ++row) {
      for (size_t operand = 1; operand <= it_.factors; ++operand) {
        if (row_step(operand) == 0) continue;
        for (int vector = 0; vector < (lane_step(operand) != 0 ? panel.vectors : 1); ++vector)
          declare(operand, row, vector);
      }
      for (int vector = 0; vector < panel.vectors; ++vector) {
        const std::string sum = "a" + to_string(row) + "_" + to_string(vector);
        std::vector<std::string> factors;
        for (size_t operand = 1; operand <= it_.factors; ++operand) factors.push_back(name(operand, row, vector));
        text += indent + (nest_.maximum ? sum + " = larger<V>(" + sum + ", splat<V>(" + factors[0] + "));\n"
                                        : sum + " += " + join(factors, " * ") + ";\n");
      }
    }
    while (indent.size() > 2) {
      indent.resize(indent.size() - 2);
      text += indent + "}\n";
    }
    return text;
  }

  const Nest& nest_;
  Buffers& buffers_;
  const Target& target_;
  std::string name_;
  Loops it_;
  size_t lanes_ = 0, rows_ = 0;
  std::vector<size_t> outer_, reduced_;
  std::vector<Panel> panels_;
  std::vector<Rows> row_tiles_;
  std::vector<Packed> packed_;
  std::vector<size_t> pending_;
  std::string functions_, setup_;
};

}  // namespace

Source write(Plan plan, const Target& target) {
  Source source;
  std::vector<NestWriter> writers;
  writers.reserve(plan.nests.size());
  plan.buffers.arrange();
  for (size_t i = 0; i < plan.nests.size(); ++i)
    writers.emplace_back(plan.nests[i], plan.buffers, target, static_cast<int>(i));
  std::tie(source.constants, source.scratch) = plan.buffers.arrange();
  std::string functions, once, packing, image;
  for (size_t i = 0; i < plan.nests.size(); ++i) {
    std::string& statements = plan.nests[i].once ? once : image;
    statements += writers[i].text();
    if (!plan.nests[i].once) statements += "  if (n > 1) {\n#pragma omp barrier\n  }\n";
    writers[i].write_packing();
    functions += writers[i].functions();
    packing += writers[i].setup();
  }
  int64_t input = 1, output = 1;
  for (const BufferAxis& axis : plan.buffers[0].axes) input *= axis.extent;
  for (const BufferAxis& axis : plan.buffers[1].axes) output *= axis.extent;
  source.text = prelude(target.width) + functions + "extern \"C\" void prepare(const float* const* p, float* c) {\n" +
                "  const long t = 0, n = 1;\n  (void)p, (void)t, (void)n;\n" + once + packing + "}\n" +
                "static void image(const float* x, float* y, const float* c, float* s, long t, long n) {\n" +
                "  (void)x, (void)c, (void)s, (void)t, (void)n;\n" + image + "}\n" +
                entry(input, output, source.scratch);
  return source;
}

}  // namespace canvas::native

#include "canvas/native/tile_writer.h"

#include <algorithm>
#include <map>
#include <set>

#include "canvas/emit/python.h"
#include "canvas/native/prelude.h"

namespace canvas::native {

using std::to_string;

std::string loop_text(const std::string& index, int64_t end, int64_t by, int64_t first) {
  const std::string next = by == 1 ? "++" : " += " + to_string(by);
  return "for (long " + index + " = " + to_string(first) + "; " + index + " < " + to_string(end) + "; " + index + next +
         ") ";
}

std::string step_text(const std::string& index, int64_t step) {
  return step == 0 ? "" : " + " + index + (step == 1 ? "" : " * " + to_string(step));
}

namespace {

constexpr int64_t kAhead =
    4096;  // elements by which far factors are asked for before they are read (measured: 2048 to 8192 are as good)

constexpr int64_t kLine = 16;  // elements that come together

class TileWriter {
 public:
  TileWriter(const TiledNest& nest, const Panel& panel, const Part& part, bool asks)
      : nest_(nest), panel_(panel), part_(part), count_(nest.rows_of(part.rows)), asks_(asks) {}

  std::string text() {
    const std::string width = to_string(panel_.width);
    text_ = "(" + nest_.type_of(0) + "* __restrict__ f0";
    for (size_t operand = 1; operand < nest_.it.operands.size(); ++operand)
      text_ += ", " + nest_.type_of(operand) + "* f" + to_string(operand);
    text_ += ") {\n  [[maybe_unused]] typedef v" + width + " V;\n  [[maybe_unused]] typedef u" + width + " U;\n";
    if (nest_.sums()) {
      for (int row = 0; row < count_; ++row)
        for (int vector = 0; vector < panel_.vectors; ++vector)
          line("V " + sum(row, vector) + (nest_.nest.maximum ? " = splat<V>(lowest);" : " = {};"));
      const int64_t whole = nest_.across ? nest_.at(nest_.lanes).extent / panel_.width : 1;
      sums(0, whole, false);
      if (nest_.across) {
        if (whole * panel_.width < nest_.at(nest_.lanes).extent) sums(whole * panel_.width, 1, true);
        for (int row = 0; row < count_; ++row)
          line("const v1 t" + to_string(row) + (nest_.nest.maximum ? " = {largest(" : " = {total(") + sum(row, 0) +
               ")};");
        type_ = "v1";
      }
      for (int row = 0; row < count_; ++row) store(row);
    } else if (nest_.transposes && panel_.width > 2) {
      transposed();
    } else {
      const int64_t times = nest_.strips ? panel_.count : nest_.has_rows() ? nest_.at(nest_.rows).extent : 1;
      if (times > 1) open(loop_text("q", times));
      store(0);
      for (size_t operand = 0; times > 1 && operand < nest_.it.operands.size(); ++operand) {
        const int64_t step = nest_.strips ? panel_.elements() * nest_.panel_step(operand) : nest_.row_step(operand);
        if (step != 0) line("f" + to_string(operand) + " += " + to_string(step) + ";");
      }
      if (times > 1) close();
    }
    return text_ + "}\n";
  }

 private:
  void line(const std::string& statement) { text_ += indent_ + statement + "\n"; }
  void open(const std::string& head) {
    line(head + "{");
    indent_ += "  ";
  }
  void close() {
    indent_.resize(indent_.size() - 2);
    line("}");
  }

  static std::string sum(int row, int vector) { return "a" + to_string(row) + "_" + to_string(vector); }

  // The elements of an operand in a vector of a row, `further` elements on.
  int64_t offset(size_t operand, int row, int vector) const {
    return nest_.row_offset(operand, row) + nest_.lane_step(operand) * vector * panel_.width;
  }
  std::string element(size_t operand, const std::string& at) const {
    const int64_t lane = nest_.lane_step(operand);
    const bool half = nest_.it.operands[operand].half;
    if (lane == 0) return half ? "value(*(" + at + "))" : "*(" + at + ")";
    if (lane != 1) return "gather<V>(" + at + ", " + to_string(lane) + ")";
    return half ? "load<V>(" + at + ")" : "V(*(const U*)(" + at + "))";
  }

  void store(int row) {
    const int64_t lane = nest_.lane_step(0);
    for (int vector = 0; vector < panel_.vectors; ++vector) {
      const int stored = panel_.stored(vector);
      const std::string to = "f0 + " + to_string(offset(0, row, vector));
      const std::string result = value(nest_.it.expression, row, vector);
      if (lane == 1 && stored == panel_.width && !nest_.it.operands[0].half) {
        line("*(U*)(" + to + ") = " + result + ";");
        continue;
      }
      const std::string count = stored < panel_.width ? ", " + to_string(stored) : "";
      line((lane == 1 ? "store<" : "scatter<") + type_ + ">(" + to + (lane == 1 ? "" : ", " + to_string(lane)) + ", " +
           result + count + ");");
    }
  }

  std::string value(const Expression& expression, int row, int vector) const {
    switch (expression.kind) {
      case Expression::kCore: return nest_.across ? "t" + to_string(row) : sum(row, vector);
      case Expression::kShare:
        return "(" + value(expression.of[0], row, vector) + " / " + "float(" + number(expression.divisor) + "))";
      case Expression::kLoad: {
        const size_t operand = static_cast<size_t>(std::stoi(expression.function));
        const std::string at = "f" + expression.function + " + " + to_string(offset(operand, row, vector));
        const bool part = panel_.stored(vector) < panel_.width && nest_.lane_step(operand) == 1;
        const std::string text =
            part ? "load<" + type_ + ">(" + at + ", " + to_string(panel_.stored(vector)) + ")" : element(operand, at);
        return nest_.lane_step(operand) == 0 ? "splat<" + type_ + ">(" + text + ")" : text;
      }
      default: break;
    }
    if (is_one(expression)) return "splat<" + type_ + ">(" + value_of_one(expression, row) + "[0])";
    std::vector<std::string> operands;
    for (const Expression& child : expression.of) operands.push_back(value(child, row, vector));
    return applied(expression.function, type_, operands);
  }

  // Whether all elements of a vector are one, and computed from what is stored.
  bool is_one(const Expression& expression) const {
    if (expression.kind == Expression::kLoad)
      return nest_.lane_step(static_cast<size_t>(std::stoi(expression.function))) == 0;
    return expression.kind == Expression::kApply &&
           std::all_of(expression.of.begin(), expression.of.end(), [&](const Expression& of) { return is_one(of); });
  }
  std::string value_of_one(const Expression& expression, int row) const {
    if (expression.kind == Expression::kLoad) {
      const size_t operand = static_cast<size_t>(std::stoi(expression.function));
      return "splat<v1>(value(*(f" + expression.function + " + " + to_string(offset(operand, row, 0)) + ")))";
    }
    std::vector<std::string> operands;
    for (const Expression& child : expression.of) operands.push_back(value_of_one(child, row));
    return applied(expression.function, "v1", operands);
  }

  // Squares, then the rows that are left over.
  void transposed() {
    const std::string width = to_string(panel_.width);
    const int64_t squares = nest_.at(nest_.rows).extent / panel_.width, left = squares * panel_.width;
    const int64_t step = nest_.lane_step(1), far = nest_.row_step(0);
    if (squares > 0) open(loop_text("q", squares));
    for (int vector = 0; squares > 0 && vector < panel_.vectors; ++vector) {
      line("transpose" + width + "(f1 + q * " + width + " + " + to_string(vector * panel_.width * step) + ", " +
           to_string(step) + ", f0 + q * " + to_string(panel_.width * far) + " + " + to_string(vector * panel_.width) +
           ", " + to_string(far) + ");");
    }
    if (squares > 0) close();
    if (left == nest_.at(nest_.rows).extent) return;
    line("f0 += " + to_string(left * far) + ", f1 += " + to_string(left) + ";");
    open(loop_text("q", nest_.at(nest_.rows).extent - left));
    store(0);
    line("f0 += " + to_string(far) + ", f1++;");
    close();
  }

  // One product: of a row and a vector, at a step of the loops that are written straight.
  struct Product {
    int row, vector;
    std::vector<int64_t> at;  // of each factor
  };

  // Adds the products of all steps; across vectors those of `chunks` vectors from element `first` on, the last one of which may be `partial`.
  void sums(int64_t first, int64_t chunks, bool partial) {
    const size_t factors = nest_.it.factors;
    std::vector<std::string> base(factors + 1);
    for (size_t operand = 1; operand <= factors; ++operand) {
      base[operand] = "f" + to_string(operand);
      if (first > 0) base[operand] += " + " + to_string(first * nest_.lane_step(operand));
    }
    if (nest_.across) line("{");
    int64_t straight = int64_t{count_} * panel_.vectors;
    size_t loops = nest_.reduced.size();
    // What is written straight is so for all parts: shorter ones would be read ahead into registers that are not there.
    while (loops > 0 && straight * nest_.at(nest_.reduced[loops - 1]).extent <= nest_.straight)
      straight *= nest_.at(nest_.reduced[--loops]).extent;
    const int64_t turn = loops > 0 && !nest_.across ? in_turn(steps(loops - 1), straight) : 1;
    for (size_t i = 0; i < loops; ++i) {
      const std::string index = "r" + to_string(i);
      open(loop_text(index, steps(i), i + 1 == loops ? turn : 1));
      for (size_t operand = 1; operand <= factors; ++operand)
        base[operand] += step_text(index, nest_.reduced_step(nest_.reduced[i], operand, panel_));
    }
    if (nest_.across) {
      open(loop_text("l", chunks));
      for (size_t operand = 1; operand <= factors; ++operand)
        base[operand] += step_text("l", panel_.width * nest_.lane_step(operand));
    }
    for (size_t operand = 1; operand <= factors; ++operand)
      line(nest_.type_of(operand) + "* g" + to_string(operand) + " = " + base[operand] + ";");
    std::vector<Product> products = products_of(loops, turn);
    // What several rows load is loaded once: in the order of the factor that moves with rows and vectors.
    for (size_t operand = 1; operand <= factors; ++operand) {
      if (nest_.row_step(operand) == 0 || nest_.lane_step(operand) == 0) continue;
      std::stable_sort(products.begin(), products.end(),
                       [&](const Product& a, const Product& b) { return a.at[operand] < b.at[operand]; });
      break;
    }
    std::set<std::string> loaded;
    for (const Product& product : products) {
      std::vector<std::string> names;
      for (size_t operand = 1; operand <= factors; ++operand) {
        names.push_back("e" + to_string(operand) + "_" + to_string(product.at[operand]));
        if (!loaded.insert(names.back()).second) continue;
        const std::string at = "g" + to_string(operand) + " + " + to_string(product.at[operand]);
        if (asks_ && nest_.packed[operand].far && product.at[operand] % kLine == 0)
          line("__builtin_prefetch(" + at + " + " + to_string(kAhead) + ");");
        const int64_t left = nest_.at(nest_.lanes).extent - first;
        const bool part = partial && nest_.lane_step(operand) == 1;
        const char* rest = nest_.nest.maximum ? ", lowest" : ", 0";  // what changes nothing
        const bool pair = nest_.paired > 0 && operand != nest_.paired;
        line((nest_.lane_step(operand) == 0 && !pair ? "const float " : "const V ") + names.back() + " = " +
             (part   ? "partial<V>(" + at + ", " + to_string(left) + rest + ")"
              : pair ? "pairs<V>(" + at + ")"
                     : element(operand, at)) +
             ";");
      }
      const std::string to = sum(product.row, product.vector);
      line(nest_.paired > 0     ? to + " = dot<V>(" + to + ", " + join(names) + ");"
           : nest_.nest.maximum ? to + " = larger<V>(" + to + ", splat<V>(" + names[0] + "));"
                                : to + " += " + join(names, " * ") + ";");
    }
    for (size_t i = 0; i < loops + nest_.across; ++i) close();
    if (nest_.across) line("}");
  }

  int64_t steps(size_t reduced) const { return part_.summed[reduced].count(); }

  // How many steps of a loop around `products` are written one after the other: without any left over.
  int64_t in_turn(int64_t extent, int64_t products) const {
    int64_t turn = std::min(nest_.in_turn, extent);
    while (turn > 1 && (extent % turn != 0 || turn * products > nest_.straight)) --turn;
    return turn;
  }

  // All products of the loops from `first` on and of `turn` steps of the one around them, in order, for all rows and vectors.
  std::vector<Product> products_of(size_t first, int64_t turn) const {
    std::vector<std::vector<int64_t>> steps = {std::vector<int64_t>(nest_.it.factors + 1, 0)};
    for (size_t i = first - (turn > 1); i < nest_.reduced.size(); ++i) {
      std::vector<std::vector<int64_t>> next;
      for (const std::vector<int64_t>& at : steps) {
        for (int64_t k = 0; k < (i < first ? turn : this->steps(i)); ++k) {
          next.push_back(at);
          for (size_t operand = 1; operand <= nest_.it.factors; ++operand)
            next.back()[operand] += k * nest_.reduced_step(nest_.reduced[i], operand, panel_);
        }
      }
      steps = std::move(next);
    }
    std::vector<Product> products;
    for (const std::vector<int64_t>& at : steps) {
      for (int row = 0; row < count_; ++row) {
        for (int vector = 0; vector < panel_.vectors; ++vector) {
          Product product{row, vector, at};
          for (size_t operand = 1; operand <= nest_.it.factors; ++operand)
            product.at[operand] += offset(operand, row, vector);
          products.push_back(std::move(product));
        }
      }
    }
    return products;
  }

  const TiledNest& nest_;
  const Panel& panel_;
  const Part& part_;
  const int count_;  // of rows
  const bool asks_;  // for far factors, before they are read
  std::string text_, indent_ = "  ";
  std::string type_ = "V";  // of what is stored
};

}  // namespace

std::string tile_function(const TiledNest& nest, const Panel& panel, const Part& part, bool asks) {
  return TileWriter(nest, panel, part, asks).text();
}

}  // namespace canvas::native

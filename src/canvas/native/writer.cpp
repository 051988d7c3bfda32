#include "canvas/native/writer.h"

#include <functional>
#include <tuple>

#include "canvas/emit/python.h"
#include "canvas/native/prelude.h"
#include "canvas/native/tile_writer.h"

namespace canvas::native {

namespace {

using std::to_string;

// One nest as text: functions of its tiles, the loops around their calls, and the loops that store constant factors anew.
class NestWriter {
 public:
  NestWriter(const Nest& nest, Buffers& buffers, const Target& target, int number)
      : buffers_(buffers), name_("n" + to_string(number)), nest_(nest, buffers, target) {}

  // After all buffers have their places.
  void write() {
    split_ = split_loop();
    for (const Panel& panel : nest_.panels) {
      for (const Rows& rows : nest_.sums() ? nest_.row_tiles : std::vector<Rows>{{0, 1, 1}}) call(panel, rows);
    }
    for (size_t operand = 1; operand <= nest_.it.factors; ++operand)
      if (nest_.it.operands[operand].packed) pack(operand);
  }

  std::string functions, statements, packing;

 private:
  // The loop whose steps threads share: the longest.
  size_t split_loop() const {
    size_t best = nest_.it.loops.size();
    int64_t most = 1;
    for (size_t loop : nest_.outer) {
      if (nest_.at(loop).extent <= most) continue;
      most = nest_.at(loop).extent;
      best = loop;
    }
    return nest_.sums() && nest_.has_rows() && nest_.row_tiles[0].count > most ? nest_.rows : best;
  }

  std::string pointer(size_t operand) const {
    const Operand& of = nest_.it.operands[operand];
    if (of.packed) return "c + " + to_string(buffers_[nest_.packed[operand].buffer].start);
    const Buffer& buffer = buffers_[of.buffer];
    const std::string start = " + " + to_string(of.start + buffer.start);
    switch (buffer.place) {
      case Place::kInput: return "x" + start;
      case Place::kOutput: return "y" + start;
      case Place::kAddend: return "z" + start;
      case Place::kParameter: return "p[" + to_string(buffer.parameter) + "]" + start;
      case Place::kConstant: return "c" + start;
      default: return "s" + start;
    }
  }

  // The loops around one kind of tile, and its call.
  void call(const Panel& panel, const Rows& rows) {
    const std::string tile = name_ + "_" + to_string(panel.begin) + "_" + to_string(rows.begin);
    functions += tile_function(nest_, tile, panel, rows);
    std::vector<std::string> arguments;
    for (size_t operand = 0; operand < nest_.it.operands.size(); ++operand) arguments.push_back(pointer(operand));
    std::string text, indent = "  ";
    bool shared = false;
    const auto around = [&](const std::string& index, int64_t extent, bool share, const auto& step) {
      const std::string all = to_string(extent);
      text += indent +
              (share ? "for (long " + index + " = " + all + " * t / n; " + index + " < " + all + " * (t + 1) / n; " +
                           index + "++) "
                     : loop_text(index, extent)) +
              "{\n";
      indent += "  ";
      shared = shared || share;
      for (size_t operand = 0; operand < arguments.size(); ++operand)
        arguments[operand] += step_text(index, step(operand));
    };
    const auto outer = [&](bool weighs) {
      for (size_t loop : nest_.outer) {
        if (nest_.weighs(loop) != weighs) continue;
        around("o" + to_string(loop), nest_.at(loop).extent, loop == split_,
               [&](size_t operand) { return nest_.outer_step(loop, operand); });
      }
    };
    const auto forward = [&](const auto& by) {
      for (size_t operand = 0; operand < arguments.size(); ++operand)
        if (by(operand) != 0) arguments[operand] += " + " + to_string(by(operand));
    };
    outer(true);
    forward([&](size_t operand) { return panel.begin * nest_.panel_step(operand); });
    if (panel.count > 1)
      around("v", panel.count, false, [&](size_t operand) { return panel.elements() * nest_.panel_step(operand); });
    outer(false);
    if (nest_.sums()) {
      forward([&](size_t operand) { return rows.begin * nest_.row_step(operand); });
      if (rows.count > 1)
        around("q", rows.count, split_ == nest_.rows,
               [&](size_t operand) { return rows.rows * nest_.row_step(operand); });
    }
    text += indent + tile + "(" + join(arguments) + ");\n";
    while (indent.size() > 2) {
      indent.resize(indent.size() - 2);
      text += indent + "}\n";
    }
    statements += shared ? text : "  if (t == 0) {\n" + text + "  }\n";
  }

  // Stores a constant factor anew.
  void pack(size_t operand) {
    const Packed& packed = nest_.packed[operand];
    const Operand& of = nest_.it.operands[operand];
    std::string heads, to, from;
    for (const auto& [loop, size] : packed.outer) {
      const std::string index = "o" + to_string(loop);
      heads += loop_text(index, nest_.at(loop).extent);
      to += step_text(index, size);
      from += source(loop, operand, index);
    }
    packing += "  {\n    float* to = c + " + to_string(buffers_[packed.buffer].start) +
               ";\n    const float* from = c + " + to_string(of.start + buffers_[of.buffer].start) + ";\n";
    for (const Panel& panel : packed.lanes ? nest_.panels : std::vector<Panel>{{0, 1, 1, 1}}) {
      const int64_t wide = panel.elements();
      const std::string first = "(" + to_string(panel.begin) + " + v * " + to_string(wide) + ")";
      std::string inside = heads + loop_text("v", panel.count),
                  place = to + " + " + first + " * " + to_string(packed.depth);
      std::string origin = from;
      int64_t size = packed.lanes ? wide : 1;
      for (size_t i = packed.inner.size(); i-- > 0;) {
        const std::string index = "r" + to_string(packed.inner[i]);
        inside += loop_text(index, nest_.at(packed.inner[i]).extent);
        place += step_text(index, size);
        origin += source(packed.inner[i], operand, index);
        size *= nest_.at(packed.inner[i]).extent;
      }
      if (packed.lanes) {
        inside += loop_text("l", wide);
        place += " + l";
        origin += source(nest_.lanes, operand, "(" + first + " + l)");
      }
      packing += "    " + inside + "to[0" + place + "] = from[0" + origin + "];\n";
    }
    packing += "  }\n";
  }

  // Where a step of a loop, which may be several joined, leads in an operand as it was before packing.
  std::string source(size_t loop, size_t operand, const std::string& index) const {
    std::string text;
    int64_t below = 1;
    const auto& parts = nest_.at(loop).parts;
    for (size_t i = parts.size(); i-- > 0;) {
      const auto& [extent, steps] = parts[i];
      std::string own = below == 1 ? index : index + " / " + to_string(below);
      if (i > 0) own = "(" + own + ") % " + to_string(extent);
      text += step_text("(" + own + ")", steps[operand]);
      below *= extent;
    }
    return text;
  }

  const Buffers& buffers_;
  std::string name_;
  TiledNest nest_;
  size_t split_ = 0;
};

}  // namespace

Source write(Plan plan, const Target& target) {
  Source source;
  std::vector<NestWriter> writers;
  writers.reserve(plan.nests.size());
  for (const Nest& nest : plan.nests)
    writers.emplace_back(nest, plan.buffers, target, static_cast<int>(writers.size()));
  std::tie(source.constants, source.scratch) = plan.buffers.arrange();
  std::string functions, once, packing, image;
  for (size_t i = 0; i < plan.nests.size(); ++i) {
    writers[i].write();
    functions += writers[i].functions;
    packing += writers[i].packing;
    (plan.nests[i].once ? once : image) += writers[i].statements;
    if (!plan.nests[i].once) image += "  if (n > 1) {\n#pragma omp barrier\n  }\n";
  }
  source.text =
      prelude(target.width) + functions + "extern \"C\" void prepare(const float* const* p, float* c) {\n" +
      "  const long t = 0, n = 1;\n  (void)p, (void)t, (void)n;\n" + once + packing + "}\n" +
      "static void image(const float* x, const float* z, float* y, const float* c, float* s, long t, long n) {\n" +
      "  (void)x, (void)z, (void)c, (void)s, (void)t, (void)n;\n" + image + "}\n" +
      entry(plan.buffers[0].elements(), plan.buffers[1].elements(), source.scratch);
  return source;
}

}  // namespace canvas::native

#include "canvas/native/writer.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "canvas/emit/python.h"
#include "canvas/ir/program.h"
#include "canvas/native/batch.h"
#include "canvas/native/blocks.h"
#include "canvas/native/halves.h"
#include "canvas/native/prelude.h"
#include "canvas/native/statements.h"
#include "canvas/native/tile_writer.h"
#include "canvas/native/tiled.h"
#include "canvas/native/transposes.h"

namespace canvas::native {

namespace {

using std::to_string;

constexpr double kFetch = 0.6;    // cycles for a number of an image, from beyond the second cache
constexpr double kWeights = 0.2;  // for one of the weights, which lie in the order in which they are read

// The functions of a source, each once: layers of the same sizes share theirs. They are named by what they do, so that other networks have the
// same: they know sizes and steps, and are given where things lie.
class Functions {
 public:
  // `does` is what stands behind the name.
  std::string name_of(const std::string& kind, const std::string& does) {
    const std::string name = kind + "_" + to_string(hash_text(does));
    if (names_.insert(name).second) text += "static __attribute__((noinline)) void " + name + does;
    return name;
  }
  std::string text;

 private:
  std::set<std::string> names_;
};

// Where the operands of some nests begin, as parameters of the function that computes these.
class Beginnings {
 public:
  std::string parameter(const std::string& pointer, const std::string& type) {
    const auto made = names_.emplace(std::pair{pointer, type}, "p" + to_string(names_.size()));
    if (made.second) {
      parameters_ += type + "* " + made.first->second + ", ";
      arguments_ += pointer + ", ";
    }
    return made.first->second;
  }
  // The call of a function that does this.
  std::string call(Functions& functions, const std::string& text) const {
    return functions.name_of("pass", "(" + parameters_ + "long t, long n) {\n" + text + "}\n") + "(" + arguments_ +
           "t, n);\n";
  }

 private:
  std::map<std::pair<std::string, std::string>, std::string> names_;  // by what they point to, and its type
  std::string parameters_, arguments_;
};

// One nest as text: functions of its tiles, the loops around their calls, and the loops that store constant factors anew.
class NestWriter {
 public:
  NestWriter(const Nest& nest, Buffers& buffers, const Target& target, Functions& functions, size_t number)
      : buffers_(buffers), functions_(functions), nest_(nest, buffers, target, number) {}

  // After all buffers have their places.
  void write(Beginnings& beginnings) {
    for (const Panel& panel : nest_.panels) {
      for (const Part& part : nest_.parts) call(panel, part, beginnings);
    }
    for (size_t operand = 1; operand <= nest_.it.factors; ++operand)
      if (nest_.it.operands[operand].packed) pack(operand);
  }

  double cycles() const { return nest_.cycles(); }
  int64_t weights() const {
    int64_t count = 0;
    for (const Packed& packed : nest_.packed) count += packed.buffer < 0 ? 0 : buffers_[packed.buffer].elements();
    return count;
  }

  std::vector<Statement> statements;
  std::string packing;

 private:
  std::string pointer(size_t operand) const {
    const Operand& of = nest_.it.operands[operand];
    if (of.packed) return "c + " + to_string(buffers_[nest_.packed[operand].buffer].start);
    const Buffer& buffer = buffers_[of.buffer];
    std::string start = " + " + to_string(of.start + (buffer.half ? 0 : buffer.start));
    for (size_t i = 0; i < of.around.size(); ++i) start += step_text("b" + to_string(i), of.around[i]);
    switch (buffer.place) {
      case Place::kInput: return "x" + start;
      case Place::kOutput: return "y" + start;
      case Place::kAddend: return "z" + start;
      case Place::kParameter: return "p[" + to_string(buffer.parameter) + "]" + start;
      case Place::kConstant: return "c" + start;
      default: return (buffer.half ? "(half*)(s + " + to_string(buffer.start) + ")" : "s") + start;
    }
  }

  // The loops around one kind of tile, and its call.
  void call(const Panel& panel, const Part& part, Beginnings& beginnings) {
    std::vector<std::string> operands;
    for (size_t operand = 0; operand < nest_.it.operands.size(); ++operand)
      operands.push_back(beginnings.parameter(pointer(operand), nest_.type_of(operand)));
    Call made(std::move(operands));
    const auto outer = [&](bool weighs) {
      for (size_t loop : nest_.outer) {
        if (nest_.weighs(loop) != weighs) continue;
        const int64_t all = nest_.at(loop).extent;
        const auto cut = part.outer.find(loop);
        made.around("o" + to_string(loop), cut == part.outer.end() ? Range{0, all - 1} : cut->second, all,
                    loop == nest_.split, !weighs, [&](size_t operand) { return nest_.outer_step(loop, operand); });
      }
    };
    const auto panels = [&] {
      made.forward([&](size_t operand) { return panel.begin * nest_.panel_step(operand); });
      if (!nest_.strips)
        made.around("v", {0, panel.count - 1}, panel.count, nest_.split == nest_.lanes, false,
                    [&](size_t operand) { return panel.elements() * nest_.panel_step(operand); });
    };
    outer(true);
    if (!nest_.rows_outside) panels();
    outer(false);
    if (nest_.sums()) {
      const Rows& rows = part.rows;
      made.forward([&](size_t operand) { return rows.begin * nest_.row_step(operand); });
      made.around("q", part.tiles, rows.count, nest_.split == nest_.rows, true,
                  [&](size_t operand) { return rows.steps * nest_.row_step(operand); });
    }
    if (nest_.rows_outside) panels();
    for (size_t i = 0; i < part.summed.size(); ++i)
      made.forward(
          [&](size_t operand) { return part.summed[i].first * nest_.reduced_step(nest_.reduced[i], operand, panel); });
    const auto tile = [&](bool asks) { return functions_.name_of("tile", tile_function(nest_, panel, part, asks)); };
    const bool asks = nest_.reads_far() && !nest_.rows_outside && &part == &nest_.parts[0];
    const std::string first = tile(asks);
    statements.push_back(
        made.of(asks && made.reads_again() ? made.either(first, tile(false)) : first, nest_.has_borders()));
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
    const bool pairs = operand == nest_.paired;
    std::string does;
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
        inside += loop_text("l", wide - panel.beyond);
        place += " + l";
        origin += source(nest_.lanes, operand, "(" + first + " + l)");
      }
      does += "  " + inside +
              (pairs ? loop_text("h", 2) + "to[(0" + place + ") * 2 + h] = narrow<v1>(v1{from[0" + origin +
                           source(nest_.pair, operand, "h") + "]})[0];\n"
                     : "to[0" + place + "] = from[0" + origin + "];\n");
    }
    const std::string type = pairs ? "half*" : "float*";
    packing += "  " + functions_.name_of("pack", "(" + type + " to, const float* from) {\n" + does + "}\n") + "((" +
               type + ")(c + " + to_string(buffers_[packed.buffer].start) + "), c + " +
               to_string(of.start + buffers_[of.buffer].start) + ");\n";
  }

  // Where a step of a loop, which may be several joined, leads in an operand as it was before packing.
  std::string source(size_t loop, size_t operand, const std::string& index) const {
    std::string text;
    int64_t below = 1;
    const auto& parts = nest_.at(loop).parts;
    for (size_t i = parts.size(); i-- > 0;) {
      std::string own = below == 1 ? index : index + " / " + to_string(below);
      if (i > 0) own = "(" + own + ") % " + to_string(parts[i].extent);
      text += step_text("(" + own + ")", parts[i].step[operand]);
      below *= parts[i].extent;
    }
    return text;
  }

  const Buffers& buffers_;
  Functions& functions_;
  TiledNest nest_;
};

// The first and the last nest that uses each buffer.
std::vector<std::pair<int, int>> lives_of(const Plan& plan) {
  std::vector<std::pair<int, int>> lives(plan.buffers.size(), {static_cast<int>(plan.nests.size()), -1});
  for (int i = 0; i < static_cast<int>(plan.nests.size()); ++i) {
    for_each_access(plan.nests[static_cast<size_t>(i)], [&](const Access& access) {
      auto& [first, last] = lives[static_cast<size_t>(access.buffer)];
      first = std::min(first, i);
      last = i;
    });
  }
  for (auto& [first, last] :
       lives) {  // what comes from outside of a block, or is used behind it, is in use for all of it
    for (const Block& block : plan.blocks) {
      const int begin = static_cast<int>(block.first), end = static_cast<int>(block.last);
      if (last < begin || end < first || (begin <= first && last <= end)) continue;
      first = std::min(first, begin);
      last = std::max(last, end);
    }
  }
  return lives;
}

// How many images are computed together where a thread is given so many: few are left over.
int64_t images_together(int64_t given) {
  int64_t best = 1;
  double least = HUGE_VAL;
  for (int64_t images = 1; images <= std::min<int64_t>(given, 8); ++images) {
    const double cost =
        static_cast<double>((given + images - 1) / images * images) * (1 + 0.3 / static_cast<double>(images));
    if (cost >= least) continue;
    least = cost;
    best = images;
  }
  return best;
}

// Whether input or output are used for several images at once, beyond what is left of a batch.
bool touches_outside(const Plan& plan) {
  for (const Nest& nest : plan.nests) {
    bool found = false;
    for_each_access(nest, [&](const Access& access) {
      const Place place = plan.buffers[access.buffer].place;
      const bool outside = place == Place::kInput || place == Place::kOutput || place == Place::kAddend;
      found = found || (outside && access.axes.count("images") > 0);
    });
    if (found) return true;
  }
  return false;
}

std::string block_text(const Block& block, const std::string& index, int64_t extent) {
  if (block.images == 0) return loop_text(index, extent);
  return "for (long " + index + " = 0; " + index + " * " + to_string(block.images) + " < m; " + index + "++) ";
}

// Fills buffers whose margins are no zeros.
std::string margins(const Buffers& buffers) {
  std::string text;
  for (size_t id = 0; id < buffers.size(); ++id) {
    const Buffer& buffer = buffers[static_cast<int>(id)];
    if (!buffer.lowest || !buffer.has_margins() || buffer.place != Place::kScratch) continue;
    text += "  " + loop_text("i", buffer.elements()) + "s[" + to_string(buffer.start) + " + i] = lowest;\n";
  }
  return text;
}

}  // namespace

Source write(Plan plan, const Target& target) {
  Source source;
  Functions functions;
  std::vector<NestWriter> writers;
  add_transposes(plan);
  if (target.bf16) keep_halves(plan);
  make_blocks(plan, target);
  const int64_t together = target.choice("together", images_together(target.images));
  add_images(plan, together);
  writers.reserve(plan.nests.size());
  for (const Nest& nest : plan.nests) writers.emplace_back(nest, plan.buffers, target, functions, writers.size());
  const bool clocks = target.choice("clocks", 0) == 1;
  std::tie(source.constants, source.scratch) = plan.buffers.arrange(lives_of(plan));
  std::string once, packing, image;
  std::vector<Statement> statements;
  Beginnings beginnings;
  for (size_t i = 0; i < plan.nests.size(); ++i) {
    writers[i].write(beginnings);
    for (const Block& block : plan.blocks) {
      for (size_t j = 0; block.first == i && j < block.extents.size(); ++j)
        image += "  " + block_text(block, "b" + to_string(block.depth + j), block.extents[j]) + "{\n";
    }
    packing += writers[i].packing;
    const int parts = plan.nests[i].parts;
    const bool ends = std::any_of(plan.blocks.begin(), plan.blocks.end(),
                                  [&](const Block& block) { return block.last == i || block.first == i + 1; });
    statements.insert(statements.end(), writers[i].statements.begin(), writers[i].statements.end());
    if (parts != 0 && !ends && i + 1 < plan.nests.size() && plan.nests[i + 1].parts == parts) continue;
    (plan.nests[i].once ? once : image) += "  " + beginnings.call(functions, text_of(statements, parts != 0));
    statements.clear();
    beginnings = {};
    if (!plan.nests[i].once) image += "  if (n > 1) team->wait(n);\n";
    if (clocks && !plan.nests[i].once) image += "  if (t == 0) tick(" + to_string(i) + ");\n";
    for (const Block& block : plan.blocks) {
      for (size_t j = 0; block.last == i && j < block.extents.size(); ++j) image += "  }\n";
    }
  }
  const Entry sizes{plan.buffers[0].elements() / together, plan.buffers[1].elements() / together, together,
                    touches_outside(plan), source.scratch};
  source.text = prelude(target.width) + (target.bf16 ? halves() : "") + (clocks ? clock_text(plan.nests.size()) : "") +
                functions.text + "extern \"C\" void prepare(const float* const* p, float* c) {\n" +
                "  const long t = 0, n = 1;\n  (void)p, (void)t, (void)n;\n" + once + packing + "}\n" +
                "static void ready(float* s) {\n  (void)s;\n" + margins(plan.buffers) + "}\n" +
                "static void block(const float* x, const float* z, float* y, const float* c, float* s, long m, long t, "
                "long n, Team* team) {\n" +
                "  (void)team, (void)x, (void)z, (void)c, (void)s, (void)m, (void)t, (void)n;\n" +
                (clocks ? "  if (t == 0) tick(-1);\n" : "") + image + "}\n" + entry(sizes);
  source.scratch = room(sizes);
  source.cycles = kFetch * static_cast<double>(together * (sizes.input + sizes.output));
  for (size_t i = 0; i < plan.nests.size(); ++i) {
    double times = plan.nests[i].once ? 0 : writers[i].cycles();
    for (const Block& block : plan.blocks)
      for (int64_t extent : block.extents)
        times *= block.first <= i && i <= block.last ? static_cast<double>(extent) : 1;
    source.cycles += times;
    source.cold += kWeights * static_cast<double>(writers[i].weights());
  }
  source.cycles /= static_cast<double>(together);
  return source;
}

}  // namespace canvas::native

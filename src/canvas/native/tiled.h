// A nest cut into tiles: which loop lies along vectors, which rows share what is loaded, how many of both are kept in registers, and in which
// order constant factors are stored. Between loops and writers.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "canvas/native/loops.h"
#include "canvas/native/outside.h"
#include "canvas/native/target.h"

namespace canvas::native {

inline constexpr int kMostRows = 14;              // of a tile
inline constexpr int64_t kShort = kMostRows / 2;  // steps of a loop that is put into the rows of another one
inline constexpr double kSumUp = 8;               // adding up a vector's elements, in multiply-adds

// Some neighbouring elements along the vectors' loop: `vectors` vectors of `width`, `count` times.
struct Panel {
  int64_t begin;
  int64_t count;
  int vectors;
  int width;
  int64_t beyond = 0;  // so many of the last elements are computed and not stored
  int64_t elements() const { return int64_t{vectors} * width; }
  // Elements of a vector that are stored.
  int stored(int vector) const {
    const int64_t left = elements() - beyond - int64_t{vector} * width;
    return static_cast<int>(left < width ? left : width);
  }
};

// Some neighbouring steps of the loop of rows: `count` tiles of `steps`.
struct Rows {
  int64_t begin;
  int64_t count;
  int steps;
};

// `extent` steps in tiles of at most `steps`, shared out evenly.
std::vector<Rows> rows_in(int64_t extent, int steps);

// Tiles that sum the same steps.
struct Part {
  Rows rows;
  Range tiles;                    // of those of `rows`
  std::map<size_t, Range> outer;  // steps of the loops around that are cut
  std::vector<Range> summed;      // steps of the reduced loops: for others the factors lie in their margins
};

// Where a constant factor is stored anew: loops around it, panels, reduced loops, elements of a panel.
struct Packed {
  int buffer = -1;
  int64_t size = 0;
  int64_t depth = 1;  // elements for each element of a panel
  bool lanes = false;
  bool far = false;                 // its elements are asked for before they are read
  std::map<size_t, int64_t> outer;  // loops around and their steps
  std::vector<size_t> inner;
};

class TiledNest {
 public:
  // `number` is the nest's, for the target's choices.
  TiledNest(const Nest& nest, Buffers& buffers, const Target& target, size_t number);

  const Nest& nest;
  Loops it;
  size_t lanes = 0;  // the loop along vectors
  // The factor whose numbers hold two bf16 weights each, or 0; then the loop of two steps between these, which a dot product takes at once: it
  // is in none of the lists below.
  size_t paired = 0, pair = 0;
  bool across = false;        // which is summed: the elements of each vector are added up in the end
  bool transposes = false;    // it copies what lies along the rows to the lanes
  bool strips = false;        // without sums: a tile runs through all of its panels, not through rows
  size_t rows;                // the loop of rows; no loop where there are none
  size_t unit;                // a short loop that is whole within each step of that of rows, or no loop
  std::vector<size_t> outer;  // the other loops, outermost first
  std::vector<size_t> reduced;
  std::vector<Panel> panels;
  std::vector<Part> parts;     // the one that sums most is the first
  std::vector<Packed> packed;  // of each operand
  int64_t straight;            // so many multiply-adds are written one after the other, without a loop
  int64_t in_turn;             // steps of a loop around these that are written out as well
  bool rows_outside;           // panels are run through within the rows
  size_t split;                // the loop whose steps threads share (`lanes`: panels), or no loop

  // About how many cycles all of it takes.
  double cycles() const;

  // Rows of a tile, each with sums of its own; and where one lies in an operand.
  int rows_of(const Rows& tile) const { return tile.steps * static_cast<int>(unit_extent()); }
  int64_t row_offset(size_t operand, int row) const;
  // Whether tiles at borders sum fewer steps.
  bool has_borders() const { return !borders_.empty(); }
  bool has_rows() const { return rows < it.loops.size(); }
  bool sums() const { return it.factors > 0; }
  const Loop& at(size_t loop) const { return it.loops[loop]; }
  // A factor that is packed and has the loop.
  bool weighs(size_t loop) const;
  // A factor that is asked for, the first time that a panel is run through.
  bool reads_far() const;
  // Steps of an operand in elements, as it is stored in the end.
  int64_t lane_step(size_t operand) const;
  // What a pointer to an operand points to.
  std::string type_of(size_t operand) const {
    return std::string(operand == 0 ? "" : "const ") + (it.operands[operand].half ? "half" : "float");
  }
  int64_t panel_step(size_t operand) const;  // for one element along the panels
  int64_t row_step(size_t operand) const;
  int64_t outer_step(size_t loop, size_t operand) const;
  int64_t reduced_step(size_t loop, size_t operand, const Panel& panel) const;

 private:
  bool has_unit() const { return unit < it.loops.size(); }
  int64_t unit_extent() const { return has_unit() ? at(unit).extent : 1; }
  // A loop of positions and a summed one along which windows reach into margins.
  struct Border {
    size_t loop, summed;
    std::vector<Range> kept;  // for each step of the first part of `loop`, steps of the first part of `summed`
  };
  void use_borders(const Buffers& buffers);
  bool slides() const;
  void find_borders(const Buffers& buffers);
  Range counting(size_t loop, Range steps, size_t summed) const;
  double share(size_t loop, Range steps) const;
  std::vector<Range> stretches(size_t loop, int64_t first, int64_t each, int64_t count) const;
  void cut(const std::vector<Rows>& row_tiles);
  void choose_pair();
  void choose_unit();
  bool go_together(size_t one, size_t other) const;
  bool may_go_beyond(const Buffers& buffers) const;
  int64_t step(size_t loop, size_t operand) const { return at(loop).step[operand]; }
  void choose_lanes();
  void choose_summed_lanes(double least);
  bool lies_plain(size_t operand) const;
  void choose_rows();
  void arrange(const Buffers& buffers);
  void order();
  void tile(const Buffers& buffers);
  double vector_cost(const Expression& expression) const;
  double access_cost(size_t operand) const;
  double step_cost(int64_t steps, int64_t vectors) const;
  double cost(int64_t row_extent, int steps, int64_t wide, int vectors) const;
  double loads(int64_t steps, int64_t vectors) const;
  std::vector<double> cycles_by_kind() const;
  double share_of(int64_t thread, size_t loop, const Panel& panel, const Part& part) const;
  void choose_split(const Buffers& buffers);
  void pack();

  std::vector<Border> borders_;
  const Target& target_;
  const size_t number_;
};

}  // namespace canvas::native

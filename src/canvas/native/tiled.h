// A nest cut into tiles: which loop lies along vectors, which rows share what is loaded, how many of both are kept in registers, and in which
// order constant factors are stored. Between loops and writers.
#pragma once

#include <map>
#include <vector>

#include "canvas/native/loops.h"

namespace canvas::native {

// What the processor has: floats in a vector, and vectors.
struct Target {
  int width = 8;
  int registers = 16;
  int images = 1;  // that one thread is likely to be given: up to so many are computed together
};

// Some neighbouring elements along the vectors' loop: `vectors` vectors of `width`, `count` times.
struct Panel {
  int64_t begin;
  int64_t count;
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

// Where a constant factor is stored anew: loops around it, panels, reduced loops, elements of a panel.
struct Packed {
  int buffer = -1;
  int64_t depth = 1;  // elements for each element of a panel
  bool lanes = false;
  std::map<size_t, int64_t> outer;  // loops around and their steps
  std::vector<size_t> inner;
};

class TiledNest {
 public:
  TiledNest(const Nest& nest, Buffers& buffers, const Target& target);

  const Nest& nest;
  Loops it;
  size_t lanes = 0;           // the loop along vectors
  bool across = false;        // which is summed: the elements of each vector are added up in the end
  size_t rows;                // the loop of rows; no loop where there are none
  std::vector<size_t> outer;  // the other loops, outermost first
  std::vector<size_t> reduced;
  std::vector<Panel> panels;
  std::vector<Rows> row_tiles;
  std::vector<Packed> packed;  // of each operand

  bool has_rows() const { return rows < it.loops.size(); }
  bool sums() const { return it.factors > 0; }
  const Loop& at(size_t loop) const { return it.loops[loop]; }
  // A factor that is packed and has the loop.
  bool weighs(size_t loop) const;
  // Steps of an operand in elements, as it is stored in the end.
  int64_t lane_step(size_t operand) const;
  int64_t panel_step(size_t operand) const;  // for one element along the panels
  int64_t row_step(size_t operand) const;
  int64_t outer_step(size_t loop, size_t operand) const;
  int64_t reduced_step(size_t loop, size_t operand, const Panel& panel) const;

 private:
  int64_t step(size_t loop, size_t operand) const { return at(loop).step[operand]; }
  void choose_lanes();
  void choose_summed_lanes(double least);
  void choose_rows();
  void order();
  void tile();
  double cost(int64_t row_extent, int tile_rows, int64_t wide, int vectors) const;
  double loads(int64_t tile_rows, int64_t vectors) const;
  void pack(Buffers& buffers);

  const Target& target_;
};

}  // namespace canvas::native

// What each output of a kernel depends on: channels, positions, parameters. Read off the core forms, which say what element reads what;
// no number is computed. Called by sample/plausible.cpp.
//
// For every value, and for each axis of the input by itself, bits say which of that axis's elements an element depends on; they are kept
// over those axes of the value alone along which they differ. Since the union's projection is the projections' union, nothing is lost but
// for zeros outside: an element that is zero because it lies outside along one axis still counts for the others, as it would in the
// middle of a larger layer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "canvas/ir/core.h"
#include "canvas/size/size.h"

namespace canvas {

struct Flow {
  std::vector<uint64_t> channels;  // of each output channel: the input channels that reach it, as bits
  // Along each position axis of the result: over how many positions, from the first to the last, the input's centre is seen. A summary
  // of all positions, the same everywhere, is not counted. unfold(x, H: 3): 3 along H, 1 along W; fold(x, mean: [H, W]): 0.
  std::vector<int64_t> reach;
  bool summary = false;           // some output sees such a summary
  std::vector<std::string> dead;  // parameters that nothing in the result depends on
};

// Throws ArgumentError for more than 64 input channels. Every size must be integral.
Flow flow(const CoreProgram& program, const Signature& signature, const Values& values);

}  // namespace canvas

// Steps that hand-designed kernels take together again and again, and that single draws would seldom come to in a row: growth draws them
// as one. Each step is one that it could draw by itself, so no kernel comes that could not come without them.
#pragma once

#include <vector>

#include "canvas/ir/primitive.h"
#include "canvas/sample/limits.h"

namespace canvas {

// Which of a primitive's proposals a step takes.
enum class Wanted {
  kAny,
  kPositions,   // along all positions; of a fold the mean
  kOneAxis,     // along one of them
  kNarrow,      // all channels and windows into fewer channels, by a free size
  kOwn,         // all channels and windows back into the channels that the operand has
  kPerChannel,  // windows alone, a filter for each channel
  kPerGroup,    // a channel axis and windows, for each index of the others
  kLike,  // all into what another value has beside positions and the operand lacks; of one with windows into these and some others
};

struct IdiomStep {
  const Primitive& (*primitive)();  // null: an activation, by its weight
  Wanted wanted;
  int operand;     // 0: the value that the idiom starts from; n: the n-th step's
  int other = -1;  // a second operand; with kLike the value whose axes are made
};

struct Idiom {
  const char* name;
  double weight;
  std::vector<IdiomStep> steps;
};

// Those whose primitives the limits all allow.
std::vector<const Idiom*> idioms(const Limits& limits);

}  // namespace canvas

// The order of steps that follow one another, each used by the next alone: which may change places, and which goes first.
// Used by the normal order alone.
#pragma once

#include <cstdint>
#include <vector>

#include "canvas/ir/program.h"

namespace canvas {

class ChainOrder {
 public:
  explicit ChainOrder(const Program& program);

  // Puts all chains into the smallest order that steps that commute allow; whether any step moved: then axes are to be refreshed.
  bool sort(Program& program);

 private:
  // What orders steps that commute; free of the names that a text may choose.
  struct Key {
    int order;
    bool weighted;
    uint64_t name;
    int mode, dilation;
    uint64_t axes, sizes;
    auto operator<=>(const Key&) const = default;
  };

  void describe_axes(const Program& program);
  Key key(const Step& step) const;
  bool sort_chain(Program& program);

  std::vector<uint64_t> sizes_;  // what is known of a size, and of an axis, whatever variables and axes are called
  std::vector<uint64_t> axes_;
  std::vector<int> chain_;  // the values of the one at hand, from input to result
  std::vector<Key> keys_;
  std::vector<size_t> order_;
  std::vector<bool> taken_;
};

}  // namespace canvas

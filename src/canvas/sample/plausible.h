// Whether a legal kernel could be of any use: judged on a small layer by what depends on what (analyze/flow.h) and by the moments at
// initialisation (analyze/moments.h), so that no primitive needs to know of it. Nothing is computed but, where asked for, one forward
// pass (numeric.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "canvas/analyze/moments.h"
#include "canvas/ir/kernel.h"
#include "canvas/sample/limits.h"
#include "canvas/size/size_table.h"

namespace canvas {

// The input's axes of positions, as bits, along which a kernel must look around.
unsigned axes_to_look_along(const Limits& limits, const Signature& signature);

// False where some size that has no free variable in it cannot be whole on the small layer that plausibility is judged on.
bool fit_small_layer(const Axes& axes);

// Why a kernel is implausible: "its value % is constant", and which one. Sampling counts tries by what they fail.
struct Reason {
  const char* what;
  std::string of = "";
  std::string str() const;
};

// A layer with few channels and short extents, on which kernels are judged, and the values of its sizes.
class SmallLayer {
 public:
  // 8 channels; extents go past `reach` on both sides of the middle.
  SmallLayer(const Signature& signature, int reach);

  // Values at which all of the kernel's sizes are whole, free ones to suit; nothing where there are none.
  const Values* values(const Kernel& kernel);

 private:
  struct Known {
    unsigned whole = 0;  // at which of the points, as bits
    float most = 0;      // the logarithm of the largest of them
  };
  const Known& known(const Size& size);

  std::vector<Layer> layers_;   // by point
  std::vector<Values> points_;  // those that are tried first are first
  SizeTable<Known> known_;
};

// Judges one kernel after the other under the same limits, and keeps what it can use again; for one thread.
class Plausibility {
 public:
  Plausibility(const Limits& limits, const Signature& signature);

  // Why a kernel is implausible, or nothing: by its primitives' number and what depends on what; by its moments; by a forward pass, where
  // that is asked for. The first says the same of a kernel and its canonical form.
  std::optional<Reason> ill_connected(const Kernel& kernel);
  std::optional<Reason> untrainable(const Kernel& kernel);
  std::optional<Reason> fails_forward(const Kernel& kernel);

 private:
  Limits limits_;
  int reach_;
  unsigned wanted_;  // axes to look along
  SmallLayer seen_, trained_;
  KnownMoments moments_;
};

// All of them, in this order.
std::optional<std::string> implausible(const Kernel& kernel, const Limits& limits);

}  // namespace canvas

// Level 2: chooses a kernel's free sizes for a network, so that every size is integral, the budget holds, and it is used to the full:
// of all legal choices, that of the largest geometric mean of FLOPs and parameters. options.h lists what each layer can take, fill.h
// chooses among it, conflict.h says why nothing fits.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "canvas/analyze/cost.h"
#include "canvas/base/error.h"
#include "canvas/ir/kernel.h"
#include "canvas/solve/network.h"
#include "canvas/solve/options.h"
#include "canvas/solve/prices.h"

namespace canvas {

// Who takes the same sizes.
enum class Share {
  kLayer,    // each entry of the list of layers by itself; its `count` copies are one layer
  kShape,    // entries of equal channels, extents and stride
  kNetwork,  // all
};

struct Rules {
  Share share = Share::kLayer;
  int64_t multiple_of = 1;  // see Sizing

  // Throws ArgumentError for a multiple below 1 or above 2^20.
  void check() const;
};

struct BoundLayer {
  std::shared_ptr<const Kernel> kernel;
  Layer layer;
  Values values;  // static and dynamic
  Cost cost;      // of one such layer, one image
};

struct Binding {
  std::shared_ptr<const Kernel> kernel;
  std::vector<BoundLayer> layers;
  Cost cost;       // FLOPs and parameters of all layers with their counts; memory of the largest
  double gap = 0;  // 0: proven the best; otherwise no choice has a geometric mean more than this fraction larger
  bool complete =
      true;  // false: a layer has more legal values than can be listed, and the best is that of an even part of them
};

// Either the binding of largest capacity (the same for the same arguments) or the reason why there is none: the size and layer that no
// value makes integral, or the tightest budget, what the kernel needs of it, the layer that takes most, and the nearest budget that would
// do. Where nothing was found, but that there is nothing is not proven, the reason says so. `missed`, where given, takes by which factor the budgets would have to be raised (floors: lowered), HUGE_VAL where that is no help; on
// entry it says which factors are of no interest (these or larger ones), for which the reason may be left vague.
// Throws ArgumentError for bad layers, budgets or rules.
// `prices`: what the budget's limit on latency is held against; without them that limit is not held.
Result<Binding> bind(const Kernel& kernel, const std::vector<Layer>& layers, const Budget& budget,
                     const Rules& rules = {}, double* missed = nullptr, const Prices* prices = nullptr);

// A layer's legal sizes, about `most` at most, spread evenly where there are more.
std::vector<BoundLayer> options_of(const Kernel& kernel, const Layer& layer, size_t most, const Rules& rules = {});

// Why bind() would give no binding, or nothing; quicker, since any sizes that keep the budget will do.
std::optional<Fault> unbindable(const Kernel& kernel, const std::vector<Layer>& layers, const Budget& budget,
                                const Rules& rules = {}, double* missed = nullptr);

}  // namespace canvas

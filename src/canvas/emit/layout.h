// How a value with named axes lies in a torch tensor: each dimension holds some axes flattened, the last fastest. A split or a merge of
// neighbouring axes then costs nothing, and only what an operation needs apart is taken apart. Used by the PyTorch emitter.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "canvas/ir/kernel.h"

namespace canvas {

using Dim = AxisNames;  // axis names; kBatch is the batch; empty: a dimension of extent 1
using Layout = std::vector<Dim>;

inline const std::string kBatch = "";

// An axis's extent as Python text: "16", or "(H + 1) // 2" where it is known only at run time (then not `fixed`).
struct Extent {
  std::string code;
  bool fixed = true;
};
using ExtentOf = std::function<Extent(const std::string& axis)>;

bool holds(const Dim& dim, const std::string& axis);
// The dimension that holds the axis, or -1.
int find_dim(const Layout& layout, const std::string& axis);
// All axes in the order in which they lie.
Dim flat(const Layout& layout);
// `layout` without the dimensions of extent 1.
Layout without_ones(const Layout& layout);
// Cuts every dimension between neighbours for which `apart` holds.
Layout cut(const Layout& layout, const std::function<bool(const std::string& left, const std::string& right)>& apart);

// The Python expression that brings `code` from one layout into another over the same axes.
// Example: a channel shuffle of x in [N, (g c), H, W] to [N, (c g), H, W], g = 4, c = 16:
// "x.unflatten(1, (4, 16)).transpose(1, 2).flatten(1, 2)".
std::string arrange(const std::string& code, const Layout& from, const Layout& to, const ExtentOf& extent_of);

}  // namespace canvas

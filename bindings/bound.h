// Kernel.source(layer) and BoundLayer.source() are one thing: this is it. A bound layer's numeric use: source, parameters, interpreter.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "canvas/base/error.h"
#include "canvas/solve/binding.h"

namespace canvas::python {

using Array = nanobind::ndarray<const double, nanobind::c_contig, nanobind::device::cpu>;

// The binding, or Infeasible with the reason.
Binding bind_or_throw(const Kernel& kernel, const std::vector<Layer>& layers, const Budget& budget, const Rules& rules,
                      const Prices* prices = nullptr);

// "layer", "shape" or "network"; ArgumentError for anything else.
Share share(const std::string& name);

// The kernel on one layer, its free sizes as large as they go.
BoundLayer bind_layer_alone(const Kernel& kernel, const Layer& layer);

// With the lowering rules named alone; all of them where none are given.
std::string source(const BoundLayer& bound, const std::optional<std::vector<std::string>>& rules);
// How often each of these rules is applied.
std::map<std::string, int> lowering_counts(const BoundLayer& bound,
                                           const std::optional<std::vector<std::string>>& rules);

// [(name, logical shape, shape in the module)]
nanobind::list parameters(const BoundLayer& bound);

// float64 reference result for a batch [N, c_in, *spatial], [N, tokens, c_in] or [..., c_in]; `parameters` maps each name to an array of its logical shape.
nanobind::object interpret(const BoundLayer& bound, const Array& x, const nanobind::dict& parameters);

// Operations that the interpreter counts while it runs one image of zeros, or all tokens.
int64_t counted_flops(const BoundLayer& bound);

}  // namespace canvas::python

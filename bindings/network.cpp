// Layers, budgets and bindings.
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "bindings.h"
#include "bound.h"
#include "canvas/analyze/flow.h"
#include "canvas/analyze/moments.h"
#include "canvas/lower/lower.h"
#include "canvas/solve/assignment.h"
#include "canvas/solve/binding.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace canvas::python {

namespace {

// An absolute limit, as Python sees it.
struct Amount {
  double high = 0;
  double low = 0;
};

using Limit = std::optional<std::variant<double, std::pair<double, double>, Amount>>;

std::optional<Range> range(const Limit& limit) {
  if (!limit) return std::nullopt;
  if (const double* high = std::get_if<double>(&*limit)) return Range{0, *high};
  if (const Amount* amount = std::get_if<Amount>(&*limit)) return Range{amount->low, amount->high, true};
  const auto& both = std::get<std::pair<double, double>>(*limit);
  return Range{both.first, both.second};
}

nb::object limit(const std::optional<Range>& range) {
  if (!range) return nb::none();
  if (range->absolute) return nb::cast(Amount{range->high, range->low});
  return nb::make_tuple(range->low, range->high);
}

// Costs are whole numbers, but may be past 64 bits.
nb::int_ whole(double cost) { return nb::int_(nb::float_(cost)); }

nb::tuple tuple(const std::vector<int64_t>& values) {
  nb::list list;
  for (int64_t value : values) list.append(value);
  return nb::tuple(list);
}

std::map<std::string, int64_t> dynamic_values(const Kernel& kernel, const Values& values) {
  std::map<std::string, int64_t> sizes;
  for (int v = kFirstDynamic; v < kernel.variables().count(); ++v)
    sizes[kernel.variables().name(v)] = values[static_cast<size_t>(v)];
  return sizes;
}

nb::dict flow_of(const BoundLayer& bound) {
  const Flow found = flow(lower(*bound.kernel), bound.kernel->signature(), bound.values);
  nb::dict facts;
  facts["channels"] = found.channels;
  facts["reach"] = tuple(found.reach);
  facts["summary"] = found.summary;
  facts["dead"] = found.dead;
  return facts;
}

nb::list moments_of(const BoundLayer& bound) {
  const std::vector<Moments> all = moments(*bound.kernel, bound.values);
  nb::list found;
  for (size_t i = 0; i < all.size(); ++i) {
    const double deviation = std::sqrt(std::max(0.0, all[i].variance()));
    found.append(nb::make_tuple(bound.kernel->nodes()[i].name, all[i].mean, deviation));
  }
  return found;
}

nb::tuple layer_state(const Layer& layer) {
  return nb::make_tuple(layer.c_in, layer.c_out, tuple(layer.spatial), layer.stride, layer.window, layer.groups,
                        layer.count, layer.tokens);
}

std::string layer_text(const Layer& layer) {
  std::string text = "Layer(" + std::to_string(layer.c_in) + ", " + std::to_string(layer.c_out) + ", " +
                     nb::cast<std::string>(nb::repr(tuple(layer.spatial)));
  if (!layer.spatial.empty())
    text += ", stride=" + std::to_string(layer.stride) + ", window=" + std::to_string(layer.window);
  text += ", groups=" + std::to_string(layer.groups) + ", count=" + std::to_string(layer.count);
  return text + (layer.tokens ? ", tokens=" + std::to_string(layer.tokens) : "") + ")";
}

void bind_layer(nb::module_& module) {
  nb::class_<Layer>(
      module, "Layer",
      "One replaceable layer, ``count`` times in the network: a convolution, or a linear layer.\n\n"
      "Args:\n    c_in: channels in.\n    c_out: channels out.\n    spatial: input extents: one to three for a "
      "convolution (default: (32, 32)), () for a linear layer.\n"
      "    stride: 1 or more; output extents are ceil(extent / stride).\n    window: the original's odd window "
      "(default: 3, of a linear layer 1).\n"
      "    groups: the original's groups.\n    count: how often the network has it.\n"
      "    tokens: how many positions a linear layer is applied to, where its input is [N, tokens, c_in].\n\n"
      "Raises:\n    ValueError: a size is out of range.\n\n"
      "Example:\n    >>> Layer(64, 128, (32, 32), stride=2).params\n    73728\n"
      "    >>> Layer(64, 128, tokens=197).flops\n    3227648\n")
      .def(
          "__init__",
          [](Layer* self, int64_t c_in, int64_t c_out, std::optional<std::vector<int64_t>> spatial, int64_t stride,
             std::optional<int64_t> window, int64_t groups, int64_t count, std::optional<int64_t> tokens) {
            Layer layer{c_in, c_out, {}, stride, 1, groups, count, tokens.value_or(0)};
            layer.spatial = spatial.value_or(layer.tokens ? std::vector<int64_t>{} : std::vector<int64_t>{32, 32});
            layer.window = window.value_or(layer.spatial.empty() ? 1 : 3);
            layer.check();
            new (self) Layer(std::move(layer));
          },
          "c_in"_a, "c_out"_a, "spatial"_a = nb::none(), "stride"_a = 1, "window"_a = nb::none(), "groups"_a = 1,
          "count"_a = 1, "tokens"_a = nb::none())
      .def_ro("c_in", &Layer::c_in)
      .def_ro("c_out", &Layer::c_out)
      .def_prop_ro("spatial", [](const Layer& layer) { return tuple(layer.spatial); })
      .def_ro("stride", &Layer::stride)
      .def_ro("window", &Layer::window)
      .def_ro("groups", &Layer::groups)
      .def_ro("count", &Layer::count)
      .def_prop_ro("tokens",
                   [](const Layer& layer) { return layer.tokens ? std::optional(layer.tokens) : std::nullopt; })
      .def_prop_ro("kind", &Layer::kind, "'conv1d', 'conv2d', 'conv3d' or 'linear'.")
      .def_prop_ro(
          "flops", [](const Layer& layer) { return whole(layer.cost().flops); },
          "Operations of the original, one layer, one image or sequence: 2 x multiply-adds.")
      .def_prop_ro("params", [](const Layer& layer) { return whole(layer.cost().params); })
      .def_prop_ro(
          "memory", [](const Layer& layer) { return whole(layer.cost().memory); },
          "Bytes of input and output, fp32, one image or sequence.")
      .def("__eq__",
           [](const Layer& a, nb::object b) { return nb::isinstance<Layer>(b) && a == nb::cast<const Layer&>(b); })
      .def("__hash__", [](const Layer& layer) { return nb::hash(layer_state(layer)); })
      .def("__repr__", &layer_text)
      .def("__getstate__", layer_state)
      .def("__setstate__", [](Layer& self, nb::tuple state) {
        new (&self)
            Layer{nb::cast<int64_t>(state[0]), nb::cast<int64_t>(state[1]), nb::cast<std::vector<int64_t>>(state[2]),
                  nb::cast<int64_t>(state[3]), nb::cast<int64_t>(state[4]), nb::cast<int64_t>(state[5]),
                  nb::cast<int64_t>(state[6]), nb::cast<int64_t>(state[7])};
      });
}

void bind_prices(nb::module_& module) {
  nb::class_<Prices>(
      module, "Prices",
      "Predicted latencies of a kernel's options on a network, for `Kernel.bind`.\n\n"
      "Args:\n    original: seconds of the original layers together.\n    layers: for each layer of the "
      "network, [(BoundLayer, seconds), ...]: what may be chosen there. Layers of equal sizes have the first one's.\n\n"
      "Example:\n    >>> layer, kernel = Layer(4, 4), canvas.zoo()['low_rank']\n"
      "    >>> Prices(1e-3, [[(bound, 1e-9 * bound.flops) for bound in kernel.options(layer)]]).original\n"
      "    0.001\n")
      .def(
          "__init__",
          [](Prices* self, double original, const std::vector<std::vector<std::pair<BoundLayer, double>>>& layers) {
            Prices prices{original, {}};
            for (const auto& options : layers) {
              prices.layers.emplace_back();
              for (const auto& [bound, seconds] : options) prices.layers.back().emplace_back(bound.values, seconds);
            }
            new (self) Prices(std::move(prices));
          },
          "original"_a, "layers"_a)
      .def_ro("original", &Prices::original);
}

void bind_budget(nb::module_& module) {
  nb::class_<Amount>(module, "Amount",
                     "A limit of a Budget in absolute numbers (operations, parameters, bytes), not as a fraction.\n\n"
                     "Args:\n    high: at most this much.\n    low: at least this much.\n\n"
                     "Example:\n    >>> Budget(params=Amount(2e6), flops=0.5).params\n    Amount(2e+06)\n")
      .def(nb::init<double, double>(), "high"_a, nb::kw_only(), "low"_a = 0.0)
      .def_ro("low", &Amount::low)
      .def_ro("high", &Amount::high)
      .def("__eq__",
           [](const Amount& a, nb::object b) {
             return nb::isinstance<Amount>(b) && a.low == nb::cast<const Amount&>(b).low &&
                    a.high == nb::cast<const Amount&>(b).high;
           })
      .def("__hash__", [](const Amount& amount) { return nb::hash(nb::make_tuple(amount.low, amount.high)); })
      .def("__repr__", [](const Amount& amount) {
        char text[80];
        if (amount.low > 0) {
          std::snprintf(text, sizeof text, "Amount(%g, low=%g)", amount.high, amount.low);
        } else {
          std::snprintf(text, sizeof text, "Amount(%g)", amount.high);
        }
        return std::string(text);
      });
  nb::class_<Budget>(
      module, "Budget",
      "Limits on the replaced layers, each a fraction of what the originals cost together (1.0: as "
      "much), or (low, high), or an Amount.\n\n"
      "Args:\n    flops: operations of one image.\n    params: trained numbers.\n    memory: largest "
      "layer's activations.\n"
      "    latency: time, an Amount of it in seconds; held by `Kernel.bind` against predicted prices, if it is given "
      "some, and by whoever measures.\n    each: a Budget "
      "(flops, params, memory) "
      "that every layer by itself must keep, against its own original.\n\n"
      "Raises:\n    ValueError: a limit is negative, not finite, or low is above high.\n\n"
      "Example:\n    >>> Budget(flops=0.5, params=(0.1, 0.5)).params\n    (0.1, 0.5)\n")
      .def(
          "__init__",
          [](Budget* self, const Limit& flops, const Limit& params, const Limit& memory, const Limit& latency,
             std::optional<Budget> each) {
            Budget budget{range(flops), range(params), range(memory), range(latency), nullptr};
            if (each) budget.each = std::make_shared<const Budget>(*each);
            budget.check();
            new (self) Budget(budget);
          },
          nb::kw_only(), "flops"_a = nb::none(), "params"_a = nb::none(), "memory"_a = nb::none(),
          "latency"_a = nb::none(), "each"_a = nb::none())
      .def_prop_ro("flops", [](const Budget& budget) { return limit(budget.flops); })
      .def_prop_ro("params", [](const Budget& budget) { return limit(budget.params); })
      .def_prop_ro("memory", [](const Budget& budget) { return limit(budget.memory); })
      .def_prop_ro("latency", [](const Budget& budget) { return limit(budget.latency); })
      .def_prop_ro("each", [](const Budget& budget) {
        return budget.each ? std::optional<Budget>(*budget.each) : std::nullopt;
      });
}

void bind_assign(nb::module_& module) {
  module.def(
      "assign",
      [](const std::vector<std::vector<std::pair<double, std::vector<double>>>>& given,
         const std::vector<double>& limits, size_t count) {
        std::vector<std::vector<Alternative>> groups;
        for (const auto& group : given) {
          auto& made = groups.emplace_back();
          for (const auto& [loss, costs] : group) made.push_back({loss, costs});
        }
        const Assignments found = assign(groups, limits, count);
        nb::list best;
        for (const Assignment& one : found.best) best.append(nb::make_tuple(one.picks, one.loss));
        return nb::make_tuple(best, found.proven);
      },
      "groups"_a, "limits"_a, "count"_a = 1,
      "Which alternative each group takes, so that all together keep the limits and lose least.\n\n"
      "Args:\n    groups: for each its alternatives, (loss, [cost of each resource]); both add up over the groups.\n"
      "    limits: the most of each resource, inf for none.\n    count: how many assignments.\n\n"
      "Returns:\n    ([(the picks by group, loss), ...], proven): the best that keep the limits, fewer than `count` "
      "where there are no\n        more; not proven where there was too much to look at.\n\n"
      "Raises:\n    ValueError: a number is not finite, or numbers of costs differ.\n\n"
      "Example:\n    >>> assign([[(0.0, [3.0]), (1.0, [1.0])], [(0.0, [3.0]), (0.5, [1.0])]], [4.0])\n"
      "    ([([0, 1], 0.5)], True)\n");
}

}  // namespace

void bind_network(nb::module_& module) {
  bind_layer(module);
  bind_budget(module);
  bind_prices(module);
  bind_assign(module);
  nb::class_<BoundLayer>(
      module, "BoundLayer",
      "One layer of a Binding: ``.layer``, ``.sizes`` (the chosen dynamic variables), costs of one such layer.")
      .def_ro("layer", &BoundLayer::layer)
      .def_prop_ro("sizes", [](const BoundLayer& bound) { return dynamic_values(*bound.kernel, bound.values); })
      .def_prop_ro("flops", [](const BoundLayer& bound) { return whole(bound.cost.flops); })
      .def_prop_ro("params", [](const BoundLayer& bound) { return whole(bound.cost.params); })
      .def_prop_ro("memory", [](const BoundLayer& bound) { return whole(bound.cost.memory); })
      .def_prop_ro(
          "latency", [](const BoundLayer& bound) { return bound.cost.latency; },
          "Seconds that were predicted, 0.0 where none were.")
      .def("source", &source, "rules"_a = nb::none(),
           "Stand-alone PyTorch source of the kernel with these sizes; needs torch alone.\n\n"
           "Args:\n    rules: names of the lowering rules to apply (docs/lowering.md); by default all, with [] none: "
           "one "
           "operation after the other.\n\n"
           "Raises:\n    ValueError: there is no such rule.\n")
      .def("lowering_counts", &lowering_counts, "rules"_a = nb::none(),
           "How often each lowering rule (of those named; by default of all) is applied while the source is written: "
           "{name: count}.")
      .def("parameters", &parameters,
           "[(name, logical shape, shape in the module), ...]; the same elements in the same order.")
      .def("interpret", &interpret, "x"_a, "parameters"_a, "The float64 reference, as Kernel.interpret.")
      .def(
          "flow", &flow_of,
          "What the outputs depend on: channels (for each output channel, the input channels that reach it, as bits), "
          "reach (positions along each axis that are seen one by one), summary (whether one of all positions is seen), "
          "dead (parameters that nothing depends on). At most 64 input channels.")
      .def("moments", &moments_of,
           "[(value, mean, deviation), ...] at initialisation, for a standard normal input, as they are predicted.")
      .def("counted_flops", &counted_flops,
           "Operations that the reference interpreter counts while it runs one image or sequence.");
  nb::class_<Binding>(module, "Binding",
                      "A kernel with sizes chosen for a network's layers. ``binding[i]`` is the i-th layer's.")
      .def_prop_ro("kernel", [](const Binding& binding) { return *binding.kernel; })
      .def_ro("gap", &Binding::gap,
              "0.0: these sizes are proven the best; otherwise no others have a geometric mean of FLOPs and parameters "
              "that is more than this fraction larger.")
      .def_ro("complete", &Binding::complete,
              "False where a layer has more legal values than can be listed: the best is that of an even part of them.")
      .def_prop_ro(
          "flops", [](const Binding& binding) { return whole(binding.cost.flops); },
          "Operations of all layers with their counts, one image.")
      .def_prop_ro("params", [](const Binding& binding) { return whole(binding.cost.params); })
      .def_prop_ro(
          "memory", [](const Binding& binding) { return whole(binding.cost.memory); },
          "Bytes of live activations of the largest layer, fp32, one image.")
      .def_prop_ro(
          "latency", [](const Binding& binding) { return binding.cost.latency; },
          "Seconds that were predicted for all layers with their counts, 0.0 where none were.")
      .def("__len__", [](const Binding& binding) { return binding.layers.size(); })
      .def("__getitem__", [](const Binding& binding, int64_t index) {
        const auto count = static_cast<int64_t>(binding.layers.size());
        if (index < -count || index >= count) throw nb::index_error("a binding has one entry a layer");
        return binding.layers[static_cast<size_t>(index < 0 ? index + count : index)];
      });
}

}  // namespace canvas::python

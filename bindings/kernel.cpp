// Kernels: text, hash, canonical form, binding, emission, interpretation.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings.h"
#include "bound.h"
#include "canvas/emit/dot.h"
#include "canvas/ir/canonical.h"
#include "canvas/lower/rules.h"
#include "canvas/prims/registry.h"
#include "canvas/prims/safe.h"
#include "canvas/sample/closing.h"
#include "canvas/text/parser.h"
#include "canvas/text/printer.h"
#include "canvas/text/usage.h"
#include "sizes.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace canvas::python {

namespace {

nb::dict primitive_facts(const Primitive& primitive) {
  nb::dict facts;
  facts["name"] = primitive.name;
  facts["summary"] = primitive.summary;
  facts["formula"] = primitive.formula;
  nb::dict constraints;
  for (const Constraint& constraint : primitive.constraints) constraints[constraint.label] = constraint.text;
  facts["constraints"] = constraints;
  facts["usage"] = usage(primitive);
  facts["example"] = primitive.example;
  facts["modes"] = primitive.modes;
  nb::list properties;
  for (const auto& [property, name] : kPropertyNames) {
    if (primitive.is(property)) properties.append(name);
  }
  facts["properties"] = properties;
  facts["weighted"] = primitive.weighted();
  facts["weight"] = primitive.weight;
  return facts;
}

std::vector<std::string> primitive_names(const Kernel& kernel) {
  std::vector<std::string> names;
  for (const Node& node : kernel.nodes()) {
    if (node.primitive) names.push_back(node.primitive->name);
  }
  return names;
}

// UTF-8 of any Python text; what has none (half a surrogate pair, a file name of odd bytes) stays recognisable.
std::string utf8(const nb::str& text, const char* errors) {
  const auto bytes = nb::cast<nb::bytes>(text.attr("encode")("utf-8", errors));
  return std::string(bytes.c_str(), bytes.size());
}

Kernel parse_text(const nb::str& text, const nb::str& name) {
  return parse(utf8(text, "surrogatepass"), utf8(name, "backslashreplace"));
}

int closing_steps(const Kernel& kernel, int length) {
  if (length < 0 || length > kernel.length())
    throw ArgumentError("a beginning of the kernel has from 0 to " + std::to_string(kernel.length()) +
                        " primitives, got " + std::to_string(length));
  const Builder beginning(kernel, length);
  const std::map<std::string, double> any;
  return Closing(Outline(beginning), any).least();
}

nb::tuple canonical_and_origin(const Kernel& kernel) {
  const Canonical form = canonical(kernel);
  nb::dict names;
  for (size_t i = 0; i < form.origin.size(); ++i) {
    names[form.kernel.nodes()[i].name.c_str()] = kernel.node(form.origin[i]).name;
  }
  return nb::make_tuple(form.kernel, names);
}

}  // namespace

void bind_kernel(nb::module_& module) {
  module.def("parse", &parse_text, "text"_a, "name"_a = "<text>",
             "Reads one kernel from its text.\n\n"
             "Args:\n    text: a kernel in the kernel language (docs/language.md).\n    name: what messages call the "
             "text, usually the file.\n\n"
             "Returns:\n    Kernel: verified, its forced sizes filled in.\n\n"
             "Raises:\n    KernelError: the text is no legal kernel; the message gives place, rule, value found and a "
             "hint.\n\n"
             "Example:\n    >>> parse('kernel pointwise(x[C, H, W]) -> [K, H, W]:\\n  return fc(x, [C] -> "
             "[K])').name\n    'pointwise'\n");
  module.def(
      "primitives",
      [] {
        nb::list all;
        for (const Primitive* primitive : primitives()) all.append(primitive_facts(*primitive));
        return all;
      },
      "What Canvas knows of each primitive: name, summary, formula, usage, example, constraints, modes, properties, "
      "whether it "
      "has a parameter (weighted), and how often the sampler draws it (weight).");
  module.def(
      "lowering_rules",
      [] {
        nb::list all;
        for (const Rule& rule : rules()) {
          nb::dict facts;
          facts["name"] = rule.name;
          facts["before"] = rule.before;
          facts["after"] = rule.after;
          facts["condition"] = rule.condition;
          facts["example"] = rule.example;
          facts["emitter"] = rule.apply == nullptr;
          all.append(facts);
        }
        return all;
      },
      "The table of lowering rules: name, before, after, condition, example (a kernel's body on which it fires when it "
      "alone is applied), whether it is one of the emitters.");
  module.def(
      "safe_definitions",
      [] {
        nb::list all;
        for (const safe::Definition* definition : safe::kAll) {
          nb::dict facts;
          facts["name"] = definition->name;
          facts["formula"] = definition->formula;
          facts["reason"] = definition->reason;
          all.append(facts);
        }
        return all;
      },
      "What functions with a numeric hazard compute: name, formula, reason.");
  nb::class_<Kernel>(
      module, "Kernel", nb::dynamic_attr(),
      "A kernel: an immutable graph of primitives over values with named axes. Made by parse() or sample().")
      .def("__str__", &print)
      .def("__repr__",
           [](const Kernel& kernel) { return "<Kernel " + kernel.name() + " " + hash(kernel).substr(0, 12) + ">"; })
      .def("__len__", &Kernel::length)
      .def("__eq__",
           [](const Kernel& a, nb::object b) {
             return nb::isinstance<Kernel>(b) && hash(a) == hash(nb::cast<const Kernel&>(b));
           })
      .def("__hash__", [](const Kernel& kernel) { return nb::hash(nb::str(hash(kernel).c_str())); })
      .def("__reduce__",
           [](const Kernel& kernel) {
             return nb::make_tuple(nb::module_::import_("canvas._core").attr("parse"), nb::make_tuple(print(kernel)));
           })
      .def_prop_ro("name", &Kernel::name)
      .def_prop_ro("hash", &hash, "The kernel's identity, 32 hex digits: equal exactly when canonical forms are equal.")
      .def_prop_ro("primitives", &primitive_names, "The primitives' names in the order of the text.")
      .def(
          "canonical", [](const Kernel& kernel) { return canonical(kernel).kernel; }, "The kernel in canonical form.")
      .def("canonical_with_names", &canonical_and_origin,
           "The canonical form, and for each of its values' names the name in this kernel.")
      .def(
          "renamed",
          [](const Kernel& kernel, const std::string& name) { return parse(print(kernel.renamed(name)), name); },
          "name"_a, "The same kernel under another name; KernelError when that is no identifier.")
      .def_prop_ro("sizes", &sizes_of,
                   "The kernel's sizes as a system: what is forced, what is free, and what layers must meet.")
      .def("closing_steps", &closing_steps, "length"_a,
           "How few primitives complete the kernel's first `length` ones: exact up to 4, beyond that the way that the "
           "sampler knows.\n\n"
           "Raises:\n    ValueError: the kernel is shorter.\n\n"
           "Example:\n    >>> canvas.zoo()['depthwise_separable'].closing_steps(1)\n    2\n")
      .def("dot", &emit_dot, "The kernel's graph as Graphviz source.")
      .def(
          "bind",
          [](const Kernel& kernel, const std::vector<Layer>& layers, std::optional<Budget> budget,
             const std::string& shared, int64_t multiple_of, const Prices* prices) {
            return bind_or_throw(kernel, layers, budget.value_or(Budget{}), {share(shared), multiple_of}, prices);
          },
          "layers"_a, "budget"_a = nb::none(), nb::kw_only(), "share"_a = "layer", "multiple_of"_a = 1,
          "prices"_a = nb::none(),
          "Chooses the kernel's free sizes for a network.\n\n"
          "Args:\n    layers: the layers that it must serve. One listed with a count is one layer: its copies take the "
          "same "
          "sizes.\n    budget: the limits.\n    share: who takes the same sizes: 'layer' (each entry has its own), "
          "'shape' "
          "(entries of equal channels, extents and\n        stride), 'network' (all).\n    multiple_of: where a free "
          "size "
          "decides how many channels a value has, they come in multiples of this (8 or 16 suit\n        much "
          "hardware).\n    prices: predicted latencies, see `canvas.cost_model.prices`; without them the budget's "
          "limit "
          "on latency is not held\n        here.\n\n"
          "Returns:\n    Binding: the legal sizes that use the budget most (geometric mean of FLOPs and parameter "
          "use).\n\n"
          "Raises:\n    Infeasible: no sizes are legal or none keeps the budget; the message says which, by how much, "
          "on "
          "which layer, and the\n        nearest budget that would do.\n    ValueError: no layers, or an unknown "
          "share.\n\n"
          "Example:\n    >>> bound = canvas.zoo()['low_rank'].bind([Layer(64, 64), Layer(128, 128)], "
          "Budget(flops=0.5))\n"
          "    >>> bound[0].sizes, bound[1].sizes\n    ({'r': 2}, {'r': 2})\n")
      .def(
          "options",
          [](const Kernel& kernel, const Layer& layer, size_t most, int64_t multiple_of) {
            return options_of(kernel, layer, most, {Share::kLayer, multiple_of});
          },
          "layer"_a, "most"_a = 16384, "multiple_of"_a = 1,
          "The legal sizes on one layer.\n\n"
          "Args:\n    layer: the layer.\n    most: where there are more, so many, spread evenly.\n    multiple_of: as "
          "for `bind`.\n\n"
          "Returns:\n    list[BoundLayer]: none where the kernel does not serve the layer.\n\n"
          "Raises:\n    ValueError: multiple_of is out of range.\n\n"
          "Example:\n    >>> [bound.sizes for bound in canvas.zoo()['low_rank'].options(Layer(4, 4))]\n"
          "    [{'r': 1}, {'r': 2}, {'r': 4}]\n")
      .def(
          "serves", [](const Kernel& kernel, const Layer& layer) { return !misfit(kernel.signature(), layer); },
          "layer"_a,
          "Whether the kernel's signature is one for this layer; a linear kernel, (x[C]) -> [K], serves layers with "
          "tokens "
          "too.")
      .def(
          "source",
          [](const Kernel& kernel, const Layer& layer, const std::optional<std::vector<std::string>>& rules) {
            return source(bind_layer_alone(kernel, layer), rules);
          },
          "layer"_a, "rules"_a = nb::none(),
          "Stand-alone PyTorch source for one layer (free sizes as large as they go); needs torch alone. With `rules` "
          "those lowering rules alone are applied, with [] none.")
      .def(
          "parameters",
          [](const Kernel& kernel, const Layer& layer) { return parameters(bind_layer_alone(kernel, layer)); },
          "layer"_a, "[(name, logical shape, shape in the module), ...]; the same elements in the same order.")
      .def(
          "interpret",
          [](const Kernel& kernel, const Layer& layer, const Array& x, const nb::dict& given) {
            return interpret(bind_layer_alone(kernel, layer), x, given);
          },
          "layer"_a, "x"_a, "parameters"_a,
          "The float64 reference.\n\nArgs:\n    layer: gives the sizes.\n    x: [N, c_in, *spatial]; for a token "
          "mixer [N, tokens, c_in], for a linear kernel [..., c_in].\n    parameters: "
          "name -> array of its logical shape.\n\n"
          "Returns:\n    numpy.ndarray: [N, c_out, *ceil(extent / stride)], or x's shape with c_out last.\n\n"
          "Raises:\n    ValueError: a wrong shape or a missing parameter.\n");
}

}  // namespace canvas::python

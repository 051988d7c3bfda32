// Systems of sizes: what level 1 says of them.
#include "sizes.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <variant>

#include "bindings.h"
#include "canvas/base/error.h"
#include "canvas/size/choices.h"
#include "canvas/solve/structural.h"
#include "canvas/text/reader.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace canvas::python {

namespace {

using Place = std::variant<Layer, std::map<std::string, int64_t>>;
using Range = std::pair<int64_t, std::optional<int64_t>>;

constexpr const char* kFile = "<sizes>";

// "C/g", or with `equals` "g*m = K", of which both sides are read.
std::vector<Size> read(const std::string& text, Variables& variables, bool equals) {
  const std::string file = kFile;
  Reader reader(text, file);
  std::vector<Size> sizes = {reader.size(variables).size};
  if (equals) {
    reader.expect("=", "between the two sides of an equation");
    sizes.push_back(reader.size(variables).size);
  }
  if (reader.peek().kind == TokenKind::kNewline) reader.take();
  if (reader.peek().kind != TokenKind::kEnd) reader.unexpected("the end of the size");
  return sizes;
}

Sizes sizes_from(const std::vector<std::string>& equations, const std::vector<std::string>& whole,
                 const std::map<std::string, Range>& bounds) {
  Sizes sizes;
  for (const std::string& text : equations) {
    const std::vector<Size> sides = read(text, sizes.variables, true);
    sizes.system.equations.emplace_back(sides[0], sides[1]);
  }
  for (const std::string& text : whole) sizes.system.whole.push_back(read(text, sizes.variables, false)[0]);
  for (const auto& [text, range] : bounds) {
    const int64_t high = range.second.value_or(0);
    if (range.first < 1 || (range.second && high < range.first))
      throw ArgumentError("bounds of " + text + " must satisfy 1 <= low <= high, got " + std::to_string(range.first) +
                          " and " + std::to_string(high));
    sizes.system.bounds.push_back({read(text, sizes.variables, false)[0], range.first, high});
  }
  return sizes;
}

Values values_of(const Place& place) {
  if (const Layer* layer = std::get_if<Layer>(&place)) return layer->values();
  Values values{};
  for (const auto& [name, value] : std::get<1>(place)) {
    const int variable = Variables{}.find(name);
    if (variable < 0 || value < 1)
      throw ArgumentError("a layer's C, K, D, H, W, T and s are whole numbers from 1, got " + name + " = " +
                          std::to_string(value));
    values[static_cast<size_t>(variable)] = value;
  }
  return values;
}

Verdict decided(const Sizes& sizes) {
  Verdict result = verdict(sizes.system);
  if (result.kind == Verdict::kTooLarge) throw ArgumentError("sizes: the numbers are too large for exact arithmetic");
  return result;
}

std::map<std::string, std::string> forced(const Sizes& sizes) {
  std::map<std::string, std::string> found(sizes.settled.begin(), sizes.settled.end());
  for (const auto& [variable, value] : decided(sizes).forced) {
    std::string text = to_string(value.times(value, value.root() - 1).size(), sizes.variables);
    if (value.root() != 1) text = "(" + text + ")^(1/" + std::to_string(value.root()) + ")";
    found[sizes.variables.name(variable)] = text;
  }
  return found;
}

std::vector<std::string> names(const Sizes& sizes, const std::vector<int>& variables) {
  std::vector<std::string> found;
  for (int v : variables) found.push_back(sizes.variables.name(v));
  return found;
}

nb::object on(const Sizes& sizes, const Place& place, int64_t largest) {
  const Answer answer = solve(sizes.system, values_of(place), largest);
  if (answer.too_large) throw ArgumentError("sizes: the numbers are too large for exact arithmetic");
  if (!answer.found) return nb::none();
  nb::dict result, forced, example;
  for (const auto& [variable, value] : answer.forced) forced[sizes.variables.name(variable).c_str()] = value;
  for (int v = kFirstDynamic; v < sizes.variables.count(); ++v)
    example[sizes.variables.name(v).c_str()] = answer.first[static_cast<size_t>(v)];
  result["forced"] = forced;
  result["free"] = names(sizes, answer.free);
  result["example"] = example;
  return result;
}

nb::list choices(const Sizes& sizes, const Place& place, int64_t largest, size_t most) {
  const Choices all(sizes.system, sizes.variables.names.size());
  Choices::Ground ground;
  nb::list found;
  const bool possible = all.prepare(values_of(place), ground);
  if (possible && most > 0) {
    all.each(ground, {largest}, [&](const int64_t* option) {
      nb::dict values;
      for (size_t i = 0; i < all.variables(); ++i) values[sizes.variables.names[i].str().c_str()] = option[i];
      found.append(values);
      return found.size() < most;
    });
  }
  if (ground.too_large) throw ArgumentError("sizes: the numbers are too large for exact arithmetic");
  return found;
}

}  // namespace

Sizes sizes_of(const Kernel& kernel) { return {system_of(kernel), kernel.variables(), kernel.forced()}; }

void bind_sizes(nb::module_& module) {
  nb::class_<Sizes>(
      module, "Sizes",
      "A system of sizes: equations, sizes that must be whole, and bounds. Static variables (C, K, D, H, W, T, s) are "
      "set by a layer,\nall others are free; all are whole numbers from 1. ``Kernel.sizes`` is a kernel's own.\n\n"
      "Args:\n    equations: such as 'g*m = K'.\n    whole: sizes that must be whole numbers, such as 'C/g'.\n"
      "    bounds: a size and from where to where it may be; None is no limit.\n\n"
      "Raises:\n    KernelError: a text is no size.\n    ValueError: bounds that cross.\n\n"
      "Example:\n    >>> sizes = Sizes(['r*r = C', 'g*m = K'], whole=['C/g'])\n"
      "    >>> sizes.verdict, sizes.conditions, sizes.forced, sizes.free\n"
      "    ('where', ['C is a square'], {'r': '(C)^(1/2)'}, ['g', 'm'])\n"
      "    >>> sizes.on({'C': 9, 'K': 7})\n"
      "    {'forced': {'r': 3, 'g': 1, 'm': 7}, 'free': [], 'example': {'r': 3, 'g': 1, 'm': 7}}\n")
      .def(
          "__init__",
          [](Sizes* self, const std::vector<std::string>& equations, const std::vector<std::string>& whole,
             const std::map<std::string, Range>& bounds) { new (self) Sizes(sizes_from(equations, whole, bounds)); },
          "equations"_a = nb::list(), "whole"_a = nb::list(), "bounds"_a = nb::dict())
      .def_prop_ro(
          "verdict",
          [](const Sizes& sizes) {
            const Verdict::Kind kind = decided(sizes).kind;
            return kind == Verdict::kNever ? "never" : kind == Verdict::kAlways ? "always" : "where";
          },
          "'always': some sizes suit every layer; 'never': none suit any; 'where': there are some exactly where the "
          "conditions hold.")
      .def_prop_ro(
          "conditions",
          [](const Sizes& sizes) {
            std::vector<std::string> texts;
            for (const Condition& condition : decided(sizes).conditions)
              texts.push_back(condition.str(sizes.variables));
            return texts;
          },
          "What the layers must meet: 'C = K', 'C is a square', 'C/4 is whole'. One that names a free size asks for "
          "some value of it.")
      .def_prop_ro("forced", &forced, "The free variables that the equations decide, and what they are.")
      .def_prop_ro(
          "free", [](const Sizes& sizes) { return names(sizes, decided(sizes).free); },
          "The variables that the equations leave free.")
      .def("on", &on, "layer"_a, "largest"_a = 1024,
           "The system on one layer: which variables have one value alone, which several.\n\n"
           "Args:\n    layer: a Layer, or its sizes by name, such as {'C': 64, 'K': 128}.\n    largest: how far "
           "variables go that nothing else limits.\n\n"
           "Returns:\n    dict: forced, free, and example, one solution; None where there is none.\n")
      .def("choices", &choices, "layer"_a, "largest"_a = 1024, "most"_a = 1000,
           "The first `most` solutions on one layer, each a dict.");
}

}  // namespace canvas::python

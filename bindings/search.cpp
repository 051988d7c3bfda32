// Sampling and search.
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/set.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings.h"
#include "bound.h"
#include "canvas/base/error.h"
#include "canvas/sample/enumerate.h"
#include "canvas/sample/offspring.h"
#include "canvas/sample/plausible.h"
#include "canvas/sample/superfluous.h"
#include "canvas/search/search.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace canvas::python {

namespace {

// The value of one limit; `kind` says what it must be.
template <class T>
T limit(const std::string& name, nb::handle value, const char* kind) {
  T result;
  if (nb::try_cast<T>(value, result)) return result;
  throw ArgumentError("limit " + name + " must be " + kind + ", got " + nb::cast<std::string>(nb::repr(value)));
}

// Limits from keyword arguments; an unknown one is an error that lists them all.
Limits limits(const nb::kwargs& given) {
  Limits limits;
  const std::map<std::string, int*> counts = {
      {"min_primitives", &limits.min_primitives}, {"max_primitives", &limits.max_primitives},
      {"max_weighted", &limits.max_weighted},     {"max_width", &limits.max_width},
      {"max_variables", &limits.max_variables},   {"min_reach", &limits.min_reach},
      {"min_weighted", &limits.min_weighted},     {"max_reach", &limits.max_reach},
  };
  const std::map<std::string, bool*> switches = {
      {"full_flow", &limits.full_flow}, {"trainable", &limits.trainable}, {"mix_tokens", &limits.mix_tokens},
      {"concise", &limits.concise},     {"live", &limits.live},           {"numeric", &limits.numeric}};
  double temperature = 1;
  for (auto [key, value] : given) {
    const auto name = nb::cast<std::string>(key);
    if (const auto count = counts.find(name); count != counts.end()) {
      *count->second = limit<int>(name, value, "a whole number");
    } else if (const auto flag = switches.find(name); flag != switches.end()) {
      *flag->second = limit<bool>(name, value, "True or False");
    } else if (name == "share") {
      limits.rules.share = share(limit<std::string>(name, value, "'layer', 'shape' or 'network'"));
    } else if (name == "multiple_of") {
      limits.rules.multiple_of = limit<int64_t>(name, value, "a whole number");
    } else if (name == "weights") {
      limits.weights = limit<std::map<std::string, double>>(name, value, "a dict from primitives to numbers");
    } else if (name == "idioms") {
      limits.idioms = limit<double>(name, value, "a number");
    } else if (name == "temperature") {
      temperature = limit<double>(name, value, "a number");
    } else {
      std::string known = "weights, temperature, idioms, share, multiple_of";
      for (const auto& [other, unused] : counts) known += ", " + other;
      for (const auto& [other, unused] : switches) known += ", " + other;
      throw ArgumentError("no limit is called '" + name + "'; there are " + known);
    }
  }
  if (temperature != 1) limits.heat(temperature);
  return limits;
}

std::vector<Kernel> kernels_of(std::vector<Sample> samples) {
  std::vector<Kernel> kernels;
  for (Sample& found : samples) kernels.push_back(std::move(found.kernel));
  return kernels;
}

Request order(const std::vector<Layer>& layers, int64_t count, uint64_t seed, const std::optional<Budget>& budget,
              const nb::kwargs& given) {
  return {layers, count, seed, budget.value_or(Budget{}), limits(given)};
}

constexpr const char* kOffspring =
    "\n    layers, count, seed, budget, limits: as for sample().\n\n"
    "Returns:\n    list[Kernel]: in canonical form, distinct by hash, and with all that sample() promises. Fewer than "
    "`count`\n        where 2000 tries in a row give nothing new.\n\n"
    "Raises:\n    Infeasible: there is none.\n    ValueError: a limit is unknown or out of range, or a kernel does not "
    "serve the layers.\n\n";

// A candidate and where it comes from, which finds its binding.
struct Asked {
  Candidate candidate;
  const Search* search;
  std::optional<Binding> binding = {};
};

std::optional<Asked> ask(Search& search) {
  auto candidate = search.ask();
  if (!candidate) return std::nullopt;
  return Asked{std::move(*candidate), &search};
}

Binding bound(Asked& asked) {
  if (!asked.binding) asked.binding = asked.search->bound(asked.candidate);
  return *asked.binding;
}

std::vector<Kernel> taken(Samples& samples, int64_t count) {
  const nb::gil_scoped_release free;
  std::vector<Kernel> kernels;
  for (Sample& found : samples.take(count)) kernels.push_back(std::move(found.kernel));
  return kernels;
}

Strategy strategy(const std::string& name) {
  if (name == "random") return Strategy::kRandom;
  if (name == "evolution") return Strategy::kEvolution;
  if (name == "guided") return Strategy::kGuided;
  throw ArgumentError("the strategy must be 'guided', 'evolution' or 'random', got '" + name + "'");
}

Distinct distinct(const std::string& name) {
  if (name == "form") return Distinct::kByForm;
  if (name == "result") return Distinct::kByResult;
  if (name == "nonnegative") return Distinct::kByResultOfNonnegative;
  throw ArgumentError("distinct must be 'form', 'result' or 'nonnegative', got '" + name + "'");
}

}  // namespace

void bind_search(nb::module_& module) {
  module.def(
      "sample",
      [](const std::vector<Layer>& layers, int64_t count, uint64_t seed, std::optional<Budget> budget, int threads,
         const nb::kwargs& given) {
        Samples samples(layers, budget.value_or(Budget{}), limits(given), seed, threads);
        return taken(samples, count);
      },
      "layers"_a, "count"_a, "seed"_a = 0, "budget"_a = nb::none(), nb::kw_only(), "threads"_a = 1, "limits"_a,
      "Samples distinct kernels that are legal on the layers, within the budget, and plausible.\n\n"
      "Args:\n    layers: the layers that each kernel must serve, all convolutions of as many dimensions or all "
      "linear;\n        where all have tokens, kernels may mix these.\n    count: how many.\n    seed: the same seed "
      "gives the same list.\n"
      "    budget: limits for all layers together.\n    threads: how many work on it; the list is the same for any "
      "number.\n    limits: min_primitives, max_primitives, max_weighted, "
      "max_width, max_variables,\n"
      "        min_weighted, min_reach (positions that one output sees: 3, or 1 for linear layers), max_reach, "
      "concise,\n"
      "        full_flow, live, trainable, numeric (docs/sampling.md explains each),\n"
      "        mix_tokens (False: kernels that take every token by itself, as causal models need),\n"
      "        weights (a number per primitive; 0 forbids it), temperature (above 1: weights nearer to each other),\n"
      "        idioms (the share of draws that take several steps together),\n"
      "        share and multiple_of (how free sizes are chosen) as for Kernel.bind.\n\n"
      "Returns:\n    list[Kernel]: in canonical form, distinct by hash.\n\n"
      "Raises:\n    Infeasible: nothing fits the budget.\n    ValueError: a limit is unknown or out of range.\n");
  nb::class_<Samples>(
      module, "Samples",
      "The list that sample() gives the beginning of, endless, in parts: of the kernels that were taken "
      "only hashes are kept,\n"
      "so millions fit memory.\n\n"
      "Args:\n    layers, seed, budget, threads, limits: as for sample().\n\n"
      "Raises:\n    ValueError: a limit is unknown or out of range.\n\n"
      "Example:\n    >>> samples = canvas.Samples([canvas.Layer(64, 64)], seed=1)\n"
      "    >>> [len(samples.take(count)) for count in (3, 5)]\n    [3, 5]\n")
      .def(
          "__init__",
          [](Samples* self, const std::vector<Layer>& layers, uint64_t seed, std::optional<Budget> budget, int threads,
             const nb::kwargs& given) {
            new (self) Samples(layers, budget.value_or(Budget{}), limits(given), seed, threads);
          },
          "layers"_a, "seed"_a = 0, "budget"_a = nb::none(), nb::kw_only(), "threads"_a = 1, "limits"_a)
      .def("take", &taken, "count"_a,
           "The next kernels.\n\nArgs:\n    count: how many.\n\nReturns:\n    list[Kernel]: in canonical form, "
           "distinct by hash from each other and from all before.\n\nRaises:\n    Infeasible: 2000 tries in a row gave "
           "no new one; those that came before are there for a smaller count.\n")
      .def_prop_ro(
          "counts", [](const Samples& samples) { return samples.sampler().counts(); },
          "How many tries ended how, as Search.counts.")
      .def_prop_ro(
          "reasons", [](const Samples& samples) { return samples.sampler().reasons(); },
          "How many tries were implausible for which reason.")
      .def_prop_ro(
          "taken_back", [](const Samples& samples) { return samples.sampler().taken_back(); },
          "How often the end of a try was taken back for another one, by the reason or fate that it had.");
  module.def(
      "enumerate_kernels",
      [](const std::vector<Layer>& layers, std::optional<Budget> budget, const nb::kwargs& given) {
        return kernels_of(enumerate(layers, budget.value_or(Budget{}), limits(given)));
      },
      "layers"_a, "budget"_a = nb::none(), "limits"_a,
      "All kernels that sample() can give under the limits, up to a few primitives.\n\n"
      "Args:\n    layers, budget: as for sample().\n    limits: those of sample(). max_primitives must be given, from "
      "3 to 6; "
      "each primitive more takes about a\n        hundred times as long, and weights of 0, which leave primitives out, "
      "make "
      "it bearable.\n\n"
      "Returns:\n    list[Kernel]: in canonical form, distinct by hash; shorter ones first, then by hash.\n\n"
      "Raises:\n    ValueError: a limit is unknown or out of range.\n\n"
      "Example:\n    >>> few = {p['name']: 0.0 for p in canvas.primitives() if p['name'] not in ('fc', 'subsample', "
      "'shift')}\n"
      "    >>> len(canvas.enumerate_kernels([canvas.Layer(8, 16)], max_primitives=3, weights=few, min_reach=1))\n"
      "    0\n");
  static const std::string complete_text =
      std::string(
          "Kernels that begin as this one does.\n\nArgs:\n    kernel: whose first primitives are kept; its "
          "canonical form is not asked for.\n    length: how many of them.") +
      kOffspring +
      "Example:\n    >>> kernel = canvas.zoo()['depthwise_separable']\n"
      "    >>> len(canvas.complete(kernel, 2, [canvas.Layer(16, 32)], 5))\n    5\n";
  module.def(
      "complete",
      [](const Kernel& kernel, int length, const std::vector<Layer>& layers, int64_t count, uint64_t seed,
         std::optional<Budget> budget, const nb::kwargs& given) {
        return kernels_of(complete(kernel, length, order(layers, count, seed, budget, given)));
      },
      "kernel"_a, "length"_a, "layers"_a, "count"_a, "seed"_a = 0, "budget"_a = nb::none(), "limits"_a,
      complete_text.c_str());
  static const std::string mutate_text =
      std::string(
          "Kernels that differ little from this one: a part cut out and completed again, or a primitive added, "
          "removed or changed.\n\nArgs:\n    kernel: the parent.") +
      kOffspring + "Example:\n    >>> len(canvas.mutate(canvas.zoo()['low_rank'], [canvas.Layer(16, 32)], 5))\n    5\n";
  module.def(
      "mutate",
      [](const Kernel& kernel, const std::vector<Layer>& layers, int64_t count, uint64_t seed,
         std::optional<Budget> budget,
         const nb::kwargs& given) { return kernels_of(mutate(kernel, order(layers, count, seed, budget, given))); },
      "kernel"_a, "layers"_a, "count"_a, "seed"_a = 0, "budget"_a = nb::none(), "limits"_a, mutate_text.c_str());
  static const std::string crossover_text =
      std::string(
          "Kernels that begin as one parent does and end as the other: a value of the one takes the place of a "
          "value of the same\nsizes in the other.\n\nArgs:\n    one, other: the parents.") +
      kOffspring +
      "Example:\n    >>> zoo = canvas.zoo()\n"
      "    >>> bool(canvas.crossover(zoo['low_rank'], zoo['mobilenet'], [canvas.Layer(16, 32)], 3))\n    True\n";
  module.def(
      "crossover",
      [](const Kernel& one, const Kernel& other, const std::vector<Layer>& layers, int64_t count, uint64_t seed,
         std::optional<Budget> budget, const nb::kwargs& given) {
        return kernels_of(crossover(one, other, order(layers, count, seed, budget, given)));
      },
      "one"_a, "other"_a, "layers"_a, "count"_a, "seed"_a = 0, "budget"_a = nb::none(), "limits"_a,
      crossover_text.c_str());
  module.def(
      "implausible",
      [](const Kernel& kernel, const nb::kwargs& given) {
        const Limits asked = limits(given);
        asked.check_plausibility();
        std::optional<std::string> reason;
        if (asked.concise) reason = superfluous(kernel);
        return reason ? reason : implausible(kernel, asked);
      },
      "kernel"_a, "limits"_a,
      "Why the sampler would pass a kernel over that it grew.\n\n"
      "Args:\n    kernel: any kernel.\n    limits: those of sample() that are about plausibility "
      "(docs/sampling.md).\n\n"
      "Returns:\n    str | None: the first reason found, or None for a plausible kernel.\n\n"
      "Raises:\n    ValueError: a limit is unknown or out of range.\n\n"
      "Example:\n    >>> implausible(canvas.parse('kernel k(x[C, W]) -> [K, W]:\\n  return fc(x, [C] -> [K])'))\n"
      "    'it sees too little of its surroundings'\n    >>> implausible(canvas.zoo()['low_rank'])\n");
  module.def(
      "features",
      [](const Kernel& kernel, const std::vector<Layer>& layers, std::optional<Budget> budget, const std::string& by,
         int64_t multiple_of) {
        const Kernel form = canonical(kernel).kernel;
        const Rules rules = {share(by), multiple_of};
        return features(form, bind_or_throw(form, layers, budget.value_or(Budget{}), rules).cost, total_cost(layers));
      },
      "kernel"_a, "layers"_a, "budget"_a = nb::none(), nb::kw_only(), "share"_a = "layer", "multiple_of"_a = 1,
      "A kernel as the numbers that a guided search learns from (src/canvas/search/features.h).\n\n"
      "Args:\n    kernel, layers, budget, share, multiple_of: as for Kernel.bind.\n\n"
      "Returns:\n    list[float]: the same for kernels of the same canonical form.\n\n"
      "Raises:\n    Infeasible: the kernel does not serve the layers within the budget.\n");
  module.def(
      "taught", &taught, "features"_a, "outputs"_a, "expected"_a = Features(),
      "The coefficients with which a guided search would predict an objective after these examples.\n\n"
      "Args:\n    features: of each example, as features() gives them.\n    outputs: their results; lower is better.\n"
      "    expected: coefficients that were known before.\n\n"
      "Returns:\n    list[float]: for `expected`, or for the prior of a Search.\n\n"
      "Raises:\n    ValueError: numbers are missing or not finite.\n");
  module.def(
      "behaviour",
      [](const Kernel& kernel, const std::vector<Layer>& layers, bool nonnegative) {
        if (layers.empty()) throw ArgumentError("at least one layer is needed");
        return Behaviours(layers, nonnegative).of(canonical(kernel).kernel);
      },
      "kernel"_a, "layers"_a, "nonnegative"_a = false,
      "What a kernel does, as a number by which a search tells kernels apart (src/canvas/sample/behaviour.h).\n\n"
      "Args:\n    kernel: any kernel that serves the layers.\n    layers: of the network.\n"
      "    nonnegative: no layer has negative inputs.\n\n"
      "Returns:\n    int | None: the same for kernels that give the same up to a factor; None where that cannot be "
      "told.\n");
  nb::class_<Asked>(module, "Candidate", "What Search.ask() gives: a kernel that the network has sizes for.")
      .def_prop_ro("index", [](const Asked& asked) { return asked.candidate.index; })
      .def_prop_ro("hash", [](const Asked& asked) { return asked.candidate.hash; })
      .def_prop_ro("kernel", [](const Asked& asked) { return asked.candidate.kernel; })
      .def_prop_ro("binding", &bound, "The kernel bound to the network's layers; found when first asked for.")
      .def_prop_ro("origin", [](const Asked& asked) { return asked.candidate.origin; })
      .def_prop_ro("parent", [](const Asked& asked) { return asked.candidate.parent; });
  nb::class_<Search>(module, "Search",
                     "Ask/tell search: ``ask()`` gives candidates, ``tell()`` takes results. Candidate i depends only "
                     "on the seed and on the\n"
                     "results of candidates 0 .. i - lookahead, so any number of workers gives the same ones. "
                     "``distinct``: candidates differ in their canonical\n"
                     "\"form\", or in their \"result\": none is longer than, and a multiple of, one before, on inputs "
                     "of either sign or (\"nonnegative\")\nof none.")
      .def(
          "__init__",
          [](Search* self, const std::vector<Layer>& layers, std::optional<Budget> budget, uint64_t seed,
             const std::string& name, int64_t lookahead, const std::vector<Kernel>& first, std::set<std::string> only,
             std::vector<Features> prior, const std::string& apart, const nb::kwargs& given) {
            new (self) Search(layers, budget.value_or(Budget{}), limits(given), seed, strategy(name), lookahead, first,
                              std::move(only), std::move(prior), distinct(apart));
          },
          "layers"_a, "budget"_a = nb::none(), "seed"_a = 0, "strategy"_a = "guided", "lookahead"_a = 8,
          "first"_a = std::vector<Kernel>(), "only"_a = std::set<std::string>(), "prior"_a = std::vector<Features>(),
          "distinct"_a = "form", "limits"_a)
      .def("ask", &ask, nb::keep_alive<0, 1>(),
           "The next Candidate, or None while results of earlier ones must be told first.")
      .def("repeat", &Search::repeat, "kernel"_a,
           "Instead of ask(): the next candidate as a search with the same arguments and results gave it. Takes less "
           "time; of\ncounts it adds to tried and kept alone.")
      .def("tell", &Search::tell, "index"_a, "objectives"_a.none(), "known"_a = Point(),
           "The result of a candidate: numbers of which lower is better, or None when it failed. Then `known` may hold "
           "what is known\nof them all the same, nan for the others; a model learns from it.")
      .def("front", &Search::front, "Indices of the told candidates that no other dominates.")
      .def_prop_ro(
          "counts", &Search::counts,
          "How many tries ended how: tried, illegal, implausible, over_budget, duplicate, outranked (the model "
          "expects more of another), unlisted, kept.");
}

}  // namespace canvas::python

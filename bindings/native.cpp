// Native code: a kernel with sizes fixed as C++ source. What compiles and runs it is python/canvas/native.py.
#include "canvas/native/native.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings.h"
#include "canvas/base/error.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace canvas::python {

namespace {

nb::tuple native_source(const Kernel& kernel, const std::map<std::string, int64_t>& sizes, int width, int registers,
                        bool scale, bool addend, bool relu) {
  Values values{};
  for (const auto& [name, size] : sizes) {
    const int variable = kernel.variables().find(name);
    if (variable < 0) throw ArgumentError(kernel.name() + " has no size '" + name + "'");
    values[static_cast<size_t>(variable)] = size;
  }
  if (width < 1 || width > 64 || (width & (width - 1)) != 0)
    throw ArgumentError("a vector holds 1, 2, 4, 8, … floats, not " + std::to_string(width));
  const NativeKernel made = emit_native(kernel, values, {width, registers}, {scale, addend, relu});
  return nb::make_tuple(made.source.text, made.parameters, made.source.constants, made.source.scratch);
}

}  // namespace

void bind_native(nb::module_& module) {
  module.def(
      "native_source", &native_source, "kernel"_a, "sizes"_a, "width"_a, "registers"_a, nb::kw_only(),
      "scale"_a = false, "addend"_a = false, "relu"_a = false,
      "A kernel as C++ source for a compiler with GCC's vector extensions.\n\n"
      "Args:\n    sizes: all variables by name, static ones (C, K, H, W, s, …) included.\n    width: floats in a "
      "vector of the processor.\n    registers: how many vectors it holds.\n    scale, addend, relu: what "
      "follows it and is computed with it: relu(y * scale + shift + addend).\n\n"
      "Returns:\n    (source, names of the parameters that `prepare` takes, elements of constants, elements of "
      "scratch for each thread).\n\n"
      "Raises:\n    ValueError: a size is missing or unknown.\n");
}

}  // namespace canvas::python

// Native code: a kernel with sizes fixed, or a whole network, as C++ source. What compiles and runs it is python/canvas/native.py.
#include "canvas/native/native.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <tuple>

#include "bindings.h"
#include "canvas/base/error.h"
#include "canvas/native/network.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace canvas::python {

namespace {

using Sizes = std::map<std::string, int64_t>;
using NamedAxes = std::vector<std::tuple<std::string, int64_t, std::string>>;  // name, extent, role
using Window = std::tuple<std::string, std::string, int64_t, int64_t, int64_t, int, int>;

Axes axes_of(const NamedAxes& named) {
  Axes axes;
  for (const auto& [name, extent, role] : named) {
    const bool spatial = role == "spatial", window = role == "window";
    if (!spatial && !window && role != "channel") throw ArgumentError("an axis has no role '" + role + "'");
    axes.push_back({name, Size::constant(extent), spatial ? Role::kSpatial : window ? Role::kWindow : Role::kChannel});
  }
  return axes;
}

Values values_of(const Kernel& kernel, const Sizes& sizes) {
  Values values{};
  for (const auto& [name, size] : sizes) {
    const int variable = kernel.variables().find(name);
    if (variable < 0) throw ArgumentError(kernel.name() + " has no size '" + name + "'");
    values[static_cast<size_t>(variable)] = size;
  }
  return values;
}

native::Target target_of(int width, int registers, const native::Choices& choices, bool bf16, int images = 1,
                         int threads = 2) {
  if (width < 1 || width > 64 || (width & (width - 1)) != 0)
    throw ArgumentError("a vector holds 1, 2, 4, 8, … floats, not " + std::to_string(width));
  if (threads < 2 || threads > 1024)
    throw ArgumentError("two to 1024 threads share an image, not " + std::to_string(threads));
  if (images < 1) throw ArgumentError("at least one image is computed, not " + std::to_string(images));
  for (const auto& [name, value] : choices) {
    const auto& known = native::kChoices;
    if (std::find(known.begin(), known.end(), name.substr(0, name.find(' '))) == known.end())
      throw ArgumentError("native code has no choice '" + name + "'");
    if (value < (name == "together" ? 1 : 0))
      throw ArgumentError("native code cannot choose " + std::to_string(value) + " for '" + name + "'");
  }
  return {width, registers, images, choices, threads, bf16};
}

nb::tuple as_tuple(const NativeKernel& made) {
  return nb::make_tuple(made.source.text, made.parameters, made.source.constants, made.source.scratch,
                        std::pair{made.source.cycles, made.source.cold});
}

nb::tuple native_source(const Kernel& kernel, const Sizes& sizes, int width, int registers, bool scale, bool addend,
                        bool relu, const native::Choices& choices, bool bf16) {
  const Values values = values_of(kernel, sizes);
  return as_tuple(emit_native(kernel, values, target_of(width, registers, choices, bf16), {scale, addend, relu}));
}

// Addresses as numbers: what Python holds are tensors and a library of its own.
void run_native(uintptr_t function, uintptr_t x, uintptr_t addend, uintptr_t y, uintptr_t constants, uintptr_t scratch,
                long images, int threads) {
  using Run = void (*)(uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, long, int);
  const nb::gil_scoped_release released;
  reinterpret_cast<Run>(function)(x, addend, y, constants, scratch, images, threads);
}

void bind_whole_network(nb::module_& module) {
  nb::class_<Network>(module, "NativeNetwork",
                      "A whole network as C++ source, put together layer by layer from core forms and kernels.\n\n"
                      "Values are numbers, the input is 0. An axis is (name, extent, role), its role \"channel\", "
                      "\"spatial\" or\n\"window\"; the images of a batch are none. Operands of other axes than a layer "
                      "takes raise ValueError.\n")
      .def(
          "__init__", [](Network* self, const NamedAxes& axes) { new (self) Network(axes_of(axes)); }, "axes"_a,
          "Args:\n    axes: of the input, as it lies in memory, the last the fastest.\n")
      .def(
          "parameter",
          [](Network& self, const std::string& name, const NamedAxes& axes) {
            return self.parameter(name, axes_of(axes));
          },
          "name"_a, "axes"_a, "A trained tensor.\n")
      .def("map", &Network::map, "function"_a, "operands"_a,
           "A function of elements, a primitive's name; operands are broadcast by the names of axes.\n")
      .def("contract", &Network::contract, "operands"_a, "kept"_a,
           "The product of the operands, summed over all axes that are not kept.\n")
      .def("reduce", &Network::reduce, "function"_a, "operand"_a, "over"_a, "sum, mean or max over axes.\n")
      .def("softmax", &Network::softmax, "operand"_a, "over"_a, "Softmax over one axis.\n")
      .def(
          "windows",
          [](Network& self, int operand, const std::vector<Window>& items, bool lowest) {
            std::vector<Network::Window> list;
            for (const auto& [axis, made, window, stride, extent, dilation, offset] : items)
              list.push_back({axis, made, window, stride, extent, dilation, offset});
            return self.windows(operand, list, lowest);
          },
          "operand"_a, "items"_a, "lowest"_a = false,
          "Elements stride * i + dilation * w + offset along axes.\n\n"
          "Args:\n    items: (axis, axis made of the window or \"\", window, stride, extent, dilation, offset).\n    "
          "lowest: outside is the lowest number, not zero.\n")
      .def("pick", &Network::pick, "operand"_a, "axis"_a, "position"_a,
           "The element at a position of an axis, which goes.\n")
      .def(
          "view",
          [](Network& self, int operand, const std::vector<std::string>& from, const NamedAxes& to) {
            return self.view(operand, from, axes_of(to));
          },
          "operand"_a, "from_axes"_a, "to"_a, "One axis becomes several, or several one; the last is the fastest.\n")
      .def(
          "stack",
          [](Network& self, const std::vector<int>& operands, const NamedAxes& along) {
            return self.stack(operands, axes_of(along).at(0));
          },
          "operands"_a, "along"_a, "Values of the same axes side by side along a new one.\n")
      .def(
          "kernel",
          [](Network& self, const Kernel& kernel, const Sizes& sizes, int operand, const std::vector<std::string>& from,
             const std::vector<std::string>& to, const std::string& prefix) {
            return self.kernel(kernel, values_of(kernel, sizes), operand, from, to, prefix);
          },
          "kernel"_a, "sizes"_a, "operand"_a, "from_axes"_a, "to_axes"_a, "prefix"_a,
          "A kernel.\n\nArgs:\n    sizes: all variables by name.\n    from_axes, to_axes: names for the axes of its "
          "signature; other axes of the operand are kept.\n    prefix: of the names of its parameters.\n")
      .def(
          "source",
          [](const Network& self, int result, const std::vector<std::string>& order, int width, int registers,
             int images, int threads, const native::Choices& choices, bool bf16) {
            return as_tuple(self.emit(result, order, target_of(width, registers, choices, bf16, images, threads)));
          },
          "result"_a, "order"_a, "width"_a, "registers"_a, "images"_a = 1, "threads"_a = 2,
          "choices"_a = native::Choices{}, "bf16"_a = false,
          "The source that computes a value.\n\nArgs:\n    order: its axes as they lie in memory.\n    images: that a "
          "thread is likely to be given.\n    choices: of a tuner, see src/canvas/native/target.h.\n"
          "    bf16: see there too.\n\n"
          "Returns:\n    As native_source.\n");
}

}  // namespace

void bind_native(nb::module_& module) {
  bind_whole_network(module);
  module.def(
      "native_source", &native_source, "kernel"_a, "sizes"_a, "width"_a, "registers"_a, nb::kw_only(),
      "scale"_a = false, "addend"_a = false, "relu"_a = false, "choices"_a = native::Choices{}, "bf16"_a = false,
      "A kernel as C++ source for a compiler with GCC's vector extensions.\n\n"
      "Args:\n    sizes: all variables by name, static ones (C, K, H, W, s, …) included.\n    width: floats in a "
      "vector of the processor.\n    registers: how many vectors it holds.\n    scale, addend, relu: what "
      "follows it and is computed with it: relu(y * scale + shift + addend).\n    choices: of a tuner, see "
      "src/canvas/native/target.h.\n    bf16: see there too.\n\n"
      "Returns:\n    (source, names of the parameters that `prepare` takes, elements of constants, elements of "
      "scratch for each thread, about how many cycles (an image takes, a "
      "run takes besides)).\n\n"
      "Raises:\n    ValueError: a size is missing or unknown.\n");
  module.def("run_native", &run_native, "function"_a, "x"_a, "addend"_a, "y"_a, "constants"_a, "scratch"_a, "images"_a,
             "threads"_a,
             "Calls `run` of compiled native code. All but the last two are addresses; 0 stands for no addend.\n");
}

}  // namespace canvas::python

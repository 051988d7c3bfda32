#include "bound.h"

#include <nanobind/stl/string.h>

#include <cstring>
#include <map>

#include "canvas/emit/python.h"
#include "canvas/emit/torch.h"
#include "canvas/eval/interpreter.h"

namespace nb = nanobind;

namespace canvas::python {

namespace {

nb::tuple tuple(const std::vector<int64_t>& values) {
  nb::list list;
  for (int64_t value : values) list.append(value);
  return nb::tuple(list);
}

Tensor tensor(const Array& array, size_t skip = 0, size_t index = 0) {
  std::vector<int64_t> shape;
  for (size_t i = skip; i < array.ndim(); ++i) shape.push_back(static_cast<int64_t>(array.shape(i)));
  Tensor result(shape);
  if (!result.data.empty())
    std::memcpy(result.data.data(), array.data() + index * result.data.size(), result.data.size() * sizeof(double));
  return result;
}

}  // namespace

Binding bind_or_throw(const Kernel& kernel, const std::vector<Layer>& layers, const Budget& budget,
                      const Rules& rules) {
  auto binding = bind(kernel, layers, budget, rules);
  if (!binding) throw Infeasible("kernel '" + kernel.name() + "': " + binding.fault().str());
  return std::move(*binding);
}

Share share(const std::string& name) {
  if (name == "layer") return Share::kLayer;
  if (name == "shape") return Share::kShape;
  if (name == "network") return Share::kNetwork;
  throw ArgumentError("share must be 'layer', 'shape' or 'network', got '" + name + "'");
}

BoundLayer bind_layer_alone(const Kernel& kernel, const Layer& layer) {
  return bind_or_throw(kernel, {layer}, {}, {}).layers[0];
}

std::string source(const BoundLayer& bound) { return emit_torch(*bound.kernel, bound.values).text; }

nb::list parameters(const BoundLayer& bound) {
  nb::list list;
  for (const ParameterShape& shape : emit_torch(*bound.kernel, bound.values).parameters) {
    list.append(nb::make_tuple(shape.name, tuple(shape.logical), tuple(shape.stored)));
  }
  return list;
}

nb::object interpret(const BoundLayer& bound, const Array& x, const nb::dict& given) {
  if (x.ndim() < 2) throw ArgumentError("the input must have the shape [N, c_in, *spatial]");
  std::map<std::string, std::string>
      kernel_names;  // a module's parameter may be named a little differently: half_ for half
  for (const auto& entry : parameter_shapes(*bound.kernel, bound.values))
    kernel_names[python_name(entry.first)] = entry.first;
  Parameters parameters;
  for (auto [key, array] : given) {
    const auto name = nb::cast<std::string>(key);
    const auto found = kernel_names.find(name);
    parameters[found == kernel_names.end() ? name : found->second] = tensor(nb::cast<Array>(array));
  }
  std::vector<size_t> shape = {x.shape(0)};
  auto* data = new std::vector<double>();
  nb::capsule owner(data, [](void* pointer) noexcept { delete static_cast<std::vector<double>*>(pointer); });
  for (size_t image = 0; image < x.shape(0); ++image) {
    const Interpretation run = canvas::interpret(*bound.kernel, bound.values, tensor(x, 1, image), parameters);
    data->insert(data->end(), run.result.data.begin(), run.result.data.end());
    if (image == 0) shape.insert(shape.end(), run.result.shape.begin(), run.result.shape.end());
  }
  if (x.shape(0) == 0) throw ArgumentError("the batch is empty");
  return nb::cast(nb::ndarray<nb::numpy, double>(data->data(), shape.size(), shape.data(), owner));
}

int64_t counted_flops(const BoundLayer& bound) {
  Parameters parameters;
  for (const auto& [name, shape] : parameter_shapes(*bound.kernel, bound.values)) parameters[name] = Tensor(shape);
  std::vector<int64_t> extents;
  for (const Axis& axis : bound.kernel->signature().from)
    extents.push_back(axis.size.evaluate(bound.values).value_or(0));
  return canvas::interpret(*bound.kernel, bound.values, Tensor(extents), parameters).flops;
}

}  // namespace canvas::python

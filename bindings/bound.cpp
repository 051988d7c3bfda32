#include "bound.h"

#include <nanobind/stl/string.h>

#include <algorithm>
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

std::vector<int64_t> shape_of(const Array& array, size_t skip = 0) {
  std::vector<int64_t> shape;
  for (size_t i = skip; i < array.ndim(); ++i) shape.push_back(static_cast<int64_t>(array.shape(i)));
  return shape;
}

// The part number `index` of those that the first `skip` axes count.
Tensor tensor(const Array& array, size_t skip = 0, size_t index = 0) {
  const std::vector<int64_t> shape = shape_of(array, skip);
  Tensor result(shape);
  if (!result.data.empty())
    std::memcpy(result.data.data(), array.data() + index * result.data.size(), result.data.size() * sizeof(double));
  return result;
}

}  // namespace

Binding bind_or_throw(const Kernel& kernel, const std::vector<Layer>& layers, const Budget& budget, const Rules& rules,
                      const Prices* prices) {
  auto binding = canvas::bind(kernel, layers, budget, rules, nullptr, prices);
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

std::string source(const BoundLayer& bound, const std::optional<std::vector<std::string>>& rules) {
  Lowering lowering = rules ? Lowering(*rules) : Lowering();
  return emit_torch(*bound.kernel, bound.values, lowering).text;
}

std::map<std::string, int> lowering_counts(const BoundLayer& bound,
                                           const std::optional<std::vector<std::string>>& rules) {
  Lowering lowering = rules ? Lowering(*rules) : Lowering();
  emit_torch(*bound.kernel, bound.values, lowering);
  return lowering.counts();
}

nb::list parameters(const BoundLayer& bound) {
  nb::list list;
  for (const ParameterShape& shape : emit_torch(*bound.kernel, bound.values).parameters) {
    list.append(nb::make_tuple(shape.name, tuple(shape.logical), tuple(shape.stored)));
  }
  return list;
}

nb::object interpret(const BoundLayer& bound, const Array& x, const nb::dict& given) {
  // One batch axis; for a kernel that takes every position by itself any number of axes before the channels.
  const size_t axes = bound.kernel->signature().from.size();
  const size_t leading = axes > 1 ? 1 : x.ndim() - std::min<size_t>(x.ndim(), 1);
  if (x.ndim() != leading + axes) {
    throw ArgumentError(std::string("the input must have the shape ") + (axes == 1            ? "[..., c_in]"
                                                                         : bound.layer.tokens ? "[N, tokens, c_in]"
                                                                                              : "[N, c_in, *spatial]"));
  }
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
  std::vector<size_t> shape;
  size_t parts = 1;
  for (size_t i = 0; i < leading; ++i) {
    shape.push_back(x.shape(i));
    parts *= x.shape(i);
  }
  if (parts == 0) throw ArgumentError("the batch is empty");
  auto* data = new std::vector<double>();
  nb::capsule owner(data, [](void* pointer) noexcept { delete static_cast<std::vector<double>*>(pointer); });
  for (size_t part = 0; part < parts; ++part) {
    const Interpretation run = canvas::interpret(*bound.kernel, bound.values, tensor(x, leading, part), parameters);
    data->insert(data->end(), run.result.data.begin(), run.result.data.end());
    if (part == 0) shape.insert(shape.end(), run.result.shape.begin(), run.result.shape.end());
  }
  return nb::cast(nb::ndarray<nb::numpy, double>(data->data(), shape.size(), shape.data(), owner));
}

int64_t counted_flops(const BoundLayer& bound) {
  Parameters parameters;
  for (const auto& [name, shape] : parameter_shapes(*bound.kernel, bound.values)) parameters[name] = Tensor(shape);
  std::vector<int64_t> extents;
  for (const Axis& axis : bound.kernel->signature().from)
    extents.push_back(axis.size.evaluate(bound.values).value_or(0));
  const int64_t runs = bound.kernel->signature().per_position() ? std::max<int64_t>(1, bound.layer.tokens) : 1;
  return runs * canvas::interpret(*bound.kernel, bound.values, Tensor(extents), parameters).flops;
}

}  // namespace canvas::python

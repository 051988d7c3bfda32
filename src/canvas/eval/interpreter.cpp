#include "canvas/eval/interpreter.h"

#include "canvas/base/error.h"
#include "canvas/ir/primitive.h"

namespace canvas {

namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (int64_t extent : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  return text + "]";
}

std::vector<int64_t> extents(const Axes& axes, const Values& values, const Variables& variables) {
  std::vector<int64_t> shape;
  for (const Axis& axis : axes) {
    const auto extent = axis.size.evaluate(values);
    if (!extent) {
      throw ArgumentError("axis " + axis.name + " = " + to_string(axis.size, variables) +
                          " is no positive integer for these sizes; bind the kernel to the layer first");
    }
    shape.push_back(*extent);
  }
  return shape;
}

void expect_shape(const Tensor& tensor, const std::vector<int64_t>& wanted, const std::string& what) {
  if (tensor.shape == wanted) return;
  throw ArgumentError(what + " must have the shape " + shape_text(wanted) + ", got " + shape_text(tensor.shape));
}

// `tensor` over `axes`, its axes put into the order of `wanted`.
Tensor transposed(const Tensor& tensor, const Axes& axes, const Axes& wanted, const std::vector<int64_t>& shape) {
  Tensor result(shape);
  size_t next = 0;
  std::vector<int64_t> source(axes.size());
  for_each_index(shape, [&](const std::vector<int64_t>& index) {
    for (size_t i = 0; i < wanted.size(); ++i) source[static_cast<size_t>(find_axis(axes, wanted[i].name))] = index[i];
    result.data[next++] = tensor.at(source);
  });
  return result;
}

}  // namespace

std::vector<std::pair<std::string, std::vector<int64_t>>> parameter_shapes(const Kernel& kernel, const Values& values) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> shapes;
  for (const Node& node : kernel.nodes()) {
    if (!node.primitive || !node.primitive->weighted()) continue;
    const Axes axes = node.primitive->parameter(*kernel.operands(node)[0], node.attributes);
    shapes.emplace_back(node.name, extents(axes, values, kernel.variables()));
  }
  return shapes;
}

Interpretation interpret(const Kernel& kernel, const Values& values, const Tensor& input,
                         const Parameters& parameters) {
  Interpretation run;
  expect_shape(input, extents(kernel.signature().from, values, kernel.variables()), "the input");
  std::vector<Tensor> tensors = {input};
  for (size_t i = 1; i < kernel.nodes().size(); ++i) {
    const Node& node = kernel.nodes()[i];
    const std::vector<int64_t> shape = extents(node.axes, values, kernel.variables());
    const auto operand_axes = kernel.operands(node);
    const Tensor* parameter = nullptr;
    if (node.primitive->weighted()) {
      const auto found = parameters.find(node.name);
      if (found == parameters.end()) throw ArgumentError("parameter '" + node.name + "' is missing");
      parameter = &found->second;
      const Axes axes = node.primitive->parameter(*operand_axes[0], node.attributes);
      expect_shape(*parameter, extents(axes, values, kernel.variables()), "parameter '" + node.name + "'");
    }
    std::vector<const Tensor*> operands;
    for (int value : node.inputs) operands.push_back(&tensors[static_cast<size_t>(value)]);
    tensors.push_back(node.primitive->evaluate({node, operand_axes, operands, parameter, values, run.flops}));
    require(tensors.back().shape == shape, "a value has not the shape that was inferred");
  }
  const Axes& wanted = kernel.signature().to;
  run.result =
      transposed(tensors.back(), kernel.nodes().back().axes, wanted, extents(wanted, values, kernel.variables()));
  return run;
}

}  // namespace canvas

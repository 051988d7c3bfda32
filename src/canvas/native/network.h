// A whole network as one program of core forms: layers are added one after the other, kernels among them, and all is written as one source.
// Sizes are numbers; the images of a batch are no axis of it. Called by the bindings.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "canvas/native/native.h"

namespace canvas {

class Network {
 public:
  // The network's input and the result, as they lie in memory: the last axis is the fastest. Values are numbered from 0, the input.
  explicit Network(Axes input);

  // Each gives the number of a new value. All throw ArgumentError where operands do not suit.

  // A trained tensor.
  int parameter(const std::string& name, Axes axes);
  // A function of elements: a primitive's name, "exp of difference", "quotient", "plain exp" or "plain sqrt". Operands are broadcast by name.
  int map(const std::string& function, std::vector<int> operands);
  // The product of the operands, summed over all axes that are not kept.
  int contract(std::vector<int> operands, const std::vector<std::string>& kept);
  // "sum", "mean" or "max" over axes.
  int reduce(const std::string& function, int operand, const std::vector<std::string>& over);
  int softmax(int operand, const std::string& over);
  // Elements stride * i + dilation * w + offset along axes: `extent` of them, `window` of which become an axis `made` where that has a name.
  // Outside are zeros, or, for a maximum, the lowest number.
  struct Window {
    std::string axis;
    std::string made;
    int64_t window, stride, extent;
    int dilation, offset;
  };
  int windows(int operand, const std::vector<Window>& items, bool lowest = false);
  // The element at a position of an axis, which goes.
  int pick(int operand, const std::string& axis, int position);
  // Axes, the last the fastest, become others of as many elements; one of the lists has one entry.
  int view(int operand, const std::vector<std::string>& from, const Axes& to);
  // Values of the same axes side by side along a new one.
  int stack(std::vector<int> operands, const Axis& along);
  // A kernel. `from` and `to` are the network's names for the axes of its signature, in their order; other axes of the operand are kept, as if
  // it stood there for each of their positions. Parameters are named `prefix` + their name in the module.
  int kernel(const Kernel& kernel, const Values& values, int operand, const std::vector<std::string>& from,
             const std::vector<std::string>& to, const std::string& prefix);

  const Axes& axes(int value) const { return op(value).axes; }
  // The source that computes a value, whose axes lie in this order.
  NativeKernel emit(int result, const std::vector<std::string>& order, const native::Target& target) const;

 private:
  const CoreOp& op(int value) const;
  int add(CoreOp op);

  Axes input_;
  CoreProgram program_;
};

}  // namespace canvas

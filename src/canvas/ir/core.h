// Core forms: the few operations that primitives lower into and every backend implements. Axes stay named; sizes stay symbolic.
// Made by Primitive::lower through lower/, read by emit/.
#pragma once

#include <string>
#include <vector>

#include "canvas/ir/kernel.h"

namespace canvas {

enum class CoreKind {
  kInput,      // the kernel's input
  kParameter,  // a trained tensor; `name`
  kView,  // a bijective change of axes: `from` (in this order, last fastest) become `to`; one of the two has one entry, or
          // both have one (a rename)
  kIndex,     // element at stride*i + dilation*(w - window/2) + offset along each item's axis, zero outside
  kMap,       // `function` applied element by element; operands broadcast by axis name
  kContract,  // product of the operands (broadcast by axis name), summed over all axes that the result lacks
  kReduce,    // `function` (sum, mean, max) over `from`
  kSoftmax,   // over `from`
  kPick,  // along each item's axis: element i / stride, rounded down (every element `stride` times); where the result
          // lacks the axis, its element `offset`
  kPut,  // slices along an axis put together. items[0].made: a new axis whose i-th slice is operand i. items[0].axis: an
         // axis of operand 0 whose slice `offset` becomes operand 1
};

// A function of numbers, as a kMap applies it element by element.
struct Scalar {
  const char* torch = nullptr;  // in PyTorch; {0} and {1} stand for the operands
  bool keeps_zero = false;      // f(0) = 0: it may trade places with zero padding
};

// One axis of an index map. in[axis = stride*axis' + dilation*(made - window/2) + offset].
struct IndexItem {
  Name axis;
  Name made;  // the new axis, of extent `window`; empty where no axis is made
  int64_t window = 1;
  int dilation = 1;
  int offset = 0;
  Size stride;
};

struct CoreOp {
  CoreKind kind;
  std::vector<int> inputs;
  Axes axes;                     // of the result
  AxisNames from;                // kView, kReduce, kSoftmax
  Axes to;                       // kView
  std::vector<IndexItem> items;  // kIndex
  // kIndex: not empty for a neighbourhood shift. Then channel c of the axis `over` (extent n) takes the offset of neighbour
  // q = c * P / n (rounded down; P the product of the items' windows), q counted row-major over the items in order: along each item
  // the offset is dilation * (q_i - window/2), and no axis is made.
  std::string over;
  std::string function;  // kMap: a primitive's name; kReduce: sum, mean, max
  std::string name;      // the value that it makes, where it has one; a parameter's name
  Scalar scalar = {};    // kMap
};

struct CoreProgram {
  std::vector<CoreOp> ops;  // topological; the result is the last
  int add(CoreOp op) {
    ops.push_back(std::move(op));
    return static_cast<int>(ops.size()) - 1;
  }
};

}  // namespace canvas

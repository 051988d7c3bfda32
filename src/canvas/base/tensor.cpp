#include "canvas/base/tensor.h"

#include <limits>

namespace canvas {

int64_t volume(const std::vector<int64_t>& shape) {
  int64_t product = 1;
  for (int64_t extent : shape) {
    if (__builtin_mul_overflow(product, extent, &product)) return std::numeric_limits<int64_t>::max();
  }
  return product;
}

Tensor::Tensor(std::vector<int64_t> extents, double fill)
    : shape(std::move(extents)), data(static_cast<size_t>(volume(shape)), fill) {}

int64_t Tensor::offset(const std::vector<int64_t>& index) const {
  int64_t position = 0;
  for (size_t axis = 0; axis < shape.size(); ++axis) position = position * shape[axis] + index[axis];
  return position;
}

}  // namespace canvas

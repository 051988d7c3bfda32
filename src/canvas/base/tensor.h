// A small dense float64 tensor on the CPU, row-major: what the reference interpreter computes with. Slow and plain on purpose.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace canvas {

struct Tensor {
  std::vector<int64_t> shape;
  std::vector<double> data;

  Tensor() = default;
  explicit Tensor(std::vector<int64_t> extents, double fill = 0.0);

  size_t rank() const { return shape.size(); }
  int64_t size() const { return static_cast<int64_t>(data.size()); }

  // Row-major offset of an index of `rank()` entries.
  int64_t offset(const std::vector<int64_t>& index) const;
  double& at(const std::vector<int64_t>& index) { return data[static_cast<size_t>(offset(index))]; }
  double at(const std::vector<int64_t>& index) const { return data[static_cast<size_t>(offset(index))]; }
};

// Number of elements of a shape; saturates at INT64_MAX rather than overflow.
int64_t volume(const std::vector<int64_t>& shape);

// Calls visit(index) for every index of `shape`, in row-major order.
template <class Visit>
void for_each_index(const std::vector<int64_t>& shape, Visit visit) {
  std::vector<int64_t> index(shape.size(), 0);
  for (int64_t extent : shape) {
    if (extent == 0) return;
  }
  while (true) {
    visit(static_cast<const std::vector<int64_t>&>(index));
    size_t axis = shape.size();
    while (axis > 0 && ++index[axis - 1] == shape[axis - 1]) index[--axis] = 0;
    if (axis == 0) return;
  }
}

}  // namespace canvas

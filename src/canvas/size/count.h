// Counts of elements and of operations: products of sizes that each round up by themselves, as the axes do that they are of. As a Size,
// H/s * W and H * W/s are the same, H*W/s; of 5 x 7 positions with s = 2 the one is 3 * 7 and the other 5 * 4. So a Count has the extents that
// the stride divides apart.
#pragma once

#include <cstdint>
#include <optional>

#include "canvas/size/size.h"

namespace canvas {

class Count {
 public:
  Count() = default;  // 1
  // Of one axis. Extents take the stride's divisions first, each extent one before any takes a second: H*H*W*W/s/s is H (H/s) W (W/s).
  Count(const Size& size) : plain_(size) {
    if (size.exponent(kStride) < 0) divide_extents();
  }

  bool valid() const { return plain_.valid(); }
  // The product of all but the extents that are divided by the stride; those stand as often as rounded(v) says.
  const Size& plain() const { return plain_; }
  int rounded(int extent) const { return static_cast<int>(rounded_ >> shift(extent) & 0x7f); }
  // What is of static variables, without the constant.
  Count fixed() const;

  friend Count operator*(const Count& left, const Count& right) {
    Count product;
    product.plain_ = left.plain_ * right.plain_;
    product.rounded_ = left.rounded_ + right.rounded_;
    return product.rounded_ & kTooMany ? Count(Size::constant(1, 0)) : product;
  }
  bool operator==(const Count&) const = default;

  // As Size::evaluate and Size::quotient, which are those of one axis.
  std::optional<int64_t> evaluate(const Values& values) const;
  std::optional<Quotient> quotient(const Values& values) const;
  // The quotient as a number that need not be whole, nor fit 64 bits.
  double amount(const Values& values) const;

  // For tables in memory, as Size::mixed().
  uint64_t mixed() const { return plain_.mixed() + rounded_ * 0x9e3779b97f4a7c15ull; }

 private:
  static constexpr uint32_t kTooMany = 0x80808080u;
  static int shift(int extent) { return 8 * (extent - kD); }
  void divide_extents();

  Size plain_;
  uint32_t rounded_ = 0;  // how often ceil(extent / s) is a factor, a byte for each of D, H, W and T
};

// ceil(extent / s); 1 where the extent is not set.
inline int64_t strided(const Values& values, int extent) {
  const int64_t value = values[static_cast<size_t>(extent)], stride = values[kStride];
  return value <= 0 ? 1 : stride <= 1 ? value : (value - 1) / stride + 1;
}

}  // namespace canvas

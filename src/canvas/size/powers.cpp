#include "canvas/size/powers.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "canvas/size/divisors.h"

namespace canvas {

namespace {

constexpr int64_t kLargest = int64_t{1} << 31;  // of exponents and roots: far past any use, and no sum of them wraps

bool is_variable(int64_t entry) { return entry >= 0; }

// a * b, or false where that is too large for an exponent.
bool multiply(int64_t a, int64_t b, int64_t& product) {
  return !__builtin_mul_overflow(a, b, &product) && std::abs(product) < kLargest;
}

}  // namespace

Powers::Powers(const Size& size) : root_(size.valid() ? 1 : 0) {
  if (!valid()) return;
  for (int v = 0; v < kMaxVariables; ++v) {
    if (size.exponent(v) != 0) entries_.emplace_back(v, size.exponent(v));
  }
  for (int sign : {1, -1}) {
    const int64_t number = sign > 0 ? size.numerator() : size.denominator();
    if (number == 1) continue;
    for (const auto& [prime, times] : factorized(number)) entries_.emplace_back(-prime, sign * times);
  }
  std::sort(entries_.begin(), entries_.end());
}

bool Powers::is_number() const { return entries_.empty() || !is_variable(entries_.back().first); }

bool Powers::has_variable(int first) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const Entry& entry) { return entry.first >= first && is_variable(entry.first); });
}

bool Powers::is_whole(int first) const {
  if (!valid() || has_variable(first)) return false;
  int64_t extents = 0;
  for (const auto& [index, exponent] : entries_) {
    if (is_variable(index) && is_extent(static_cast<int>(index))) extents += std::max<int64_t>(0, exponent);
  }
  return std::all_of(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.second > 0 || (entry.first == kStride && -entry.second <= extents);
  });
}

int64_t Powers::exponent(int variable) const {
  for (const auto& [index, exponent] : entries_) {
    if (index == variable) return exponent;
  }
  return 0;
}

Powers Powers::times(const Powers& other, int64_t power) const {
  Powers result;
  int64_t own = 0, theirs = 0;  // what the exponents are multiplied by
  const auto fail = [&] {
    result.entries_.clear();
    result.root_ = 0;
    return result;
  };
  if (!valid() || !other.valid()) return fail();
  own = other.root_ / std::gcd(root_, other.root_);
  if (!multiply(root_, own, result.root_) || !multiply(result.root_ / other.root_, power, theirs)) return fail();
  auto left = entries_.begin();
  auto right = other.entries_.begin();
  while (left != entries_.end() || right != other.entries_.end()) {
    const bool from_left = right == other.entries_.end() || (left != entries_.end() && left->first <= right->first);
    const bool from_right = left == entries_.end() || (right != other.entries_.end() && right->first <= left->first);
    int64_t a = 0, b = 0;
    if (from_left && !multiply(left->second, own, a)) return fail();
    if (from_right && !multiply(right->second, theirs, b)) return fail();
    if (std::abs(a + b) >= kLargest) return fail();
    if (a + b != 0) result.entries_.emplace_back(from_left ? left->first : right->first, a + b);
    left += from_left;
    right += from_right;
  }
  result.normalise();
  return result;
}

Powers Powers::rooted(int64_t degree) const {
  Powers result = *this;
  if (!multiply(root_, std::abs(degree), result.root_)) return Powers(Size::constant(1, 0));
  if (degree < 0) {
    for (Entry& entry : result.entries_) entry.second = -entry.second;
  }
  result.normalise();
  return result;
}

Powers Powers::without(int variable) const {
  Powers result = *this;
  std::erase_if(result.entries_, [&](const Entry& entry) { return entry.first == variable; });
  result.normalise();
  return result;
}

Powers Powers::substitute(int variable, const Powers& value) const {
  const int64_t power = exponent(variable);
  return power == 0 ? *this : without(variable).times(value.rooted(root_), power);
}

Powers Powers::reduced() const {
  Powers result = *this;
  int64_t common = 0;
  for (const Entry& entry : entries_) common = std::gcd(common, entry.second);
  if (!valid() || common == 0) return result;
  for (Entry& entry : result.entries_) entry.second /= common;
  result.root_ = 1;
  return result;
}

Size Powers::size() const {
  Size result = Size::constant(1, root_ == 1 ? 1 : 0);
  for (const auto& [index, exponent] : entries_) {
    if (std::abs(exponent) > INT8_MAX) return Size::constant(1, 0);
    const int power = static_cast<int>(exponent);
    result = result * (is_variable(index) ? Size::variable(static_cast<int>(index), power)
                                          : Size::constant(-index).power(power));
  }
  return result;
}

std::pair<Powers, Powers> Powers::sides() const {
  Powers top = *this, bottom = rooted(-1);
  const auto divides = [](const Entry& entry) { return entry.second < 0; };
  std::erase_if(top.entries_, divides);
  std::erase_if(bottom.entries_, divides);
  return {top, bottom};
}

void Powers::normalise() {
  if (root_ <= 1) return;
  int64_t common = root_;
  for (const Entry& entry : entries_) common = std::gcd(common, entry.second);
  root_ /= common;
  for (Entry& entry : entries_) entry.second /= common;
}

}  // namespace canvas

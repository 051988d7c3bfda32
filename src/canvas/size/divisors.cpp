#include "canvas/size/divisors.h"

#include <algorithm>

namespace canvas {

namespace {

constexpr uint32_t kLargestTrial = 1 << 16;

const std::vector<uint32_t>& small_primes() {
  static const std::vector<uint32_t> primes = [] {
    std::vector<bool> composite(kLargestTrial, false);
    std::vector<uint32_t> found;
    for (uint32_t n = 2; n < kLargestTrial; ++n) {
      if (composite[n]) continue;
      found.push_back(n);
      for (uint64_t multiple = uint64_t{n} * n; multiple < kLargestTrial; multiple += n) composite[multiple] = true;
    }
    return found;
  }();
  return primes;
}

// Takes `factor` out of `number` as often as it goes; how often.
template <class T>
int take_out(T& number, T factor) {
  int times = 0;
  for (; number % factor == 0; number /= factor) ++times;
  return times;
}

// Calls visit(prime, times) for the primes of `number` in ascending order, those above 2^16 taken together.
template <class T, class Visit>
void factor(T number, const Visit& visit) {
  for (uint32_t prime : small_primes()) {
    if (static_cast<uint64_t>(prime) * prime > static_cast<uint64_t>(number)) break;
    if (const int times = take_out(number, static_cast<T>(prime))) visit(static_cast<int64_t>(prime), times);
  }
  if (number > 1) visit(static_cast<int64_t>(number), 1);
}

}  // namespace

std::vector<int64_t> prime_factors(int64_t number) {
  std::vector<int64_t> primes;
  factor(static_cast<uint64_t>(number), [&](int64_t prime, int) { primes.push_back(prime); });
  return primes;
}

std::vector<int64_t> divisors(int64_t number, int power, const std::vector<int64_t>& hints) {
  std::vector<int64_t> found = {1};
  const auto extend = [&](int64_t prime, int times) {
    const size_t before = found.size();
    int64_t multiple = 1;
    for (int i = 0; i < times / power; ++i) {
      multiple *= prime;
      for (size_t k = 0; k < before; ++k) found.push_back(found[k] * multiple);
    }
  };
  for (int64_t hint : hints) {
    if (hint > 1) {
      if (const int times = take_out(number, hint)) extend(hint, times);
    }
  }
  if (number < (int64_t{1} << 32)) {
    factor(static_cast<uint32_t>(number), extend);
  } else {
    factor(static_cast<uint64_t>(number), extend);
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace canvas

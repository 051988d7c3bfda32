#include "canvas/size/divisors.h"

#include <algorithm>
#include <bit>
#include <numeric>

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

uint64_t multiply(uint64_t a, uint64_t b, uint64_t modulus) {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(a) * b % modulus);
}

// The test of Miller and Rabin for an odd number above 37; with these bases it is exact for all of 64 bits (Sorenson and Webster 2015).
bool is_prime(uint64_t number) {
  for (uint64_t base : {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37}) {
    const int twos = std::countr_zero(number - 1);
    uint64_t power = 1;
    for (int bit = 63; bit >= twos; --bit) {
      power = multiply(power, power, number);
      if ((number - 1) >> bit & 1) power = multiply(power, base, number);
    }
    bool passes = power == 1;
    for (int i = 0; i < twos && !passes; ++i) {
      passes = power == number - 1;
      power = multiply(power, power, number);
    }
    if (!passes) return false;
  }
  return true;
}

// The primes of a number without small ones, by Pollard's rho method.
void take_apart(uint64_t number, std::vector<int64_t>& primes) {
  if (is_prime(number)) return primes.push_back(static_cast<int64_t>(number));
  uint64_t divisor = number;
  for (uint64_t shift = 1; divisor == number; ++shift) {
    const auto next = [&](uint64_t x) { return (multiply(x, x, number) + shift) % number; };
    uint64_t slow = 2, fast = 2;
    do {
      slow = next(slow);
      fast = next(next(fast));
      divisor = std::gcd(slow > fast ? slow - fast : fast - slow, number);
    } while (divisor == 1);
  }
  take_apart(divisor, primes);
  take_apart(number / divisor, primes);
}

}  // namespace

std::vector<std::pair<int64_t, int>> factorized(int64_t number) {
  std::vector<std::pair<int64_t, int>> found;
  factor(static_cast<uint64_t>(number), [&](int64_t prime, int times) { found.emplace_back(prime, times); });
  if (found.empty() || found.back().first < int64_t{kLargestTrial} * kLargestTrial) return found;
  std::vector<int64_t> primes;
  take_apart(static_cast<uint64_t>(found.back().first), primes);
  found.pop_back();
  std::sort(primes.begin(), primes.end());
  for (int64_t prime : primes) {
    if (found.empty() || found.back().first != prime) found.emplace_back(prime, 0);
    ++found.back().second;
  }
  return found;
}

std::vector<int64_t> prime_factors(int64_t number) {
  std::vector<int64_t> primes;
  factor(static_cast<uint64_t>(number), [&](int64_t prime, int) { primes.push_back(prime); });
  return primes;
}

void divisors(int64_t number, int power, const std::vector<int64_t>& hints, std::vector<int64_t>& into) {
  into.assign(1, 1);
  const auto extend = [&](int64_t prime, int times) {
    const size_t before = into.size();
    int64_t multiple = 1;
    for (int i = 0; i < times / power; ++i) {
      multiple *= prime;
      for (size_t k = 0; k < before; ++k) into.push_back(into[k] * multiple);
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
  std::sort(into.begin(), into.end());
}

}  // namespace canvas

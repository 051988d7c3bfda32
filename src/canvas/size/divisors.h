// Prime factors and divisors of whole numbers, quickly where factors are small. Used by whoever lists the values of a free size.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace canvas {

// The values d, ascending, with d^power dividing `number` (> 0). Numbers below 2^32 are factored in full; of a larger one, what is left
// after all primes below 2^16 and `hints` are taken out counts as one prime. Example: divisors(12) = 1 2 3 4 6 12; divisors(12, 2) = 1 2.
std::vector<int64_t> divisors(int64_t number, int power = 1, const std::vector<int64_t>& hints = {});

// The prime factors of a number > 0, ascending, each with its power: 12 = 2^2 3.
std::vector<std::pair<int64_t, int>> factorized(int64_t number);

// The prime factors of a number > 0, ascending, each once.
std::vector<int64_t> prime_factors(int64_t number);

}  // namespace canvas

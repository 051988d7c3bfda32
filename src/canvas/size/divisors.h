// Prime factors and divisors of whole numbers, quickly where factors are small. Used by whoever lists the values of a free size.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace canvas {

// Sets `into` to the values d, ascending, with d^power dividing `number` (> 0). Numbers below 2^32 are factored in full; of a larger one, what is left
// after all primes below 2^16 and `hints` are taken out counts as one prime. Example: of 12: 1 2 3 4 6 12; with power 2: 1 2.
void divisors(int64_t number, int power, const std::vector<int64_t>& hints, std::vector<int64_t>& into);

// The prime factors of a number > 0, ascending, each with its power: 12 = 2^2 3.
std::vector<std::pair<int64_t, int>> factorized(int64_t number);

// The prime factors of a number > 0, ascending, each once.
std::vector<int64_t> prime_factors(int64_t number);

}  // namespace canvas

// The canonical form: one kernel out of all that differ only in names, in the order of independent or commuting primitives, or by
// simple identities. Its hash is a kernel's identity everywhere: deduplication, store, file names.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "canvas/ir/kernel.h"

namespace canvas {

struct Canonical {
  Kernel kernel;
  // For each value of `kernel`, the value of the original that it is: how parameters are matched.
  std::vector<int> origin;
};

Canonical canonical(const Kernel& kernel);

// 128 bits; equal exactly when the canonical forms are equal (up to a chance of 2^-128).
using Digest = std::pair<uint64_t, uint64_t>;
Digest digest_of(const Canonical& form);
// The same in 32 hexadecimal digits.
std::string to_string(const Digest& digest);
std::string hash_of(const Canonical& form);
std::string hash(const Kernel& kernel);

}  // namespace canvas

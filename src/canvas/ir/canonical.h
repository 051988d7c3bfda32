// The canonical form: one kernel out of all that differ only in names, in the order of independent or commuting primitives, or by
// simple identities. Its hash is a kernel's identity everywhere: deduplication, store, file names.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "canvas/ir/kernel.h"
#include "canvas/ir/program.h"

namespace canvas {

// 128 bits; equal exactly when the canonical forms are equal (up to a chance of 2^-128).
using Digest = std::pair<uint64_t, uint64_t>;
// The same in 32 hexadecimal digits.
std::string to_string(const Digest& digest);

struct Canonical {
  Kernel kernel;
  // For each value of `kernel`, the value of the original that it is: how parameters are matched.
  std::vector<int> origin;
  Digest digest;
};

// The form before it is written as a kernel, for those who ask for its digest first: `if (known(form.digest())) ...; form.kernel()`.
class CanonicalForm {
 public:
  // The kernel must outlive the form.
  explicit CanonicalForm(const Kernel& kernel) : CanonicalForm(kernel, true) {}

  const Digest& digest() const { return digest_; }
  // Number of primitives.
  int length() const { return static_cast<int>(program_.steps.size()) - 1; }
  Canonical kernel() const;

 private:
  // With `again`, chains that have a pair in common are looked at once more.
  CanonicalForm(const Kernel& kernel, bool again);

  const Kernel* kernel_;
  std::shared_ptr<const Kernel> held_;  // what kernel_ is, where it is the form of a first look
  Program program_;                     // in canonical order, with canonical axes and variables
  std::vector<int> stem_;  // of each axis that has no name from the signature: the axis that it is a window of, or -1
  int variables_ = 0;
  Digest digest_;
};

Canonical canonical(const Kernel& kernel);

inline const Digest& digest_of(const Canonical& form) { return form.digest; }
inline std::string hash_of(const Canonical& form) { return to_string(form.digest); }
std::string hash(const Kernel& kernel);

}  // namespace canvas

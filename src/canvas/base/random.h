// Seeded, splittable random numbers (SplitMix64, Steele et al. 2014): the same stream on every machine and thread count.
// A stream is passed in by whoever draws; nothing here is global.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace canvas {

// A good 64-bit mixer (the SplitMix64 finaliser).
inline uint64_t mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// Order-dependent combination of two hashes.
inline uint64_t combine(uint64_t seed, uint64_t value) {
  return mix64(seed ^ (mix64(value) + 0x632be59bd9b4e019ull + (seed << 6)));
}

// Answers to a procedure's random choices, in the order in which they come. next() goes through all lists of answers, and so through
// every outcome that the procedure can have.
class Script {
 public:
  // One of 0 .. options - 1.
  size_t answer(size_t options);
  // The next list; false after the last.
  bool next();

 private:
  struct Choice {
    size_t taken, options;
  };
  std::vector<Choice> choices_;
  size_t place_ = 0;
};

class Random {
 public:
  explicit Random(uint64_t seed) : state_(mix64(seed)) {}
  // Chooses as the script says, among choices that have a chance; for procedures that call below, chance, pick and weighted alone.
  explicit Random(Script& script) : state_(0), script_(&script) {}

  // An independent stream for the `index`-th task; does not advance this one.
  Random split(uint64_t index) const { return Random(combine(state_, index)); }

  uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ull;
    return mix64(state_);
  }

  // Uniform in [0, n); n > 0.
  size_t below(size_t n) {
    if (script_) return script_->answer(n);
    return static_cast<size_t>((static_cast<unsigned __int128>(next()) * n) >> 64);
  }

  // Uniform in [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

  bool chance(double probability) {
    if (script_ && probability > 0 && probability < 1) return script_->answer(2) == 1;
    return uniform() < probability;
  }

  // Standard normal (Box-Muller, one of the pair).
  double normal();

  template <class List>
  const typename List::value_type& pick(const List& items) {
    return items[below(items.size())];
  }

  // Index drawn in proportion to non-negative weights; the weights must not all be zero.
  size_t weighted(const std::vector<double>& weights);

 private:
  uint64_t state_;
  Script* script_ = nullptr;
};

}  // namespace canvas

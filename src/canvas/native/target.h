// What native code is written for: the processor, how many images at once, and what a tuner chose. Called by all that write it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace canvas::native {

// Choices that change how quickly code runs and never what it computes, by name; "name 3" is that of nest 3 alone.
using Choices = std::map<std::string, int64_t>;

// The names that choices may have.
//   tile: of the shapes of tiles that a count of loads and multiply-adds ranks, which one; 0 is the best
//   straight: so many multiply-adds are written one after the other, without a loop
//   order: 1 runs through the panels within the rows, 0 the other way
//   cache: elements of scratch that nests may pass on without a block
//   borders: 0 multiplies by margins too
//   together: images that are computed together at most
//   clocks: 1 counts how long each nest takes; `clocks` of the library tells
inline const std::vector<std::string> kChoices = {"tile",    "straight", "order", "cache",
                                                  "borders", "together", "clocks"};

struct Target {
  int width = 8;       // floats in a vector
  int registers = 16;  // vectors that the processor has
  int images = 1;      // that one thread is likely to be given: up to so many are computed together
  Choices choices = {};
  int threads = 2;    // that are likely to share an image
  bool bf16 = false;  // contractions read weights and what these meet in 16 bits, two numbers at a time

  int64_t choice(const std::string& name, int64_t otherwise) const {
    const auto found = choices.find(name);
    return found == choices.end() ? otherwise : found->second;
  }
  int64_t choice(const std::string& name, size_t nest, int64_t otherwise) const {
    return choice(name + " " + std::to_string(nest), choice(name, otherwise));
  }
};

}  // namespace canvas::native

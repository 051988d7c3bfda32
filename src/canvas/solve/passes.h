// The passes that filling a budget goes through, from the quickest to the most thorough; fill.cpp alone reads them.
#pragma once

#include <cstddef>

namespace canvas {

// One pass: how many states it makes at a time, equal ones not yet merged, and of what. kAll takes whole items, those that have somewhere
// near to go first; it is what can prove a choice the best. The others take the steps from the base whose size is next to what is missing to
// the bound, of all items or of a random half: so the states lie close together, and one of them close to the bound.
enum class Steps { kAll, kFitting, kFittingOfHalf };
struct Pass {
  size_t most;
  Steps steps;
};
inline constexpr Pass kPasses[] = {
    {1024, Steps::kAll},
    {1024, Steps::kFitting},
    {1024, Steps::kFittingOfHalf},
    {1024, Steps::kFittingOfHalf},
    {1024, Steps::kFittingOfHalf},
    {1024, Steps::kFittingOfHalf},
    {4096, Steps::kAll},
    {4096, Steps::kFitting},
    {4096, Steps::kFittingOfHalf},
    {4096, Steps::kFittingOfHalf},
    {4096, Steps::kFittingOfHalf},
    {4096, Steps::kFittingOfHalf},
    {16384, Steps::kFittingOfHalf},
    {16384, Steps::kFittingOfHalf},
    {65536, Steps::kAll},
    {65536, Steps::kFittingOfHalf},
    {400000, Steps::kAll},
};

}  // namespace canvas

// What a sampler may make: counts, primitives and their weights, plausibility rules. Plain data; the Python face sets it by keyword.
#pragma once

#include <map>
#include <string>

#include "canvas/solve/binding.h"

namespace canvas {

struct Limits {
  int min_primitives = 2;
  int max_primitives = 10;
  int max_weighted = 4;   // primitives with a parameter
  int max_width = 3;      // values waiting to be used at one time
  int max_variables = 2;  // dynamic variables
  int min_reach =
      0;  // positions along every spatial axis that one output sees; 1: any kernel; 0: 3 for convolutions, else 1
  bool mix_tokens =
      true;  // layers that all have tokens get kernels (x[T, C]) -> [T, K]; false: linear ones, token by token
  bool full_flow = true;  // every input channel reaches every output channel within two stacked layers
  bool trainable = true;  // a probe run is finite, not constant, and of a sane scale
  // Relative weight of each primitive by name; those not named keep their default, 0 forbids one.
  std::map<std::string, double> weights = {};
  Rules rules = {};  // how free sizes are chosen for the network

  // Throws ArgumentError for limits that contradict one another or name no primitive.
  void check() const;
};

}  // namespace canvas

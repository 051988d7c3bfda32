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
  int min_weighted = 1;
  // Positions along every spatial axis from which one output takes something of its own, at least; 1: any kernel; 0: 3 for
  // convolutions, else 1. Summaries of all positions, which are the same for every output, do not count.
  int min_reach = 0;
  int max_reach = 0;  // the same at most, along any spatial axis, and no summaries; 0: no such limit
  // Layers that all have tokens get kernels (x[T, C]) -> [T, K]; false: linear ones, token by token.
  bool mix_tokens = true;
  bool concise = true;    // no step that a neighbour could do as well (superfluous.h)
  bool full_flow = true;  // every input channel reaches every output channel within two stacked layers
  bool live = true;       // the result depends on every parameter
  bool trainable =
      true;  // by the moments at initialisation no value is constant, no function saturates, the result's scale is sane
  bool numeric =
      false;  // by a forward pass on a small layer too, the result is finite, not constant, and of a sane scale
  double idioms = 0.04;  // the share of draws that take several steps together (idioms.h)
  // Relative weight of each primitive by name; those not named keep their default, 0 forbids one.
  std::map<std::string, double> weights = {};
  Rules rules = {};  // how free sizes are chosen for the network

  // Throws ArgumentError for limits that contradict one another or name no primitive.
  void check() const;
  // The same for those that implausible() reads.
  void check_plausibility() const;
  // Brings the weights nearer to each other (above 1) or further apart (below 1): each is raised to 1 / temperature. What is forbidden
  // stays forbidden. Throws ArgumentError for a temperature that is not a positive number.
  void heat(double temperature);
};

}  // namespace canvas

// Whether a legal kernel could be of any use: judged on a small layer by what depends on what (analyze/flow.h) and by the moments at
// initialisation (analyze/moments.h), so that no primitive needs to know of it. Nothing is computed but, where asked for, one forward
// pass (numeric.h).
#pragma once

#include <optional>
#include <string>

#include "canvas/ir/kernel.h"
#include "canvas/sample/limits.h"

namespace canvas {

// The input's axes of positions, as bits, along which a kernel must look around.
unsigned axes_to_look_along(const Limits& limits, const Signature& signature);

// False where some size that has no free variable in it cannot be whole on the small layer that plausibility is judged on.
bool fit_small_layer(const Axes& axes);

// Why a kernel is implausible: "its value % is constant", and which one. Sampling counts tries by what they fail.
struct Reason {
  const char* what;
  std::string of = "";
  std::string str() const;
};

// Why a kernel is implausible under `limits`, or nothing: by its primitives' number and what depends on what; by its moments; by a
// forward pass, where that is asked for. The first says the same of a kernel and its canonical form.
std::optional<Reason> ill_connected(const Kernel& kernel, const Limits& limits);
std::optional<Reason> untrainable(const Kernel& kernel, const Limits& limits);
std::optional<Reason> fails_forward(const Kernel& kernel, const Limits& limits);
// All of them, in this order.
std::optional<std::string> implausible(const Kernel& kernel, const Limits& limits);

}  // namespace canvas

// A kernel with its sizes fixed as C++ source that a compiler turns into a shared object: `prepare` fills the constants, `run` computes
// images, channels last. Called by the bindings.
#pragma once

#include <string>
#include <vector>

#include "canvas/native/writer.h"

namespace canvas {

struct NativeKernel {
  native::Source source;
  std::vector<std::string> parameters;  // in the order in which `prepare` takes them; named as in the module
};

// What follows the kernel in a network and is computed with it: relu(y * scale + shift + addend).
struct Ending {
  bool scale = false;  // and shift: of each output channel, the last two parameters
  bool addend = false;
  bool relu = false;
};

// Throws ArgumentError where a size is no positive integer for `values`, or a function is not known.
NativeKernel emit_native(const Kernel& kernel, const Values& values, const native::Target& target,
                         const Ending& ending = {});

// The last operation of a program as source; its input and its result lie in memory with the last axis fastest.
NativeKernel emit_native(const CoreProgram& program, const Axes& from, const Axes& to, const native::Target& target,
                         const Values& values = {});

}  // namespace canvas

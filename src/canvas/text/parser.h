// Reads the kernel language. The only way from text to Kernel; every fault of the text is one KernelError with its place.
#pragma once

#include <string>

#include "canvas/ir/kernel.h"

namespace canvas {

// Parses and verifies one kernel. `file` names the text in messages. Throws KernelError.
Kernel parse(const std::string& text, const std::string& file = "<text>");

}  // namespace canvas

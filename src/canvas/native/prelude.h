// What every native source begins and ends with: vectors, functions of elements, the entry point.
#pragma once

#include <cstdint>
#include <string>

namespace canvas::native {

// Types and functions for vectors of up to `width` floats.
std::string prelude(int width);
// The C++ function for a function of a map. Throws ArgumentError where there is none.
std::string function_name(const std::string& function);
// `run`: one image after the other, or all threads on each, with so many floats in, out and of scratch.
std::string entry(int64_t input, int64_t output, int64_t scratch);

}  // namespace canvas::native

// What every native source begins and ends with: vectors, functions of elements, the entry point.
#pragma once

#include <cstdint>
#include <string>

namespace canvas::native {

// Types and functions for vectors of up to `width` floats.
std::string prelude(int width);
// Numbers of 16 bits; behind the prelude.
std::string halves();
// `transpose4` and so on up to `width`, as far as a text uses them: the elements at from[i * step + j] go to to[j * far + i].
std::string transpositions(int width, const std::string& used);
// The C++ function for a function of a map. Throws ArgumentError where there is none.
std::string function_name(const std::string& function);
// `tick(i)`: what has passed since the last tick is added to `clocks[i]`, in ns; for i from 0, and below `count`.
std::string clock_text(size_t count);
// Floats of an image in and out and of scratch; how many images are computed together; whether those that are left over are copied first,
// so that input and output are as large as for all.
struct Entry {
  int64_t input, output, together;
  bool copies;
  int64_t scratch;
};
// `run`: some images after the other, each thread its own, or all threads on each.
std::string entry(const Entry& sizes);
// Floats of scratch that a thread needs, or, where fewer images than threads are given, all.
int64_t room(const Entry& sizes);

}  // namespace canvas::native

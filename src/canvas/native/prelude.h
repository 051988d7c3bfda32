// What every native source begins and ends with: vectors, functions of elements, the entry point.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace canvas::native {

// Types and functions for vectors of up to `width` floats. `transpose4` and so on up to `width`: the elements at from[i * step + j] go to
// to[j * far + i].
std::string prelude(int width);
// Numbers of 16 bits; behind the prelude.
std::string halves();
// The C++ expression of a map's function of operands of a type. Throws ArgumentError where there is no such function.
std::string applied(const std::string& function, const std::string& type, const std::vector<std::string>& operands);
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

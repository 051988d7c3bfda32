// What is printed parses back to the same kernel, and the canonical form is stable under itself, its hash and its text.
#include "inputs.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  canvas::fuzz::Input input(data, size);
  if (const auto kernel = canvas::fuzz::kernel_of(input)) canvas::fuzz::check_text(*kernel);
  return 0;
}

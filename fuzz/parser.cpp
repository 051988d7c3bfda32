// parse() takes any bytes and gives a kernel or one KernelError that reads well.
#include <algorithm>

#include "canvas/base/error.h"
#include "canvas/text/parser.h"
#include "inputs.h"

namespace {

constexpr size_t kLargest = (size_t{1} << 20) + 1;  // one byte more than a text may have

// NUL, n, rest: the rest 2^n times over, so that a few bytes reach the limits of a text. Anything else is the text itself.
std::string text_of(const uint8_t* data, size_t size) {
  std::string text(data, data + size);
  if (size < 3 || data[0] != 0) return text;
  text.erase(0, 2);
  for (int n = data[1] % 21; n > 0 && text.size() < kLargest; --n) text += text;
  text.resize(std::min(text.size(), kLargest));
  return text;
}

bool readable(char c) { return c == '\n' || (c >= 0x20 && c < 0x7f); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    canvas::parse(text_of(data, size), "fuzz.canvas");
  } catch (const canvas::KernelError& error) {
    const std::string message = error.what();
    const auto lines = 1 + std::count(message.begin(), message.end(), '\n');
    canvas::fuzz::law(message.rfind("fuzz.canvas:", 0) == 0, "a message begins with the file", message);
    canvas::fuzz::law(std::all_of(message.begin(), message.end(), readable), "a message is ASCII", message);
    canvas::fuzz::law(lines == 1 || lines == 3, "a message is a line, or that and the place below it", message);
    canvas::fuzz::law(message.size() < 4000, "a message is short", message);
  }
  return 0;
}

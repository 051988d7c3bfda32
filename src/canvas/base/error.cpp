#include "canvas/base/error.h"

namespace canvas {

Fault::Fault(std::string label, std::string required, std::string got, std::string hint)
    : label(std::move(label)), required(std::move(required)), got(std::move(got)), hint(std::move(hint)) {}

std::string Fault::str() const {
  std::string text;
  if (!label.empty()) text += label + ": ";
  text += required;
  if (!got.empty()) text += ", got " + got;
  if (!hint.empty()) text += "; " + hint;
  return text;
}

namespace {

std::string place(const std::string& file, Span span) {
  if (span.line == 0) return file + ": ";
  return file + ":" + std::to_string(span.line) + ":" + std::to_string(span.column) + ": ";
}

std::string excerpt(Span span, const std::string& line) {
  constexpr size_t kLongest = 160;  // a longer line would bury the message
  if (line.empty() || line.size() > kLongest || span.line == 0) return "";
  return "\n  " + line + "\n  " + std::string(static_cast<size_t>(span.column - 1), ' ') + "^";
}

}  // namespace

KernelError::KernelError(const std::string& file, Span span, const Fault& fault, const std::string& source_line)
    : std::runtime_error(place(file, span) + fault.str() + excerpt(span, source_line)) {}

void fail_internally(const char* what) {
  throw InternalError(std::string("internal error: ") + what + "; please report this with the kernel's text");
}

}  // namespace canvas

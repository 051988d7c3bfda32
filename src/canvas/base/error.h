// The three kinds of failure: a user's mistake in a text (KernelError), "not legal here" (Fault, a value), and a bug of
// ours (InternalError). Everything above this layer reports through them; nothing in the core aborts.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <variant>

namespace canvas {

// A place in a text, both numbers counted from 1; line 0 means "no place".
struct Span {
  int line = 0;
  int column = 0;
};

// Why something is not legal: the broken constraint's label ("unfold C2"), what is required, what was found, what to try.
struct Fault {
  Fault() = default;
  // Out of line and cold: what leads here is laid apart from what is done over and over.
  [[gnu::cold]] Fault(std::string label, std::string required, std::string got, std::string hint);

  std::string label = {};
  std::string required = {};
  std::string got = {};
  std::string hint = {};

  // "unfold C2: the window must be odd, got 4; use 3 or 5"
  std::string str() const;
};

// Either a value or the Fault that says why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(const T& value) : state_(value) {}
  Result(T&& value) : state_(std::move(value)) {}
  Result(Fault fault) : state_(std::move(fault)) {}
  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() { return std::get<0>(state_); }
  const T& operator*() const { return std::get<0>(state_); }
  T* operator->() { return &std::get<0>(state_); }
  const T* operator->() const { return &std::get<0>(state_); }
  const Fault& fault() const { return std::get<1>(state_); }

 private:
  std::variant<T, Fault> state_;
};

// A mistake in a kernel text or in the use of a kernel. what() is "file:line:column: label: required, got; hint", and below it
// the line itself with a caret where the text is at hand.
class KernelError : public std::runtime_error {
 public:
  KernelError(const std::string& file, Span span, const Fault& fault, const std::string& source_line = "");
};

// The kernel is legal, but no sizes exist for these layers and budgets; what() is the reason.
class Infeasible : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// An argument out of range (a layer of zero channels, a budget below zero).
class ArgumentError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A broken invariant of Canvas itself; checked in release builds too.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] void fail_internally(const char* what);

// Throws InternalError with `what` unless `condition` holds.
inline void require(bool condition, const char* what) {
  if (!condition) [[unlikely]]
    fail_internally(what);
}

}  // namespace canvas

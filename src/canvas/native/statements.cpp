#include "canvas/native/statements.h"

#include <algorithm>

#include "canvas/emit/python.h"
#include "canvas/native/tile_writer.h"

namespace canvas::native {

using std::to_string;

std::string text_of(const std::vector<Statement>& statements, bool any_order) {
  std::string text;
  std::vector<std::string> open;
  const auto indent = [&] { return std::string(2 + 2 * open.size(), ' '); };
  const auto close = [&](size_t kept) {
    while (open.size() > kept) {
      open.pop_back();
      text += indent() + "}\n";
    }
  };
  for (const Statement& statement : statements) {
    const auto differ = std::mismatch(open.begin(), open.end(), statement.heads.begin(), statement.heads.end());
    const bool equal = differ.first == open.end() && differ.second == statement.heads.end();
    close(statement.near || (any_order && equal) ? static_cast<size_t>(differ.first - open.begin()) : 0);
    while (open.size() < statement.heads.size()) {
      const std::string& head = statement.heads[open.size()];
      text += indent() + head + "{\n";
      open.push_back(head);
    }
    text += indent() + statement.call;
  }
  close(0);
  return text;
}

void Call::forward(const Step& by) {
  for (size_t operand = 0; operand < operands_.size(); ++operand)
    if (by(operand) != 0) operands_[operand] += " + " + to_string(by(operand));
}

void Call::around(const std::string& index, Range steps, int64_t all, bool shared, bool again, const Step& step) {
  if (!shared && steps.count() == 1) return forward([&](size_t operand) { return steps.first * step(operand); });
  std::string from = to_string(all) + " * t / n", to = to_string(all) + " * (t + 1) / n";
  if (steps.first > 0) from = "larger<long>(" + to_string(steps.first) + ", " + from + ")";
  if (steps.last + 1 < all) to = "smaller<long>(" + to_string(steps.last + 1) + ", " + to + ")";
  heads_.push_back(shared ? "for (long " + index + " = " + from + "; " + index + " < " + to + "; " + index + "++) "
                          : loop_text(index, steps.last + 1, 1, steps.first));
  shared_ = shared_ || shared;
  if (again) again_.push_back(index);
  if (again) first_ += steps.first;
  for (size_t operand = 0; operand < operands_.size(); ++operand) operands_[operand] += step_text(index, step(operand));
}

std::string Call::either(const std::string& first, const std::string& other) const {
  return "(" + join(again_, " + ") + " == " + to_string(first_) + " ? " + first + " : " + other + ")";
}

Statement Call::of(const std::string& function, bool near) const {
  Statement made{heads_, function + "(" + join(operands_) + ");\n", near};
  if (!shared_) made.heads.insert(made.heads.begin(), "if (t == 0) ");
  return made;
}

}  // namespace canvas::native

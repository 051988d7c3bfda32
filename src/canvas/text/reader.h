// Walks the tokens of one text and reads its smallest parts: names, whole numbers, sizes, axes and lists of them. The parser
// puts statements together from these. Whatever is not as it must be is thrown as a KernelError with its place.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "canvas/ir/kernel.h"
#include "canvas/text/lexer.h"

namespace canvas {

// A size as it stands in a text, and the identifier that it starts with (empty: a number).
struct SizeText {
  Size size;
  std::string first;
};

class Reader {
 public:
  // Both must outlive the reader.
  Reader(const std::string& text, const std::string& file);

  [[noreturn]] void fail(Span span, const Fault& fault) const;
  // Fails at the next token: `required`, got that token. A bad character there is reported as such.
  [[noreturn]] void unexpected(const std::string& required, const std::string& hint = "") const;

  const std::vector<Token>& tokens() const { return tokens_.list; }
  const Token& peek(size_t ahead = 0) const;
  Token take();
  bool accept(std::string_view symbol);
  Token expect(std::string_view symbol, const std::string& context);
  void expect_newline();

  // A name that is no keyword; `what` says what it names.
  Token name(const std::string& what);
  // "3", "-1", "+2": below 2^31 either way; nothing where something else stands.
  std::optional<int> integer();

  // "2*C/r". An identifier that is no variable yet becomes a dynamic one.
  SizeText size(Variables& variables);
  // "m = 2*C/r" or "C/r".
  Axis axis(Variables& variables);
  // "[m, H/s]"; roles are kChannel.
  Axes axes(Variables& variables);
  // "[h, w]".
  AxisNames axis_names();

  // Before the next entry of a list that `open` began: true after a comma, false after `close`.
  bool more(const Token& open, std::string_view close);

 private:
  Size factor(Variables& variables, std::string& first);

  const std::string& text_;
  const std::string& file_;
  Tokens tokens_;
  size_t at_ = 0;
};

}  // namespace canvas

#include "canvas/text/reader.h"

#include <algorithm>
#include <charconv>

#include "canvas/text/names.h"

namespace canvas {

namespace {

constexpr size_t kMostEntries = 16;  // a value has no more axes

std::string shown(const Token& token) {
  switch (token.kind) {
    case TokenKind::kNewline: return "the end of the line";
    case TokenKind::kEnd: return "the end of the text";
    case TokenKind::kNumber:
      return token.text.size() > 20 ? "a number of " + std::to_string(token.text.size()) + " digits"
                                    : quoted(token.text);
    default: return quoted(token.text);
  }
}

// The number that the token is, or nothing where it needs more than 63 bits.
std::optional<int64_t> value_of(const Token& token) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

}  // namespace

Reader::Reader(const std::string& text, const std::string& file) : text_(text), file_(file) {
  constexpr size_t kLongest = 1 << 20;
  if (text.size() > kLongest) {
    throw KernelError(file, {},
                      {"text", "a kernel text has at most 1 MB (1048576 bytes)", std::to_string(text.size()), ""});
  }
  tokens_ = lex(text);
}

void Reader::fail(Span span, const Fault& fault) const {
  throw KernelError(file_, span, fault, source_line(text_, span.line));
}

void Reader::unexpected(const std::string& required, const std::string& hint) const {
  const Token& token = peek();
  const Token& next = peek(1);
  if (token.kind == TokenKind::kBad) fail(token.span, tokens_.fault);
  const Span end{token.span.line, token.span.column + static_cast<int>(token.text.size())};
  if (next.kind == TokenKind::kBad && next.span.line == end.line && next.span.column == end.column)
    fail(end, tokens_.fault);
  fail(token.span, {"syntax", required + " is required", shown(token), hint});
}

const Token& Reader::peek(size_t ahead) const { return tokens_.list[std::min(at_ + ahead, tokens_.list.size() - 1)]; }

Token Reader::take() {
  const Token token = peek();
  if (at_ + 1 < tokens_.list.size()) ++at_;
  return token;
}

bool Reader::accept(std::string_view symbol) {
  if (!peek().is(symbol)) return false;
  take();
  return true;
}

Token Reader::expect(std::string_view symbol, const std::string& context) {
  if (!peek().is(symbol)) unexpected(quoted(symbol) + " " + context);
  return take();
}

void Reader::expect_newline() {
  if (peek().kind != TokenKind::kNewline) unexpected("the end of the line");
  take();
}

Token Reader::name(const std::string& what) {
  if (peek().kind != TokenKind::kName) unexpected(what);
  if (peek().is_word("kernel") || peek().is_word("return")) {
    unexpected(what, quoted(peek().text) + " is a word of the language and names nothing");
  }
  return take();
}

std::optional<int> Reader::integer() {
  const bool has_sign = peek().is("-") || peek().is("+");
  if (peek(has_sign).kind != TokenKind::kNumber) return std::nullopt;
  const Span span = peek().span;
  const bool negative = peek().is("-");
  if (has_sign) take();
  const auto value = value_of(take());
  if (!value || *value > INT32_MAX) {
    fail(span, {"syntax", "an offset or a dilation lies between -2147483647 and 2147483647",
                "a number that is too large", ""});
  }
  return static_cast<int>(negative ? -*value : *value);
}

Size Reader::factor(Variables& variables, std::string& first) {
  const Token token = peek();
  if (token.kind == TokenKind::kNumber) {
    const auto value = value_of(take());
    if (!value) fail(token.span, {"size", "a size must fit a 64-bit integer", "a number that is too large", ""});
    if (*value == 0) fail(token.span, {"size", "a size is a positive integer", "0", ""});
    return Size::constant(*value);
  }
  if (token.is("-")) unexpected("a positive size");
  first = std::string(name("a size such as 3, C or 2*C/r").text);
  int variable = variables.find(first);
  if (variable < 0) variable = variables.add(first);
  if (variable < 0) {
    fail(token.span, {"size", "a kernel has at most 8 dynamic variables", "a ninth, " + quoted(first),
                      "use one of those that it has"});
  }
  return Size::variable(variable);
}

SizeText Reader::size(Variables& variables) {
  SizeText result;
  const Span span = peek().span;
  result.size = factor(variables, result.first);
  while (peek().is("*") || peek().is("/")) {
    const bool divides = take().is("/");
    std::string ignored;
    const Size next = factor(variables, ignored);
    result.size = divides ? result.size / next : result.size * next;
    if (!result.size.valid()) {
      fail(span, {"size", "a size must fit a 64-bit integer", "a product that is too large", ""});
    }
  }
  return result;
}

Axis Reader::axis(Variables& variables) {
  const Token start = peek();
  if (start.kind == TokenKind::kName && peek(1).is("=")) {
    const std::string axis_name(name("an axis").text);
    take();
    return {axis_name, size(variables).size, Role::kChannel};
  }
  SizeText text = size(variables);
  if (text.first.empty()) {
    fail(start.span, {"syntax", "an axis whose size starts with a number needs a name", quoted(start.text),
                      "write NAME = " + std::string(start.text)});
  }
  return {std::move(text.first), text.size, Role::kChannel};
}

Axes Reader::axes(Variables& variables) {
  Axes list;
  const Token open = expect("[", "before a list of axes");
  if (accept("]")) return list;
  do {
    if (list.size() == kMostEntries) fail(peek().span, {"syntax", "a list has at most 16 entries", "more", ""});
    list.push_back(axis(variables));
  } while (more(open, "]"));
  return list;
}

AxisNames Reader::axis_names() {
  AxisNames list;
  const Token open = expect("[", "before a list of axes");
  if (accept("]")) return list;
  do {
    if (list.size() == kMostEntries) fail(peek().span, {"syntax", "a list has at most 16 entries", "more", ""});
    list.emplace_back(name("the name of an axis").text);
  } while (more(open, "]"));
  return list;
}

bool Reader::more(const Token& open, std::string_view close) {
  if (accept(",")) return true;
  if (accept(close)) return false;
  const bool next_line =
      at_ > 0 && peek().kind != TokenKind::kBad && peek().span.line > tokens_.list[at_ - 1].span.line;
  if (next_line || peek().kind == TokenKind::kNewline) {
    fail(open.span, {"syntax", quoted(open.text) + " must be closed", "the end of the line", "add " + quoted(close)});
  }
  unexpected("',' or " + quoted(close));
}

}  // namespace canvas

#include "canvas/text/lexer.h"

#include <cstdint>
#include <cstdio>

namespace canvas {

namespace {

constexpr size_t kLongestName = 64;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool ends_line(char c) { return c == '\n' || c == '\r'; }

std::string_view without_mark(std::string_view text) {
  constexpr std::string_view kMark = "\xef\xbb\xbf";
  return text.substr(0, kMark.size()) == kMark ? text.substr(kMark.size()) : text;
}

// Number of bytes of the UTF-8 character at the front of `text`, or 0 where it is none. Sets `code`.
size_t decode(std::string_view text, uint32_t& code) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(text[i])); };
  const uint32_t lead = byte(0);
  const size_t length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (length == 0 || length > text.size()) return 0;
  code = length == 1 ? lead : lead & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  return overlong || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff ? 0 : length;
}

// The character at the front of `text` in ASCII: "%", "\x00", "\u00e9", "\U0001f600"; "\xff" for a byte that is no UTF-8.
std::string escaped(std::string_view text) {
  uint32_t code = 0;
  const bool valid = decode(text, code) > 0;
  if (!valid) code = static_cast<unsigned char>(text[0]);
  if (valid && code > 0x20 && code < 0x7f) return std::string(1, static_cast<char>(code));
  char buffer[16];
  const char* format = !valid || code < 0x80 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x";
  std::snprintf(buffer, sizeof buffer, format, static_cast<unsigned>(code));
  return buffer;
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(without_mark(text)) {}

  Tokens run() {
    while (at_ < text_.size() && tokens_.fault.label.empty()) step();
    if (!tokens_.fault.label.empty()) return std::move(tokens_);
    newline(0);
    tokens_.list.push_back({TokenKind::kEnd, {}, tokens_.list.empty() ? Span{1, 1} : tokens_.list.back().span});
    return std::move(tokens_);
  }

 private:
  void step() {
    const char c = text_[at_];
    if (c == ' ' || c == '\t') {
      ++at_;
    } else if (c == '#') {
      while (at_ < text_.size() && !ends_line(text_[at_])) ++at_;
    } else if (ends_line(c)) {
      newline(text_.substr(at_, 2) == "\r\n" ? 2 : 1);
    } else if (is_letter(c)) {
      word();
    } else if (is_digit(c)) {
      size_t end = at_;
      while (end < text_.size() && is_digit(text_[end])) ++end;
      push(TokenKind::kNumber, end - at_);
    } else {
      symbol();
    }
  }

  Span here() const { return {line_, static_cast<int>(at_ - line_start_) + 1}; }

  void push(TokenKind kind, size_t length) {
    tokens_.list.push_back({kind, text_.substr(at_, length), here()});
    at_ += length;
  }

  void bad(Fault fault) {
    tokens_.fault = std::move(fault);
    tokens_.list.push_back({TokenKind::kBad, text_.substr(at_, 1), here()});
  }

  // Ends the line with a mark of `length` bytes. The token stands right behind the last one, so that messages point there.
  void newline(size_t length) {
    if (!tokens_.list.empty() && tokens_.list.back().kind != TokenKind::kNewline && (depth_ == 0 || length == 0)) {
      const Token& last = tokens_.list.back();
      const Span span{last.span.line, last.span.column + static_cast<int>(last.text.size())};
      tokens_.list.push_back({TokenKind::kNewline, {}, span});
    }
    at_ += length;
    line_start_ = at_;
    ++line_;
  }

  void word() {
    size_t end = at_;
    while (end < text_.size() && (is_letter(text_[end]) || is_digit(text_[end]))) ++end;
    if (end - at_ > kLongestName) {
      bad({"syntax", "a name has at most " + std::to_string(kLongestName) + " characters", std::to_string(end - at_),
           ""});
      return;
    }
    push(TokenKind::kName, end - at_);
  }

  void symbol() {
    const char c = text_[at_];
    if (text_.substr(at_, 2) == "->") return push(TokenKind::kSymbol, 2);
    if (std::string_view("()[],:=*/+-").find(c) == std::string_view::npos) {
      bad({"syntax", "a kernel is written in letters, digits, _ and ( ) [ ] , : = * / + - -> #",
           "the character " + escaped(text_.substr(at_, 4)), ""});
      return;
    }
    if (c == '(' || c == '[') ++depth_;
    if ((c == ')' || c == ']') && depth_ > 0) --depth_;
    push(TokenKind::kSymbol, 1);
  }

  std::string_view text_;
  Tokens tokens_;
  size_t at_ = 0;
  size_t line_start_ = 0;
  int line_ = 1;
  int depth_ = 0;
};

}  // namespace

Tokens lex(std::string_view text) { return Lexer(text).run(); }

std::string source_line(std::string_view text, int number) {
  text = without_mark(text);
  size_t at = 0;
  for (int line = 1; line < number && at < text.size(); ++line) {
    while (at < text.size() && !ends_line(text[at])) ++at;
    at += text.substr(at, 2) == "\r\n" ? 2 : 1;
  }
  std::string shown;
  while (at < text.size() && !ends_line(text[at])) {
    uint32_t code = 0;
    const size_t length = decode(text.substr(at), code);
    const bool printable = length == 1 && code >= 0x20 && code < 0x7f;
    shown += printable ? text[at] : text[at] == '\t' ? ' ' : '?';
    at += length == 0 ? 1 : length;
  }
  return shown;
}

}  // namespace canvas

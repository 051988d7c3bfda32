// Cuts a kernel text into tokens. Called by the parser alone; never looks at what the tokens mean, and never fails: a character
// that no token may hold ends the tokens with one of kind kBad, which the parser reports when it gets there.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "canvas/base/error.h"

namespace canvas {

enum class TokenKind {
  kName,     // a letter or _, then letters, digits or _
  kNumber,   // digits
  kSymbol,   // ( ) [ ] , : = * / + - ->
  kNewline,  // the end of a line that holds tokens; none inside ( ) and [ ]
  kEnd,
  kBad,
};

struct Token {
  TokenKind kind;
  std::string_view text;  // into the text that was given to lex()
  Span span;

  bool is(std::string_view symbol) const { return kind == TokenKind::kSymbol && text == symbol; }
  bool is_word(std::string_view word) const { return kind == TokenKind::kName && text == word; }
};

struct Tokens {
  std::vector<Token> list;  // ends in kEnd or kBad
  Fault fault;              // what is wrong with the token of kind kBad
};

// The tokens of `text`, in time linear in its length. Lines end in \n, \r\n or \r; a byte order mark in front is skipped.
Tokens lex(std::string_view text);

// Line `number` (from 1) of the text, made fit to print: a tab is a space, and whatever is not printable ASCII is a "?".
std::string source_line(std::string_view text, int number);

}  // namespace canvas

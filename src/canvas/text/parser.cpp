#include "canvas/text/parser.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "canvas/ir/builder.h"
#include "canvas/prims/registry.h"
#include "canvas/text/names.h"
#include "canvas/text/reader.h"
#include "canvas/text/usage.h"

namespace canvas {

namespace {

constexpr int kDeepest = 64;

// One `AXIS: value` whose meaning is known at the end of the call only.
struct ItemText {
  AxisItem item;
  std::optional<int> offset;  // the value where it is a whole number alone
  Span axis;
  Span value;
};

struct Call {
  const Primitive& primitive;
  Span span;  // of the primitive's name
  Inputs inputs = {};
  Attributes attributes = {};
  std::vector<ItemText> items = {};
  std::unordered_set<std::string> given = {};  // parts that may stand once
};

class Parser {
 public:
  Parser(const std::string& text, const std::string& file) : read_(text, file) {}
  Kernel kernel();

 private:
  void signature();
  void statement();
  Kernel result(const std::string& name);

  int value(int depth);
  int call(const std::string& name, int depth);
  void argument(Call& call, int depth);
  void once(Call& call, const std::string& part, Span span);
  void list(Call& call);
  void keyed(Call& call);
  void item(Call& call);
  void settle(Call& call);
  void settle_item(Call& call, const ItemText& text);
  void check_extents(const Call& call) const;
  int operand();
  std::string fresh_name();
  [[noreturn]] void refuse(const Call& call, Span span, const std::string& got) const;

  struct Place {
    int value;
    Span span;
  };

  Reader read_;
  std::optional<Builder> builder_;
  std::unordered_map<std::string, Place> values_;  // defined so far
  std::unordered_map<std::string, int> lines_;     // every name that the text defines, and where
  size_t next_fresh_ = 0;
};

Kernel Parser::kernel() {
  if (!read_.peek().is_word("kernel")) read_.unexpected("a first line 'kernel NAME(x[C, H, W]) -> [K, H/s, W/s]:'");
  read_.take();
  const std::string name(read_.name("the kernel's name").text);
  signature();
  const std::vector<Token>& tokens = read_.tokens();
  for (size_t i = 1; i + 1 < tokens.size(); ++i) {
    if (tokens[i - 1].kind == TokenKind::kNewline && tokens[i].kind == TokenKind::kName && tokens[i + 1].is("=")) {
      lines_.try_emplace(std::string(tokens[i].text), tokens[i].span.line);
    }
  }
  while (!read_.peek().is_word("return")) statement();
  return result(name);
}

// "(x[C, H, W]) -> [K, H/s, W/s]:". The axis whose size has C (input) or K (result) is the channel axis, the others are spatial.
void Parser::signature() {
  Signature signature;
  Variables variables;
  read_.expect("(", "after the kernel's name");
  const Token input = read_.name("the input's name");
  signature.input = input.text;
  signature.from = read_.axes(variables);
  read_.expect(")", "after the input's axes");
  read_.expect("->", "before the axes of the result");
  const Span result = read_.peek().span;
  signature.to = read_.axes(variables);
  read_.expect(":", "after the signature");
  read_.expect_newline();
  for (Axis& axis : signature.from) axis.role = axis.size.exponent(kC) != 0 ? Role::kChannel : Role::kSpatial;
  for (Axis& axis : signature.to) axis.role = axis.size.exponent(kK) != 0 ? Role::kChannel : Role::kSpatial;
  // The input side alone first, to know which side to point at.
  if (auto fault = check_signature({signature.input, signature.from, signature.from}, variables)) {
    read_.fail(input.span, *fault);
  }
  if (auto fault = check_signature(signature, variables)) read_.fail(result, *fault);
  values_[signature.input] = {0, input.span};
  lines_[signature.input] = input.span.line;
  builder_.emplace(std::move(signature), std::move(variables));
}

// "u = unfold(x, H: 3)".
void Parser::statement() {
  if (read_.peek().kind == TokenKind::kEnd) read_.unexpected("a last line 'return VALUE'");
  const Token token = read_.name("a statement 'NAME = PRIMITIVE(...)' or 'return VALUE'");
  const std::string name(token.text);
  read_.expect("=", "after the value's name");
  const auto earlier = values_.find(name);
  if (earlier != values_.end()) {
    read_.fail(token.span,
               {"name", "a name is defined once", "a second " + quoted(name),
                "the first stands in line " + std::to_string(earlier->second.span.line) + "; choose another name"});
  }
  if (read_.peek().kind != TokenKind::kName || !read_.peek(1).is("(")) read_.unexpected("a primitive's call");
  const int made = call(name, 0);
  read_.expect_newline();
  values_[name] = {made, token.span};
}

Kernel Parser::result(const std::string& name) {
  const Token word = read_.take();
  const int returned = value(0);
  read_.expect_newline();
  if (read_.peek().kind != TokenKind::kEnd) {
    read_.fail(read_.peek().span,
               {"syntax", "'return' stands in the last line", "a line after it", "delete that line"});
  }
  for (int loose : builder_->loose()) {
    const auto& unused = builder_->nodes()[static_cast<size_t>(loose)].name;
    if (loose == returned) continue;
    read_.fail(values_.at(unused).span,
               {"verify", "every value must be used", unused + " unused", "use it or delete its line"});
  }
  auto kernel = builder_->finish(name);
  if (!kernel) read_.fail(word.span, kernel.fault());
  return *kernel;
}

// A call or the name of a value; gives its index.
int Parser::value(int depth) {
  if (read_.peek().kind == TokenKind::kName && read_.peek(1).is("(")) return call("", depth);
  return operand();
}

int Parser::operand() {
  const Token token = read_.name("a value or a primitive's call");
  const std::string name(token.text);
  const auto found = values_.find(name);
  if (found != values_.end()) return found->second.value;
  const auto later = lines_.find(name);
  std::string hint = "define it in a line above";
  if (later != lines_.end()) {
    hint = "it is defined in line " + std::to_string(later->second);
    if (later->second == token.span.line) hint = "a value cannot use itself";
  } else {
    std::vector<std::string> names;
    for (const auto& [known, place] : values_) names.push_back(known);
    std::sort(names.begin(), names.end());
    const std::string meant = nearest(name, names);
    if (!meant.empty()) hint = "did you mean " + meant + "?";
  }
  read_.fail(token.span, {"name", "a value must be defined before it is used", quoted(name), hint});
}

// "v3": of the index of the next value, or the next number that no name of the text has.
std::string Parser::fresh_name() {
  next_fresh_ = std::max(next_fresh_, builder_->nodes().size());
  while (lines_.contains("v" + std::to_string(next_fresh_))) ++next_fresh_;
  return "v" + std::to_string(next_fresh_++);
}

int Parser::call(const std::string& name, int depth) {
  const Token token = read_.name("a primitive");
  if (depth >= kDeepest) {
    read_.fail(token.span, {"syntax", "calls nest at most " + std::to_string(kDeepest) + " deep", "more",
                            "name a value in a line of its own"});
  }
  const Primitive* primitive = find_primitive(std::string(token.text));
  if (!primitive) {
    std::vector<std::string> names;
    for (const Primitive* known : primitives()) names.push_back(known->name);
    const std::string meant = nearest(std::string(token.text), names);
    std::string hint = "did you mean " + meant + "?";
    if (meant.empty()) {
      hint = "one of";
      for (const std::string& known : names) hint += " " + known;
    }
    read_.fail(token.span, {"name", "a primitive is required", quoted(token.text), hint});
  }
  Call call{*primitive, token.span};
  const Token open = read_.expect("(", "after the primitive");
  if (!read_.accept(")")) {
    do argument(call, depth);
    while (read_.more(open, ")"));
  }
  settle(call);
  check_extents(call);
  auto made =
      builder_->add(*primitive, std::move(call.inputs), std::move(call.attributes), name.empty() ? fresh_name() : name);
  if (!made) read_.fail(token.span, made.fault());
  return *made;
}

void Parser::refuse(const Call& call, Span span, const std::string& got) const {
  read_.fail(span, {call.primitive.name, "the call is " + usage(call.primitive), got, ""});
}

void Parser::once(Call& call, const std::string& part, Span span) {
  if (!call.given.insert(part).second) {
    read_.fail(span, {call.primitive.name, "an argument is given once", "a second " + part, ""});
  }
}

void Parser::argument(Call& call, int depth) {
  const Token token = read_.peek();
  if (token.is("[")) {
    if (!has_list(call.primitive)) refuse(call, token.span, "a list of axes");
    if (call.primitive.takes(kModes)) refuse(call, token.span, "a list without a word before it");
    once(call, "list of axes", token.span);
    return list(call);
  }
  if (token.kind == TokenKind::kName && read_.peek(1).is(":")) return keyed(call);
  if (token.kind == TokenKind::kNumber) refuse(call, token.span, "a number");
  const int widest = call.primitive.widest();
  if (static_cast<int>(call.inputs.size()) == widest && token.kind == TokenKind::kName) {
    refuse(call, token.span, widest == 1 ? "a second value" : widest == 2 ? "a third value" : "more values");
  }
  call.inputs.push_back(value(depth + 1));
}

void Parser::list(Call& call) {
  if (call.primitive.takes(kNew)) {
    for (const Name& name : read_.axis_names()) call.attributes.to.push_back({name, Size(), Role::kChannel});
    return;
  }
  call.attributes.from = read_.axis_names();
  if (call.primitive.takes(kArrow)) {
    read_.expect("->", "and the new axes");
    call.attributes.to = read_.axes(builder_->variables());
  } else if (read_.peek().is("->")) {
    refuse(call, read_.peek().span, "'->'");
  }
}

// `per: [...]`, `mean: [...]`, `dilation: 2` or `AXIS: value`.
void Parser::keyed(Call& call) {
  const Token key = read_.peek();
  const Primitive& primitive = call.primitive;
  if (primitive.takes(kDilation) && key.is_word("dilation")) {
    once(call, "dilation", key.span);
    read_.take(), read_.take();
    const auto number = read_.integer();
    if (!number) read_.unexpected("a whole number");
    call.attributes.dilation = *number;
    return;
  }
  if (primitive.takes(kPer) && key.is_word(primitive.per_key)) {
    once(call, primitive.per_key, key.span);
    read_.take(), read_.take();
    call.attributes.per = read_.axis_names();
    return;
  }
  const auto& modes = primitive.modes;
  const auto mode = std::find_if(modes.begin(), modes.end(), [&](const char* word) { return key.is_word(word); });
  if (primitive.takes(kModes) && mode != modes.end()) {
    once(call, "list of axes", key.span);
    read_.take(), read_.take();
    call.attributes.mode = static_cast<int>(mode - modes.begin());
    return list(call);
  }
  const bool other_key = read_.peek(2).is("[") || key.is_word("dilation");
  if (!primitive.takes(kItems) || other_key) refuse(call, key.span, quoted(std::string(key.text) + ":"));
  item(call);
}

// "H: 3", "H: h = 3", "W: -1", "H: s".
void Parser::item(Call& call) {
  if (call.items.size() == 16)
    read_.fail(read_.peek().span, {"syntax", "a call has at most 16 entries 'AXIS: SIZE'", "more", ""});
  ItemText text;
  const Token axis = read_.name("the name of an axis");
  text.item.axis = axis.text;
  text.axis = axis.span;
  read_.take();
  if (read_.peek(1).is("=")) {
    if (!call.primitive.takes(kMade)) refuse(call, read_.peek().span, "a name for an axis");
    text.item.made = read_.name("the new axis's name").text;
    read_.take();
  }
  text.value = read_.peek().span;
  const bool has_sign = read_.peek().is("-") || read_.peek().is("+");
  const Token& after = read_.peek(has_sign ? 2 : 1);
  const bool counts = call.primitive.takes(kOffsets) || call.primitive.takes(kIndices);
  if (counts && (has_sign || after.is(",") || after.is(")"))) text.offset = read_.integer();
  if (!text.offset && has_sign) read_.unexpected(counts ? "a number after the sign" : "a positive size");
  if (!text.offset) text.item.amount = read_.size(builder_->variables()).size;
  call.items.push_back(std::move(text));
}

// What only the whole call decides: whether all is there, what items mean, and the names of axes that were not named.
void Parser::settle(Call& call) {
  const Primitive& primitive = call.primitive;
  const int operands = static_cast<int>(call.inputs.size());
  if (operands < primitive.arity) refuse(call, call.span, operands == 0 ? "no value" : "one value");
  if (has_list(primitive) && !call.given.contains("list of axes")) refuse(call, call.span, "no list of axes");
  for (const ItemText& text : call.items) settle_item(call, text);
}

void Parser::settle_item(Call& call, const ItemText& text) {
  AxisItem item = text.item;
  if (has_numbers(call.primitive, call.attributes)) {
    const char* what = call.primitive.takes(kOffsets) ? "an offset is a whole number" : "a position is a whole number";
    if (!text.offset) read_.fail(text.value, {call.primitive.name, what, "a size", ""});
    item.offset = *text.offset;
  } else if (text.offset) {
    if (*text.offset <= 0) {
      read_.fail(text.value, {"size", "a size is a positive integer", std::to_string(*text.offset), ""});
    }
    item.amount = Size::constant(*text.offset);
  }
  if (call.primitive.takes(kMade) && item.made.empty()) {
    std::string made = item.axis;
    for (char& c : made) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    item.made = made;
    const Axes& axes = builder_->axes(call.inputs[0]);
    if (has_axis(axes, item.axis) && has_axis(axes, item.made)) {
      read_.fail(text.axis,
                 {call.primitive.name, "the new axis needs a name", item.made + ", which the operand has already",
                  "write " + item.axis + ": NAME = " + to_string(item.amount, builder_->variables())});
    }
  }
  call.attributes.items.push_back(std::move(item));
}

// Sizes may use those of D, H, W and T that the signature has: no layer sets the others.
void Parser::check_extents(const Call& call) const {
  std::vector<Size> sizes;
  for (const Axis& axis : call.attributes.to) sizes.push_back(axis.size);
  for (const AxisItem& item : call.attributes.items) sizes.push_back(item.amount);
  for (int v = kD; v <= kT; ++v) {
    if (builder_->signature().has_extent(v)) continue;
    if (std::none_of(sizes.begin(), sizes.end(), [&](const Size& size) { return size.exponent(v) != 0; })) continue;
    read_.fail(
        call.span,
        {"size", "an extent must be one of the input's " + to_string(builder_->signature().from, builder_->variables()),
         builder_->variables().name(v), "a free size has another name, such as g"});
  }
}

}  // namespace

Kernel parse(const std::string& text, const std::string& file) { return Parser(text, file).kernel(); }

}  // namespace canvas

#include "canvas/text/printer.h"

#include <array>

#include "canvas/ir/primitive.h"
#include "canvas/text/names.h"
#include "canvas/text/usage.h"

namespace canvas {

namespace {

// Sizes print with their variables in the order in which the text names them first, which is the order in which the parser will
// number them: only then does what is printed, read and printed again stay the same.
class Sizes {
 public:
  explicit Sizes(const Kernel& kernel) {
    place_.fill(-1);
    for (int v = 0; v < kFirstDynamic; ++v) place_[static_cast<size_t>(v)] = v;
    for (const Node& node : kernel.nodes()) {
      for (const Axis& axis : node.attributes.to) meet(axis.size, kernel.variables());
      for (const AxisItem& item : node.attributes.items) meet(item.amount, kernel.variables());
    }
  }

  std::string text(const Axes& axes) const {
    Axes moved = axes;
    for (Axis& axis : moved) axis.size = move(axis.size);
    return to_string(moved, variables_);
  }
  std::string text(const Size& size) const { return to_string(move(size), variables_); }

 private:
  void meet(const Size& size, const Variables& variables) {
    for (int sign : {1, -1}) {  // as printed: what multiplies before what divides
      for (int v = kFirstDynamic; v < variables.count(); ++v) {
        int& place = place_[static_cast<size_t>(v)];
        if (place < 0 && size.exponent(v) * sign > 0) place = variables_.add(variables.name(v));
      }
    }
  }

  Size move(const Size& size) const {
    Size moved = Size::constant(size.numerator(), size.denominator());
    for (int v = 0; v < kMaxVariables; ++v) {
      if (size.exponent(v) != 0) moved = moved * Size::variable(place_[static_cast<size_t>(v)], size.exponent(v));
    }
    return moved;
  }

  Variables variables_;
  std::array<int, kMaxVariables> place_{};
};

std::string list(const AxisNames& names) {
  std::string text = "[";
  for (const Name& name : names) text += (text.size() > 1 ? ", " : "") + name;
  return text + "]";
}

std::string call(const Kernel& kernel, const Node& node, const Sizes& sizes) {
  const Primitive& primitive = *node.primitive;
  const Attributes& attributes = node.attributes;
  std::string text = std::string(primitive.name) + "(";
  for (int input : node.inputs) text += (text.back() == '(' ? "" : ", ") + kernel.node(input).name;
  if (primitive.takes(kModes)) {
    text += std::string(", ") + primitive.modes[static_cast<size_t>(attributes.mode)] + ": " + list(attributes.from);
  } else if (primitive.takes(kNew)) {
    text += ", " + list({attributes.to[0].name});
  } else if (has_list(primitive)) {
    text += ", " + list(attributes.from);
  }
  if (primitive.takes(kArrow)) text += " -> " + sizes.text(attributes.to);
  for (const AxisItem& item : attributes.items) {
    text += ", " + item.axis + ": ";
    if (primitive.takes(kMade) && item.made != lowered(item.axis)) text += item.made + " = ";
    text += has_numbers(primitive, attributes) ? std::to_string(item.offset) : sizes.text(item.amount);
  }
  if (!attributes.per.empty()) text += std::string(", ") + primitive.per_key + ": " + list(attributes.per);
  if (attributes.dilation != 1) text += ", dilation: " + std::to_string(attributes.dilation);
  return text + ")";
}

}  // namespace

std::string print(const Kernel& kernel) {
  const Sizes sizes(kernel);
  const Signature& signature = kernel.signature();
  std::string text = "kernel " + kernel.name() + "(" + signature.input + sizes.text(signature.from) + ") -> " +
                     sizes.text(signature.to) + ":\n";
  for (int value = 1; value <= kernel.output(); ++value) {
    const Node& node = kernel.node(value);
    text += value == kernel.output() ? "  return " : "  " + node.name + " = ";
    text += call(kernel, node, sizes) + "\n";
  }
  return text;
}

std::string print_call(const Kernel& kernel, const Node& node) { return call(kernel, node, Sizes(kernel)); }

}  // namespace canvas

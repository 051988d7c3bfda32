#include "canvas/emit/dot.h"

#include "canvas/ir/primitive.h"
#include "canvas/text/printer.h"

namespace canvas {

namespace {

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (char letter : text) {
    if (letter == '"' || letter == '\\') result += '\\';
    result += letter;
  }
  return result + "\"";
}

// "fc\n[h, w] -> []\nper: [C]": the primitive's name above what it is told besides its operands.
std::string label_of(const Kernel& kernel, const Node& node) {
  const std::string call = print_call(kernel, node);
  std::string operands;
  for (int input : node.inputs) operands += (operands.empty() ? "" : ", ") + kernel.node(input).name;
  const std::string head = std::string(node.primitive->name) + "(" + operands;
  std::string rest =
      call.rfind(head, 0) == 0 && call.back() == ')' ? call.substr(head.size(), call.size() - head.size() - 1) : "";
  if (rest.rfind(", ", 0) == 0) rest.erase(0, 2);
  return rest.empty() ? quoted(node.primitive->name) : quoted(std::string(node.primitive->name) + "\n" + rest);
}

}  // namespace

std::string emit_dot(const Kernel& kernel) {
  const auto place = [](int value) { return "v" + std::to_string(value); };
  const auto axes_of = [&](int value) {
    return quoted(" " + to_string(kernel.node(value).axes, kernel.variables()) + " ");
  };
  std::string text =
      "digraph " + quoted(kernel.name()) +
      " {\n"
      "  graph [rankdir=TB, bgcolor=\"white\", nodesep=0.35, ranksep=0.4];\n"
      "  node [shape=box, style=\"rounded,filled\", fillcolor=\"#f4f4f5\", color=\"#a1a1aa\", fontcolor=\"#18181b\", "
      "fontname=\"Helvetica,Arial,sans-serif\", fontsize=12, margin=\"0.16,0.08\"];\n"
      "  edge [color=\"#71717a\", fontcolor=\"#52525b\", fontname=\"Helvetica,Arial,sans-serif\", fontsize=10, "
      "arrowsize=0.7];\n";
  const std::string end_style = "shape=ellipse, style=filled, fillcolor=\"#e0f2fe\", color=\"#0284c7\"";
  text += "  " + place(0) + " [label=" + quoted(kernel.node(0).name) + ", " + end_style + "];\n";
  for (int value = 1; value <= kernel.output(); ++value) {
    const Node& node = kernel.node(value);
    text += "  " + place(value) + " [label=" + label_of(kernel, node);
    if (node.primitive->weighted()) text += ", fillcolor=\"#fef3c7\", color=\"#d97706\"";
    text += "];\n";
    for (int input : node.inputs)
      text += "  " + place(input) + " -> " + place(value) + " [label=" + axes_of(input) + "];\n";
  }
  text += "  result [label=\"result\", " + end_style + "];\n";
  text += "  " + place(kernel.output()) + " -> result [label=" + axes_of(kernel.output()) + "];\n";
  return text + "}\n";
}

}  // namespace canvas

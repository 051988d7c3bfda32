#include "canvas/emit/torch.h"

#include <algorithm>
#include <regex>

#include "canvas/analyze/moments.h"
#include "canvas/emit/python.h"
#include "canvas/emit/torch_writer.h"
#include "canvas/lower/lower.h"
#include "canvas/lower/simplify.h"
#include "canvas/text/printer.h"

namespace canvas {

namespace {

// "C = 64, K = 128, s = 2, r = 4".
std::string sizes_text(const Kernel& kernel, const Values& values) {
  std::string text;
  for (int v = 0; v < kernel.variables().count(); ++v) {
    if (v >= static_cast<int>(kStaticNames.size()) && !is_dynamic(v)) continue;
    if (values[static_cast<size_t>(v)] <= 0 || (v == kT && !kernel.signature().has_extent(v))) continue;
    text += (text.empty() ? "" : ", ") + kernel.variables().name(v) + " = " +
            std::to_string(values[static_cast<size_t>(v)]);
  }
  return text;
}

void check_sizes(const Kernel& kernel, const Values& values) {
  for (const Node& node : kernel.nodes()) {
    for (const Axis& axis : node.axes) {
      if (axis.size.evaluate(values)) continue;
      throw ArgumentError(kernel.name() + ": axis " + axis.name + " of " + node.name + " is " +
                          to_string(axis.size, kernel.variables()) + ", which is no positive integer for " +
                          sizes_text(kernel, values));
    }
  }
}

// One line a statement, indented.
std::string block(const std::vector<std::string>& lines, const std::string& indent) {
  std::string text;
  for (const std::string& line : lines) text += line.empty() ? "\n" : indent + line + "\n";
  return text;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    lines.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return lines;
}

std::string docstring(const Kernel& kernel, const Values& values) {
  std::string text = std::regex_replace(print(kernel), std::regex(R"((["\\]))"), R"(\$1)");
  std::vector<std::string> lines = lines_of(text);
  lines.push_back("");
  lines.push_back("Sizes: " + sizes_text(kernel, values) + ".");
  lines[0] = "\"\"\"" + lines[0];
  lines.push_back("\"\"\"");
  return block(lines, "    ");
}

std::string initial_value(const ParameterShape& parameter) {
  std::vector<std::string> sizes;
  for (int64_t size : parameter.stored) sizes.push_back(std::to_string(size));
  const std::string shape = join(sizes);
  if (parameter.initial == Initial::kOne) return "torch.ones(" + shape + ")";
  if (parameter.initial == Initial::kZero) return "torch.zeros(" + shape + ")";
  return "torch.randn(" + shape + ") * " + number(parameter.deviation);
}

std::vector<ParameterShape> parameters_of(const Kernel& kernel, const Values& values, const TorchWriter& writer) {
  const std::vector<double> deviation = deviations(kernel, values);
  std::vector<ParameterShape> parameters;
  for (size_t i = 1; i < kernel.nodes().size(); ++i) {
    const Node& node = kernel.nodes()[i];
    if (!node.primitive->weighted()) continue;
    ParameterShape shape{
        python_name(node.name), {}, writer.stored().at(node.name), node.primitive->initial, deviation[i]};
    for (const Axis& axis : node.primitive->parameter(*kernel.operands(node)[0], node.attributes)) {
      shape.logical.push_back(*axis.size.evaluate(values));
    }
    parameters.push_back(std::move(shape));
  }
  return parameters;
}

std::string constructor(const std::vector<ParameterShape>& parameters, const std::vector<std::string>& buffers) {
  if (parameters.empty() && buffers.empty()) return "";
  std::vector<std::string> lines = {"super().__init__()"};
  for (const ParameterShape& parameter : parameters) {
    lines.push_back("self." + parameter.name + " = nn.Parameter(" + initial_value(parameter) + ")");
  }
  lines.insert(lines.end(), buffers.begin(), buffers.end());
  return "    def __init__(self):\n" + block(lines, "        ") + "\n";
}

bool mentions(const std::vector<std::string>& lines, const std::string& word) {
  const std::regex pattern("\\b" + word + "\\b");
  return std::any_of(lines.begin(), lines.end(),
                     [&](const std::string& line) { return std::regex_search(line, pattern); });
}

// Checks that the extents give whole sizes: "if H % 2: raise ValueError(...)".
std::vector<std::string> divisibility(const Kernel& kernel, const Values& values) {
  const std::string x = python_name(kernel.signature().input);
  std::vector<std::string> lines;
  for (const Node& node : kernel.nodes()) {
    for (const Axis& axis : node.axes) {
      const auto divisor = runtime_divisor(axis.size, values);
      if (!divisor) continue;
      const std::string test = "if " + divisor->product + " % " + divisor->divisor + ":";
      if (std::find(lines.begin(), lines.end(), test) != lines.end()) continue;
      lines.push_back(test);
      lines.push_back("    raise ValueError(f\"" + class_name(kernel.name()) + " needs a multiple of " +
                      divisor->divisor + " as " + divisor->product + ", got an input of {tuple(" + x + ".shape)}\")");
    }
  }
  return lines;
}

// "H, W = x.shape[2:]" where the statements need them, and checks of the extents.
std::vector<std::string> preamble(const Kernel& kernel, const Values& values,
                                  const std::vector<std::string>& statements) {
  const std::string x = python_name(kernel.signature().input);
  std::vector<std::string> lines, names;
  size_t first = 0;
  bool needed = false;
  const Axes& axes = kernel.signature().from;
  const std::vector<std::string> checks = divisibility(kernel, values);
  for (size_t i = 0; i < axes.size(); ++i) {
    for (int v = kD; v <= kT; ++v) {
      if (axes[i].size != Size::variable(v)) continue;
      const std::string name = kStaticNames[static_cast<size_t>(v)];
      const std::string place = x + ".shape[" + std::to_string(i + 1) + "]";
      if (names.empty()) first = i + 1;
      names.push_back(name);
      needed = needed || mentions(statements, name) || mentions(checks, name);
      const bool bound = std::any_of(kernel.nodes().begin(), kernel.nodes().end(), [&](const Node& node) {
        if (std::any_of(node.axes.begin(), node.axes.end(),
                        [&](const Axis& axis) { return axis.size.exponent(v) < 0; }))
          return true;
        if (!node.primitive || !node.primitive->weighted()) return false;
        return volume(node.primitive->parameter(*kernel.operands(node)[0], node.attributes)).exponent(v) != 0;
      });
      if (!bound) continue;
      const std::string size = std::to_string(values[static_cast<size_t>(v)]);
      lines.push_back("if " + place + " != " + size + ":");
      lines.push_back("    raise ValueError(f\"" + class_name(kernel.name()) + " has weights along " + name +
                      " and takes " + name + " = " + size + ", got {" + place + "}\")");
    }
  }
  if (needed) {
    const std::string range =
        std::to_string(first) +
        (names.size() == 1
             ? ""
             : ":" + (first + names.size() == axes.size() + 1 ? "" : std::to_string(first + names.size())));
    lines.push_back(join(names) + " = " + x + ".shape[" + range + "]");
  }
  lines.insert(lines.end(), checks.begin(), checks.end());
  return lines;
}

std::vector<std::string> forward_body(const Kernel& kernel, const Values& values, TorchWriter& writer) {
  TorchValue result = writer.value(static_cast<int>(writer.program().ops.size()) - 1);
  Layout wanted = {{kBatch}};
  for (const Axis& axis : kernel.signature().to) wanted.push_back({axis.name});
  const std::string code = writer.arranged(result, wanted).code;
  std::vector<std::string> body = writer.statements();
  const std::string last = result.code + " = ";
  if (kernel.signature().per_position() && writer.one_batch()) {  // any number of leading dimensions, as nn.Linear
    const std::string x = python_name(kernel.signature().input);
    body.insert(body.begin(), {"shape = " + x + ".shape", x + " = " + x + ".reshape(-1, shape[-1])"});
    const int64_t channels = kernel.signature().channel().size.evaluate(values).value_or(0);
    body.push_back("return " + code + ".reshape(shape[:-1] + (" + std::to_string(channels) + ",))");
  } else if (code == result.code && !body.empty() && body.back().rfind(last, 0) == 0) {
    body.back() = "return " + body.back().substr(last.size());
  } else {
    body.push_back("return " + code);
  }
  const std::vector<std::string> head = preamble(kernel, values, body);
  body.insert(body.begin(), head.begin(), head.end());
  return body;
}

}  // namespace

TorchSource emit_torch(const Kernel& kernel, const Values& values) {
  Lowering all;
  return emit_torch(kernel, values, all);
}

TorchSource emit_torch(const Kernel& kernel, const Values& values, Lowering& lowering) {
  check_sizes(kernel, values);
  TorchWriter writer(simplify(lower(kernel), lowering, &values), values, lowering);
  const std::vector<std::string> body = forward_body(kernel, values, writer);
  const std::vector<ParameterShape> parameters = parameters_of(kernel, values, writer);
  const std::string name = class_name(kernel.name());
  std::string code = "class " + name + "(nn.Module):\n" + docstring(kernel, values) + "\n" +
                     constructor(parameters, writer.buffers()) + "    def forward(self, " +
                     python_name(kernel.signature().input) + "):\n" + block(body, "        ");
  const bool functional = code.find("F.") != std::string::npos;
  return {std::string("import torch\n") + (functional ? "import torch.nn.functional as F\n" : "") +
              "from torch import nn\n\n\n" + code + "\n\nModule = " + name + "\n",
          parameters};
}

}  // namespace canvas

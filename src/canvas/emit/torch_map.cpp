// Functions applied element by element, and how operands are laid out to broadcast.
#include <algorithm>
#include <map>

#include "canvas/base/error.h"
#include "canvas/emit/torch_writer.h"

namespace canvas {

namespace {

// What a function is in PyTorch: {0} and {1} stand for the operands. exp and sqrt are the safe definitions of the interpreter.
const std::map<std::string, std::string>& expressions() {
  static const std::map<std::string, std::string> table = {
      {"relu", "F.relu({0})"},
      {"gelu", "F.gelu({0})"},
      {"silu", "F.silu({0})"},
      {"sigmoid", "torch.sigmoid({0})"},
      {"tanh", "torch.tanh({0})"},
      {"abs", "{0}.abs()"},
      {"exp", "{0}.clamp(max=10).exp()"},
      {"neg", "-{0}"},
      {"sin", "{0}.sin()"},
      {"sqrt", "({0}.clamp(min=0) + 1e-6).sqrt()"},
      {"square", "{0}.square()"},
      {"add", "{0} + {1}"},
      {"sub", "{0} - {1}"},
      {"mul", "{0} * {1}"},
  };
  return table;
}

std::string filled(std::string text, const std::vector<std::string>& operands) {
  for (size_t i = 0; i < operands.size(); ++i) {
    const std::string mark = "{" + std::to_string(i) + "}";
    const size_t place = text.find(mark);
    require(place != std::string::npos, "a pointwise function was given too many operands");
    text.replace(place, mark.size(), operands[i]);
  }
  return text;
}

}  // namespace

TorchValue TorchWriter::map(const CoreOp& core) {
  const auto expression = expressions().find(core.function);
  if (expression == expressions().end()) throw InternalError("no PyTorch expression for " + core.function);
  for (int input : core.inputs) {
    if (op(input).kind != CoreKind::kParameter) value(input);
  }
  const Layout layout = common_layout(core.axes, core.inputs);
  std::vector<std::string> operands;
  for (int input : core.inputs) {
    Layout wanted = aligned(input, layout);
    if (op(input).kind == CoreKind::kParameter) {
      while (!wanted.empty() && wanted[0].empty()) wanted.erase(wanted.begin());
      operands.push_back(weight(op(input), wanted).code);
    } else {
      operands.push_back(arranged(value(input), wanted).code);
    }
  }
  return assign(core, filled(expression->second, operands), layout);
}

Layout TorchWriter::common_layout(const Axes& axes, const std::vector<int>& operands) {
  const auto activation = [&](int input) { return op(input).kind != CoreKind::kParameter; };
  int lead = -1;
  for (int input : operands) {
    if (activation(input) && (lead < 0 || op(input).axes.size() > op(lead).axes.size())) lead = input;
  }
  require(lead >= 0, "an operation on parameters alone");
  Layout layout = without_ones(value(lead).layout);
  const auto role = [&](const std::string& name) {
    return name == kBatch ? Role::kChannel : axes[static_cast<size_t>(find_axis(axes, name))].role;
  };
  // Missing axes go behind those of their role: channels, spatial axes, windows.
  for (int input : operands) {
    if (!activation(input)) continue;
    const Layout runs = cut(without_ones(value(input).layout), [&](const auto& left, const auto& right) {
      return (find_dim(layout, left) < 0) != (find_dim(layout, right) < 0) || role(left) != role(right);
    });
    for (const Dim& run : runs) {
      if (find_dim(layout, run[0]) >= 0) continue;
      const auto later = std::find_if(layout.begin() + 1, layout.end(), [&](const Dim& dim) {
        return std::all_of(dim.begin(), dim.end(), [&](const std::string& name) { return role(name) > role(run[0]); });
      });
      layout.insert(later, run);
    }
  }
  for (int input : operands) {
    layout = cut(layout, [&](const auto& left, const auto& right) {
      const auto has = [&](const std::string& name) {
        return name == kBatch ? activation(input) : has_axis(op(input).axes, name);
      };
      return has(left) != has(right);
    });
  }
  return layout;
}

Layout TorchWriter::aligned(int operand, const Layout& layout) const {
  Layout wanted;
  for (const Dim& dim : layout) {
    const bool has = dim[0] == kBatch ? op(operand).kind != CoreKind::kParameter : has_axis(op(operand).axes, dim[0]);
    wanted.push_back(has ? dim : Dim{});
  }
  return wanted;
}

}  // namespace canvas

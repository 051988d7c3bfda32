// Functions applied element by element, and how operands are laid out to broadcast.
#include <algorithm>

#include "canvas/base/error.h"
#include "canvas/emit/torch_writer.h"

namespace canvas {

namespace {

std::string mark(size_t operand) { return "{" + std::to_string(operand) + "}"; }

}  // namespace

int mentions(const std::string& text, size_t operand) {
  int count = 0;
  for (size_t at = text.find(mark(operand)); at != std::string::npos; at = text.find(mark(operand), at + 1)) ++count;
  return count;
}

std::string filled(std::string text, const std::vector<std::string>& operands) {
  for (size_t i = 0; i < operands.size(); ++i) {
    size_t place = text.find(mark(i));
    require(place != std::string::npos, "a pointwise function was given too many operands");
    for (; place != std::string::npos; place = text.find(mark(i), place + operands[i].size()))
      text.replace(place, mark(i).size(), operands[i]);
  }
  return text;
}

TorchValue TorchWriter::map(const CoreOp& core) {
  require(core.scalar.torch, "a function without a PyTorch expression");
  for (int input : core.inputs) {
    if (op(input).kind != CoreKind::kParameter) value(input);
  }
  const Layout layout = common_layout(core.axes, core.inputs);
  std::vector<std::string> operands;
  for (int input : core.inputs) {
    Layout wanted = aligned(input, layout);
    if (constant(input)) {
      while (!wanted.empty() && wanted[0].empty()) wanted.erase(wanted.begin());
      operands.push_back(weight(input, wanted).code);
    } else {
      operands.push_back(arranged(value(input), wanted).code);
    }
    std::string& code = operands.back();
    const bool is_name = code.find_first_of("[(. ") == std::string::npos;
    if (!is_name && mentions(core.scalar.torch, operands.size() - 1) > 1) code = define("t", code);
  }
  return assign(core, filled(core.scalar.torch, operands), layout);
}

Layout TorchWriter::common_layout(const Axes& axes, const std::vector<int>& operands) {
  const bool any = std::any_of(operands.begin(), operands.end(), [&](int input) { return !constant(input); });
  const auto activation = [&](int input) { return !any || !constant(input); };
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
    Layout own;  // of a parameter: every axis by itself
    for (const Axis& axis : op(input).axes) own.push_back({axis.name});
    if (activation(input)) own = without_ones(value(input).layout);
    const Layout runs = cut(own, [&](const auto& left, const auto& right) {
      return (find_dim(layout, left) < 0) != (find_dim(layout, right) < 0) || role(left) != role(right);
    });
    for (const Dim& run : runs) {
      if (find_dim(layout, run[0]) >= 0) continue;
      const auto later = std::find_if(layout.begin() + (any ? 1 : 0), layout.end(), [&](const Dim& dim) {
        return std::all_of(dim.begin(), dim.end(), [&](const std::string& name) { return role(name) > role(run[0]); });
      });
      layout.insert(later, run);
    }
  }
  for (int input : operands) {
    layout = cut(layout, [&](const auto& left, const auto& right) {
      const auto has = [&](const std::string& name) {
        return name == kBatch ? !constant(input) : has_axis(op(input).axes, name);
      };
      return has(left) != has(right);
    });
  }
  return layout;
}

Layout TorchWriter::aligned(int operand, const Layout& layout) const {
  Layout wanted;
  for (const Dim& dim : layout) {
    const bool has = dim[0] == kBatch ? !constant(operand) : has_axis(op(operand).axes, dim[0]);
    wanted.push_back(has ? dim : Dim{});
  }
  return wanted;
}

}  // namespace canvas

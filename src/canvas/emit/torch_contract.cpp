// Contractions: as a convolution, a linear layer, a sum over the taps of a window, or else torch.einsum.
#include <algorithm>

#include "canvas/base/error.h"
#include "canvas/emit/python.h"
#include "canvas/emit/torch_writer.h"

namespace canvas {

TorchValue TorchWriter::contract(const CoreOp& core) {
  require(core.inputs.size() == 2, "a contraction of other than two operands");
  const auto counted = [&](const TorchValue& made) {
    one_batch_ = true;
    return made;
  };
  if (auto made = tap_functions(core, true)) return counted(*made);
  for (size_t which : {1, 0}) {
    const int other = core.inputs[which];
    const int operand = core.inputs[1 - which];
    if (constant(operand)) continue;
    if (constant(other)) {
      if (auto made = convolution(core, operand, other)) return counted(*made);
      if (auto made = linear(core, operand, other)) return *made;
    } else {
      if (auto made = sample_convolution(core, operand, other)) return counted(*made);
      if (auto made = taps(core, operand, other)) return counted(*made);
    }
  }
  if (auto made = tap_functions(core, false)) return counted(*made);
  return counted(einsum(core));
}

// F.linear, where the contracted axes lie last.
std::optional<TorchValue> TorchWriter::linear(const CoreOp& core, int operand, int weights) {
  Dim to, from;
  for (const Axis& axis : op(weights).axes) {
    const bool kept = has_axis(core.axes, axis.name);
    if (kept && has_axis(op(operand).axes, axis.name)) return std::nullopt;
    (kept ? to : from).push_back(axis.name);
  }
  const TorchValue& x = value(operand);
  const Dim order = flat(x.layout);
  const auto last = order.end() - static_cast<std::ptrdiff_t>(from.size());  // the batch stands first
  if (!std::is_permutation(from.begin(), from.end(), last, order.end())) return std::nullopt;
  from.assign(last, order.end());
  Layout layout = without_ones(
      cut(x.layout, [&](const auto& left, const auto& right) { return holds(from, left) != holds(from, right); }));
  while (holds(from, layout.back()[0])) layout.pop_back();
  layout.push_back(from);
  const std::string code = "F.linear(" + arranged(x, layout).code + ", " + weight(weights, {to, from}).code + ")";
  layout.back() = to;
  return assign(core, code, layout);
}

TorchValue TorchWriter::einsum(const CoreOp& core) {
  std::vector<Operand> operands;
  for (int input : core.inputs) {
    if (op(input).kind != CoreKind::kParameter) {
      operands.push_back({without_ones(value(input).layout),
                          [this, input](const Layout& runs) { return arranged(value(input), runs).code; }});
      continue;
    }
    Layout layout = {{}};
    for (const Axis& axis : op(input).axes) layout[0].push_back(axis.name);
    operands.push_back({layout, [this, input](const Layout& runs) { return weight(input, runs).code; }});
  }
  const TorchValue made = einsum(core.axes, operands);
  return assign(core, made.code, made.layout);
}

TorchValue TorchWriter::einsum(const Axes& axes, const std::vector<Operand>& given) {
  // What every operand takes as one stays one letter.
  std::vector<Layout> layouts;
  for (const Operand& operand : given) layouts.push_back(operand.layout);
  const auto apart = [&](const std::string& left, const std::string& right) {
    const auto kept = [&](const std::string& name) { return name == kBatch || has_axis(axes, name); };
    if (kept(left) != kept(right)) return true;
    return std::any_of(layouts.begin(), layouts.end(), [&](const Layout& layout) {
      const int first = find_dim(layout, left), second = find_dim(layout, right);
      if (first < 0 && second < 0) return false;
      if (first < 0 || first != second) return true;
      const Dim& dim = layout[static_cast<size_t>(first)];
      return std::find(dim.begin(), dim.end(), left) + 1 != std::find(dim.begin(), dim.end(), right);
    });
  };
  std::string letters;
  std::map<std::string, char> letter_of;  // by the first axis of a run
  const auto letter = [&](const Dim& run) {
    const auto known = letter_of.find(run[0]);
    if (known != letter_of.end()) return known->second;
    const std::string choices = std::string(1, run[0] == kBatch ? 'n' : run[0].view()[0]) +
                                "abcdefghijklmopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (char choice : choices) {
      const bool free = std::isalpha(static_cast<unsigned char>(choice)) && letters.find(choice) == std::string::npos;
      if (!free || (choice == 'n' && run[0] != kBatch)) continue;
      letters += choice;
      return letter_of[run[0]] = choice;
    }
    throw InternalError("einsum of more axes than letters");
  };
  std::vector<std::string> operands, terms;
  std::vector<Dim> kept;
  for (size_t i = 0; i < layouts.size(); ++i) {
    const Layout runs = cut(layouts[i], apart);
    terms.emplace_back();
    for (const Dim& run : runs) {
      terms.back() += letter(run);
      const bool stays = run[0] == kBatch || has_axis(axes, run[0]);
      if (stays && std::find(kept.begin(), kept.end(), run) == kept.end()) kept.push_back(run);
    }
    operands.push_back(given[i].code(runs));
  }
  const auto rank = [&](const Dim& run) {
    return run[0] == kBatch ? -1 : static_cast<int>(axes[static_cast<size_t>(find_axis(axes, run[0]))].role);
  };
  std::stable_sort(kept.begin(), kept.end(),
                   [&](const Dim& left, const Dim& right) { return rank(left) < rank(right); });
  std::string result;
  for (const Dim& run : kept) result += letter(run);
  return {"torch.einsum(\"" + join(terms, ",") + "->" + result + "\", " + join(operands) + ")", kept, axes};
}

}  // namespace canvas

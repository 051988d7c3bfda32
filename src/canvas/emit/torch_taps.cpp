// Functions of windows that are contracted or summed: computed tap by tap on shifted views, and added up. The windows themselves are never
// stored (measured: up to 3 times quicker than windows first, the function on all of them, then the contraction).
#include <algorithm>

#include "canvas/base/error.h"
#include "canvas/emit/python.h"
#include "canvas/emit/torch_writer.h"
#include "canvas/lower/rewriter.h"
#include "canvas/prims/common.h"

namespace canvas {

namespace {

// Further than this beyond the operand's size a sum over taps writes more than windows would.
constexpr int64_t kLargestGrowth = 2;

}  // namespace

bool TorchWriter::tap_leaves(int id, const CoreOp& consumer, TapTree& tree) {
  const CoreOp& core = op(id);
  if (has_windows(core)) {
    const bool all = std::all_of(core.items.begin(), core.items.end(), [&](const IndexItem& item) {
      return item.made.empty() || !has_axis(consumer.axes, item.made);
    });
    (all ? tree.leaves : tree.others).push_back(id);
    return true;
  }
  if (core.kind == CoreKind::kMap && uses_[static_cast<size_t>(id)] == 1) {
    TapTree below;
    for (size_t i = 0; i < core.inputs.size(); ++i) {
      const size_t leaves = below.leaves.size();
      if (!tap_leaves(core.inputs[i], consumer, below)) return false;
      const bool computed = below.leaves.size() > leaves && op(core.inputs[i]).kind == CoreKind::kMap;
      if (computed && mentions(core.scalar.torch, i) > 1) return false;  // it would be computed as often
    }
    if (!below.leaves.empty()) {
      tree.functions = true;
      tree.leaves.insert(tree.leaves.end(), below.leaves.begin(), below.leaves.end());
      tree.others.insert(tree.others.end(), below.others.begin(), below.others.end());
      return true;
    }
  }
  tree.others.push_back(id);
  return true;
}

void TorchWriter::tap_names(TapTree& tree) const {
  for (int leaf : tree.leaves) {
    for (const IndexItem& item : op(leaf).items) {
      if (item.made.empty() || tree.names.count(item.made) > 0) continue;
      tree.windows.push_back(item.made);
      const std::string name = tree.names[item.made] = loop_name(tree.names.size());
      tree.loops += " for " + name + " in range(" + std::to_string(item.window) + ")";
      tree.count *= item.window;
    }
  }
}

// The layout of one tap, in which all operands broadcast; what the consumer sums is apart.
void TorchWriter::tap_layout(const CoreOp& consumer, const Axes& axes, TapTree& tree) {
  std::vector<int> operands = tree.others;
  for (int leaf : tree.leaves) operands.push_back(op(leaf).inputs[0]);
  for (int operand : operands) {
    if (!constant(operand)) value(operand);
  }
  Layout layout = common_layout(axes, operands);
  for (int leaf : tree.leaves) layout = apart_along(layout, op(leaf).items);
  const auto gone = [&](const std::string& axis) { return axis != kBatch && !has_axis(consumer.axes, axis); };
  tree.layout = cut(layout, [&](const auto& left, const auto& right) {
    return holds(tree.windows, left) != holds(tree.windows, right) || gone(left) != gone(right);
  });
  std::erase_if(tree.layout, [&](const Dim& dim) { return holds(tree.windows, dim[0]); });
}

// A value that is no window: as it is, or its part for this tap.
std::string TorchWriter::tap_part(int id, TapTree& tree) {
  Layout wanted = aligned(id, tree.layout);
  std::vector<std::string> taps = {"..."};
  for (const Name& axis : tree.windows) {
    if (!has_axis(op(id).axes, axis)) continue;
    wanted.push_back({axis});
    taps.push_back(tree.names.at(axis));
  }
  while (constant(id) && !wanted.empty() && wanted[0].empty()) wanted.erase(wanted.begin());
  std::string code = constant(id) ? weight(id, wanted).code : arranged(value(id), wanted).code;
  if (code.find_first_of("([") != std::string::npos) code = define("t", code);
  return taps.size() == 1 ? code : code + "[" + join(taps) + "]";
}

std::string TorchWriter::tap_code(int id, TapTree& tree) {
  const CoreOp& core = op(id);
  if (std::find(tree.others.begin(), tree.others.end(), id) != tree.others.end()) return tap_part(id, tree);
  if (core.kind == CoreKind::kIndex) {
    const int base = core.inputs[0];
    const Layout layout = aligned(base, tree.layout);
    std::string code = padded(arranged(value(base), layout).code, layout, core.items);
    if (code != value(base).code) code = define(value(base).code + "_padded", code);
    return code + tap_slice(op(base).axes, layout, core.items, tree.names);
  }
  const std::string text = core.scalar.torch;
  std::vector<std::string> parts;
  for (int in : core.inputs) {
    parts.push_back(tap_code(in, tree));
    const bool name = parts.back().find_first_of(" (") == std::string::npos || op(in).kind != CoreKind::kMap;
    const bool whole = name || (text.rfind("F.", 0) == 0 && core.inputs.size() == 1);
    if (!whole) parts.back() = "(" + parts.back() + ")";
  }
  return filled(text, parts);
}

// "sum(CODE for i in range(3) for j in range(3))", with what the consumer sums besides the taps summed in each.
TorchValue TorchWriter::tap_total(const CoreOp& core, std::string code, const TapTree& tree) {
  Layout layout;
  std::vector<int64_t> gone;
  for (size_t i = 0; i < tree.layout.size(); ++i) {
    const bool stays = tree.layout[i][0] == kBatch || has_axis(core.axes, tree.layout[i][0]);
    if (stays)
      layout.push_back(tree.layout[i]);
    else
      gone.push_back(static_cast<int64_t>(i));
  }
  const bool mean = core.kind == CoreKind::kReduce && core.function == "mean";
  if (!gone.empty()) code = "(" + code + ")" + (mean ? ".mean(" : ".sum(") + one_or_tuple(gone) + ")";
  code = "sum(" + code + tree.loops + ")";
  if (mean) code += " / " + std::to_string(tree.count);
  return assign(core, code, layout);
}

// Whether the result is so much larger than one tap of each operand that adding it up tap by tap does not pay.
bool TorchWriter::grows(const Axes& result, const std::vector<Axes>& operands) const {
  const auto elements = [&](const Axes& axes) {
    Dim all;
    for (const Axis& axis : axes) all.push_back(axis.name);
    return extent(axes, all);
  };
  return std::all_of(operands.begin(), operands.end(),
                     [&](const Axes& axes) { return elements(result) > kLargestGrowth * elements(axes); });
}

std::optional<TorchValue> TorchWriter::tap_functions(const CoreOp& core, bool functions_only) {
  if (core.function == "max" || !lowering_.has("tap_functions")) return std::nullopt;
  TapTree all;
  std::vector<TapTree> trees;
  for (int in : core.inputs) {
    trees.emplace_back();
    if (!tap_leaves(in, core, trees.back())) return std::nullopt;
    all.leaves.insert(all.leaves.end(), trees.back().leaves.begin(), trees.back().leaves.end());
    all.others.insert(all.others.end(), trees.back().others.begin(), trees.back().others.end());
    all.functions = all.functions || trees.back().functions;
  }
  if (all.leaves.empty() || (functions_only && !all.functions)) return std::nullopt;
  for (int leaf : all.leaves) {
    for (const IndexItem& item : op(leaf).items) {
      if (std::abs(item.offset) >= extent(op(op(leaf).inputs[0]).axes, item.axis)) return std::nullopt;
    }
  }
  tap_names(all);
  std::vector<Axes> axes;
  Axes both;
  for (int in : core.inputs) {
    axes.push_back(without(op(in).axes, all.windows));
    for (const Axis& axis : axes.back()) {
      if (!has_axis(both, axis.name)) both.push_back(axis);
    }
  }
  const auto inside = [&](const Axes& part, const Axes& whole) {
    return std::all_of(part.begin(), part.end(), [&](const Axis& axis) { return has_axis(whole, axis.name); });
  };
  const bool product =
      core.inputs.size() == 1 || inside(axes[0], axes[1]) || inside(axes[1], axes[0]) || inside(both, core.axes);
  if (core.inputs.size() == 2 && grows(core.axes, axes)) return std::nullopt;
  if (product) {
    rule("tap_functions");
    for (int in : core.inputs) {
      for (const Axis& axis : op(in).axes) {
        if (!has_axis(both, axis.name)) both.push_back(axis);
      }
    }
    tap_layout(core, both, all);
    std::string code = tap_code(core.inputs[0], all);
    if (core.inputs.size() == 2) {
      const auto factor = [&](int in, std::string text) {
        return op(in).kind == CoreKind::kMap ? "(" + text + ")" : text;
      };
      code = factor(core.inputs[0], code) + " * " + factor(core.inputs[1], tap_code(core.inputs[1], all));
    }
    return tap_total(core, code, all);
  }
  return tap_matrices(core, trees, axes, all);
}

// A product of matrices a tap: a 1x1 convolution where one is of parameters, else an einsum.
std::optional<TorchValue> TorchWriter::tap_matrices(const CoreOp& core, std::vector<TapTree>& trees,
                                                    const std::vector<Axes>& axes, const TapTree& all) {
  std::vector<Operand> operands;
  std::vector<TorchValue> values;
  for (size_t i = 0; i < 2; ++i) {
    if (constant(core.inputs[i])) {
      values.push_back({});
      operands.emplace_back();
      continue;
    }
    TapTree& tree = trees[i];
    tree.windows = all.windows;
    tree.names = all.names;
    tap_layout(core, op(core.inputs[i]).axes, tree);
    std::string code = tap_code(core.inputs[i], tree);
    if (op(core.inputs[i]).kind == CoreKind::kMap) code = "(" + code + ")";
    values.push_back({code, tree.layout, axes[i]});
    const TorchValue& kept = values.back();
    operands.push_back(
        {without_ones(kept.layout), [this, kept](const Layout& runs) { return arranged(kept, runs).code; }});
  }
  for (size_t i : {0, 1}) {
    if (!constant(core.inputs[i])) continue;
    const auto convolved = tap_convolution(core, values[1 - i], core.inputs[i], all);
    if (!convolved) return std::nullopt;
    rule("tap_functions");
    return assign(core, "sum(" + convolved->code + all.loops + ")", convolved->layout);
  }
  rule("tap_functions");
  const TorchValue total = einsum(core.axes, operands);
  return assign(core, "sum(" + total.code + all.loops + ")", total.layout);
}

}  // namespace canvas

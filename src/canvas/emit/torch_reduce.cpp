// Reductions: pooling where a window is reduced at once, mean / sum / amax over whole dimensions elsewhere; and softmax.
#include <algorithm>

#include "canvas/emit/python.h"
#include "canvas/emit/torch_writer.h"

namespace canvas {

std::optional<TorchValue> TorchWriter::pool(const CoreOp& core) {
  const CoreOp& window = op(core.inputs[0]);
  if (window.kind != CoreKind::kIndex || !window.over.empty()) return std::nullopt;
  const bool is_max = core.function == "max";
  size_t made = 0;
  for (const IndexItem& item : window.items) {
    if (item.offset != 0 || item.window % 2 == 0 || (item.dilation > 1 && !is_max)) return std::nullopt;
    if (holds(core.from, item.axis) || (!item.made.empty() && !holds(core.from, item.made))) return std::nullopt;
    made += !item.made.empty();
  }
  if (made == 0 || made != core.from.size() || !lowering_.has("pooling")) return std::nullopt;
  const TorchValue& base = value(window.inputs[0]);
  // [batch, channels, pooled axes]: what lies behind the first pooled axis is pooled too, by 1, and so are spatial axes before it, where
  // there is room: merged with channels they would be copied.
  const auto item_of = [&](const std::string& axis) {
    return std::find_if(window.items.begin(), window.items.end(),
                        [&](const IndexItem& item) { return item.axis == axis; });
  };
  Layout layout;
  for (const bool together : {false, true}) {
    if (together && layout.size() <= 5) break;
    layout = {{kBatch}, {}};
    for (const Name& axis : flat(base.layout)) {
      if (axis == kBatch) continue;
      const bool spatial = base.axes[static_cast<size_t>(find_axis(base.axes, axis))].role == Role::kSpatial;
      const bool own = spatial && !together && !layout[1].empty();
      if (item_of(axis) != window.items.end() || layout.size() > 2 || own)
        layout.push_back({axis});
      else
        layout[1].push_back(axis);
    }
  }
  const size_t dims = layout.size() - 2;
  if (dims > 3) return std::nullopt;
  rule("pooling");
  std::vector<int64_t> kernel, strides, padding, dilation;
  for (size_t i = 2; i < layout.size(); ++i) {
    const auto item = item_of(layout[i][0]);
    const bool pooled = item != window.items.end();
    kernel.push_back(pooled ? item->window : 1);
    strides.push_back(pooled ? stride(*item) : 1);
    dilation.push_back(pooled ? item->dilation : 1);
    padding.push_back(kernel.back() / 2);
  }
  if (layout[1].empty()) layout.erase(layout.begin() + 1);
  std::string code = arranged(base, layout).code;
  if (is_max) code = padded(code, layout, window.items);  // with zeros; max_pool itself would pad with -inf
  code = (is_max ? "F.max_pool" : "F.avg_pool") + std::to_string(dims) + "d(" + code + ", " + one_or_tuple(kernel) +
         ", stride=" + one_or_tuple(strides);
  if (!is_max) code += ", padding=" + one_or_tuple(padding);
  if (one_or_tuple(dilation) != "1") code += ", dilation=" + one_or_tuple(dilation);
  code += ")";
  if (core.function == "sum") {
    int64_t count = 1;
    for (int64_t size : kernel) count *= size;
    code += " * " + std::to_string(count);
  }
  return assign(core, code, layout);
}

TorchValue TorchWriter::reduce(const CoreOp& core) {
  if (auto pooled = pool(core)) return *pooled;
  if (auto made = tap_functions(core, false)) return *made;
  const TorchValue& operand = value(core.inputs[0]);
  const auto gone = [&](const std::string& axis) { return holds(core.from, axis); };
  const Layout apart =
      cut(operand.layout, [&](const auto& left, const auto& right) { return gone(left) != gone(right); });
  Layout layout;
  std::vector<int64_t> dims;
  for (size_t i = 0; i < apart.size(); ++i) {
    if (!apart[i].empty() && gone(apart[i][0]))
      dims.push_back(static_cast<int64_t>(i));
    else
      layout.push_back(apart[i]);
  }
  const std::string function = core.function == "max" ? ".amax(" : "." + core.function + "(";
  return assign(core, arranged(operand, apart).code + function + one_or_tuple(dims) + ")", layout);
}

TorchValue TorchWriter::softmax(const CoreOp& core) {
  const TorchValue& operand = value(core.inputs[0]);
  // All its axes in one dimension, where the first of them lies.
  Dim together;
  for (const Name& axis : flat(operand.layout)) {
    if (holds(core.from, axis)) together.push_back(axis);
  }
  Layout layout;
  const Layout apart = cut(operand.layout, [&](const auto& left, const auto& right) {
    return holds(core.from, left) != holds(core.from, right);
  });
  for (const Dim& dim : apart) {
    if (dim.empty() || !holds(core.from, dim[0]))
      layout.push_back(dim);
    else if (dim[0] == together[0])
      layout.push_back(together);
  }
  const std::string dim = std::to_string(find_dim(layout, together[0]));
  return assign(core, arranged(operand, layout).code + ".softmax(" + dim + ")", layout);
}

}  // namespace canvas

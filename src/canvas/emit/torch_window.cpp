// Windows that are read tap by tap: how each tap is sliced out of the padded value, and products with another value that are summed or
// stacked over the taps.
#include <algorithm>

#include "canvas/emit/python.h"
#include "canvas/emit/torch_writer.h"
#include "canvas/prims/common.h"

namespace canvas {

const IndexItem* item_along(const std::vector<IndexItem>& items, const std::string& axis) {
  const auto found = std::find_if(items.begin(), items.end(), [&](const IndexItem& item) { return item.axis == axis; });
  return found == items.end() ? nullptr : &*found;
}

Layout apart_along(const Layout& layout, const std::vector<IndexItem>& items) {
  return cut(layout,
             [&](const auto& left, const auto& right) { return item_along(items, left) || item_along(items, right); });
}

std::string TorchWriter::padded(const std::string& code, const Layout& layout,
                                const std::vector<IndexItem>& items) const {
  std::vector<int64_t> pads;  // last dimension first, as F.pad wants them
  size_t used = 0;
  for (size_t i = layout.size(); i-- > 0;) {
    const IndexItem* item = layout[i].empty() ? nullptr : item_along(items, layout[i][0]);
    const int64_t before = item ? item->dilation * (item->window / 2) - item->offset : 0;
    const int64_t after = item ? item->dilation * (item->window - 1 - item->window / 2) + item->offset : 0;
    pads.insert(pads.end(), {before, after});
    if (before != 0 || after != 0) used = pads.size();
  }
  pads.resize(used);
  return pads.empty() ? code : "F.pad(" + code + ", " + tuple(pads) + ")";
}

std::string loop_name(size_t number) {
  return number < 3 ? std::string(1, "ijk"[number]) : "i" + std::to_string(number);
}

TorchWriter::TapLoop TorchWriter::tap_loop(const Axes& axes, const Layout& layout,
                                           const std::vector<IndexItem>& items) const {
  TapLoop loop;
  std::map<std::string, std::string> names;
  for (const IndexItem& item : items) {
    if (item.made.empty()) continue;
    loop.names.push_back(names[item.made] = loop_name(loop.names.size()));
    loop.loops += " for " + loop.names.back() + " in range(" + std::to_string(item.window) + ")";
  }
  loop.slices = tap_slice(axes, layout, items, names);
  return loop;
}

std::string TorchWriter::tap_slice(const Axes& axes, const Layout& layout, const std::vector<IndexItem>& items,
                                   const std::map<std::string, std::string>& names) const {
  std::vector<std::string> slices(layout.size(), ":");
  for (const IndexItem& item : items) {
    std::string range = ":";
    if (!item.made.empty()) {
      const std::string& name = names.at(item.made);
      const std::string start = item.dilation > 1 ? std::to_string(item.dilation) + " * " + name : name;
      range = start + ":" + start + " + " + extent_code(axes, item.axis).code;
    }
    if (stride(item) > 1) range += ":" + std::to_string(stride(item));
    slices[static_cast<size_t>(find_dim(layout, item.axis))] = range;
  }
  while (!slices.empty() && slices.back() == ":") slices.pop_back();
  return slices.empty() ? "" : "[" + join(slices) + "]";
}

// Windows times another value: one product a tap, summed where the window is contracted, stacked where it stays; nothing else is
// materialised (measured: 3 to 5 times quicker than unfolding first, forward and backward).
std::optional<TorchValue> TorchWriter::taps(const CoreOp& core, int window_id, int other_id) {
  const CoreOp& window = op(window_id);
  if (window.kind != CoreKind::kIndex || !window.over.empty()) return std::nullopt;
  Dim windows, others;
  size_t kept = 0;
  for (const IndexItem& item : window.items) {
    if (item.offset != 0 || !has_axis(core.axes, item.axis)) return std::nullopt;
    if (item.made.empty()) continue;
    windows.push_back(item.made);
    kept += has_axis(core.axes, item.made);
    if (has_axis(op(other_id).axes, item.made)) others.push_back(item.made);
  }
  if (windows.empty() || (kept != 0 && kept != windows.size()) || (kept == 0 && others.size() != windows.size()))
    return std::nullopt;
  const bool outer =
      kept != 0 && std::any_of(op(other_id).axes.begin(), op(other_id).axes.end(), [&](const Axis& axis) {
        return has_axis(core.axes, axis.name) && !has_axis(window.axes, axis.name);
      });
  if (outer || !lowering_.has("taps")) return std::nullopt;  // matrices at each position are einsum's business
  const int base_id = window.inputs[0];
  Axes all = op(base_id).axes;
  const auto subset = [&](const Axes& part, const Axes& whole) {
    return std::all_of(part.begin(), part.end(),
                       [&](const Axis& axis) { return holds(windows, axis.name) || has_axis(whole, axis.name); });
  };
  const bool matrix_product = !subset(op(other_id).axes, all) && !subset(all, op(other_id).axes);
  for (const Axis& axis : op(other_id).axes) {
    if (!has_axis(all, axis.name)) all.push_back(axis);
  }
  const std::vector<Axes> parts = {op(base_id).axes, without(op(other_id).axes, windows)};
  if (matrix_product && (!subset(all, core.axes) || grows(core.axes, parts))) return std::nullopt;  // einsum's business
  rule("taps");

  // Both operands laid out to broadcast, every axis that is read along in a dimension of its own, the windows last.
  value(base_id);
  value(other_id);
  const auto summed = [&](const std::string& axis) { return axis != kBatch && !has_axis(core.axes, axis); };
  Layout layout =
      cut(apart_along(common_layout(all, {base_id, other_id}), window.items), [&](const auto& left, const auto& right) {
        return holds(windows, left) != holds(windows, right) || summed(left) != summed(right);
      });
  std::erase_if(layout, [&](const Dim& dim) { return holds(windows, dim[0]); });
  const Layout base_layout = aligned(base_id, layout);
  Layout other_layout = aligned(other_id, layout);
  for (const Name& axis : others) other_layout.push_back({axis});
  const TorchValue base = arranged(value(base_id), base_layout);
  std::string factor = arranged(value(other_id), other_layout).code;
  const std::string wide = define(value(base_id).code + "_padded", padded(base.code, base_layout, window.items));
  if (factor != value(other_id).code) factor = define(value(other_id).code + "_weights", factor);
  return tap_products(core, {wide, layout, value(base_id).axes}, factor, window.items, others);
}

// "sum(p[:, :, i:i + H, j:j + W] * w[..., i, j] for i in range(3) for j in range(3))", or a stack of such products.
TorchValue TorchWriter::tap_products(const CoreOp& core, const TorchValue& wide, const std::string& factor,
                                     const std::vector<IndexItem>& items, const Dim& indexed) {
  const TapLoop loop = tap_loop(wide.axes, wide.layout, items);
  std::vector<std::string> taps = {"..."};
  Dim windows;
  for (const IndexItem& item : items) {
    if (item.made.empty()) continue;
    if (holds(indexed, item.made)) taps.push_back(loop.names[windows.size()]);
    windows.push_back(item.made);
  }
  std::string product = wide.code + loop.slices + " * " + factor + (indexed.empty() ? "" : "[" + join(taps) + "]");
  Layout layout;
  std::vector<int64_t> gone;
  for (size_t i = 0; i < wide.layout.size(); ++i) {
    const Dim& dim = wide.layout[i];
    if (dim[0] != kBatch && !has_axis(core.axes, dim[0]))
      gone.push_back(static_cast<int64_t>(i));
    else
      layout.push_back(dim);
  }
  if (!gone.empty()) product = "(" + product + ").sum(" + one_or_tuple(gone) + ")";
  if (!has_axis(core.axes, windows[0])) return assign(core, "sum(" + product + loop.loops + ")", layout);
  layout.insert(layout.begin() + 1, windows);
  return assign(core, "torch.stack([" + product + loop.loops + "], 1)", layout);
}

}  // namespace canvas

// Index maps that no consumer absorbed: strided slices, shifts by padding, windows by Tensor.unfold, neighbourhood shifts as a depthwise
// convolution with a constant one-hot filter (measured: as quick as slices and cat in eager PyTorch, 2 to 3 times quicker in others).
#include <algorithm>

#include "canvas/base/error.h"
#include "canvas/emit/python.h"
#include "canvas/emit/torch_writer.h"

namespace canvas {

namespace {

const IndexItem* item_along(const std::vector<IndexItem>& items, const Dim& dim) {
  for (const IndexItem& item : items) {
    if (holds(dim, item.axis)) return &item;
  }
  return nullptr;
}

}  // namespace

std::string TorchWriter::padded(const std::string& code, const Layout& layout, const std::vector<IndexItem>& items) const {
  std::vector<int64_t> pads;  // last dimension first, as F.pad wants them
  size_t used = 0;
  for (size_t i = layout.size(); i-- > 0;) {
    const IndexItem* item = item_along(items, layout[i]);
    const int64_t before = item ? item->dilation * (item->window / 2) - item->offset : 0;
    const int64_t after = item ? item->dilation * (item->window - 1 - item->window / 2) + item->offset : 0;
    pads.insert(pads.end(), {before, after});
    if (before != 0 || after != 0) used = pads.size();
  }
  pads.resize(used);
  return pads.empty() ? code : "F.pad(" + code + ", " + tuple(pads) + ")";
}

TorchValue TorchWriter::index(const CoreOp& core) {
  if (!core.over.empty()) return neighbourhood(core);
  const TorchValue& base = value(core.inputs[0]);
  const auto moved = [&](const std::string& axis) { return item_along(core.items, {axis}) != nullptr; };
  Layout layout = cut(base.layout, [&](const auto& left, const auto& right) { return moved(left) || moved(right); });
  std::string code = arranged(base, layout).code;
  for (const IndexItem& item : core.items) {
    const bool gone = std::abs(item.offset) >= extent(base.axes, item.axis);
    if (gone) return assign(core, "torch.zeros_like(" + base.code + ")", base.layout);
  }
  code = padded(code, layout, core.items);
  std::vector<std::string> slices(layout.size(), ":");
  for (const IndexItem& item : core.items) {
    if (item.made.empty() && stride(item) > 1) {
      slices[static_cast<size_t>(find_dim(layout, item.axis))] = "::" + std::to_string(stride(item));
    }
  }
  while (!slices.empty() && slices.back() == ":") slices.pop_back();
  if (!slices.empty()) code += "[" + join(slices) + "]";
  for (const IndexItem& item : core.items) {
    if (item.made.empty()) continue;
    const int64_t span = item.dilation * (item.window - 1) + 1;
    code += ".unfold" + tuple({find_dim(layout, item.axis), span, stride(item)});
    if (item.dilation > 1) code += "[..., ::" + std::to_string(item.dilation) + "]";
    layout.push_back({item.made});
  }
  if (code == base.code) return {code, layout, core.axes};
  return assign(core, code, layout);
}

TorchValue TorchWriter::neighbourhood(const CoreOp& core) {
  const TorchValue& base = value(core.inputs[0]);
  Layout layout = {{kBatch}, {core.over}};
  const Dim order = flat(base.layout);
  for (const std::string& axis : order) {
    const bool sliding = item_along(core.items, {axis}) != nullptr;
    if (axis == kBatch || axis == core.over) continue;
    const bool spatial = core.axes[static_cast<size_t>(find_axis(core.axes, axis))].role == Role::kSpatial;
    if (sliding || (spatial && layout.size() < 5 - core.items.size())) layout.push_back({axis});
    else layout[0].push_back(axis);
  }
  const size_t dims = layout.size() - 2;
  if (dims > 3) throw ArgumentError("shift: a neighbourhood of more than three axes has no PyTorch form");
  // Filter: one row of `over` a channel, all zero but at its neighbour.
  Layout filter = {{core.over}, {}};
  Layout flat_filter = {{core.over}, {}};
  Axes axes = {core.axes[static_cast<size_t>(find_axis(core.axes, core.over))]};
  std::vector<int64_t> padding, strides;
  int64_t neighbours = 1;
  for (const IndexItem& item : core.items) {
    flat_filter[1].push_back(item.axis);
    axes.push_back({item.axis, Size::constant(item.window), Role::kWindow});
    neighbours *= item.window;
  }
  for (size_t i = 2; i < layout.size(); ++i) {
    const IndexItem* item = item_along(core.items, layout[i]);
    filter.push_back(item ? layout[i] : Dim{});
    padding.push_back(item ? item->window / 2 : 0);
    strides.push_back(item ? stride(*item) : 1);
  }
  const std::string channels = std::to_string(extent(core.axes, core.over));
  const std::string count = std::to_string(neighbours);
  const TorchValue one_hot{"F.one_hot(torch.arange(" + channels + ") * " + count + " // " + channels + ", " + count + ")", flat_filter, axes};
  const std::string name = python_name(core.name.empty() ? "shift" : core.name);
  buffers_.push_back("self.register_buffer(\"" + name + "\", " + arranged(one_hot, filter).code + ".float(), persistent=False)");
  std::string code = "F.conv" + std::to_string(dims) + "d(" + arranged(base, layout).code + ", self." + name;
  if (one_or_tuple(strides) != "1") code += ", stride=" + one_or_tuple(strides);
  code += ", padding=" + one_or_tuple(padding) + ", groups=" + channels + ")";
  return assign(core, code, layout);
}

}  // namespace canvas

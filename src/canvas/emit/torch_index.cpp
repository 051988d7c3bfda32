// Index maps that no consumer absorbed: strided slices, shifts by padding, windows as a stack of slices (measured: 2 to 3 times quicker
// than the view that Tensor.unfold gives), neighbourhood shifts as a depthwise convolution with a constant one-hot filter (measured: as
// quick as slices and cat in eager PyTorch, 2 to 3 times quicker elsewhere).
#include <algorithm>
#include <cstdlib>

#include "canvas/base/error.h"
#include "canvas/emit/python.h"
#include "canvas/emit/torch_writer.h"

namespace canvas {

namespace {

// A shift by more than there is: F.pad cannot crop as far, a slice can.
std::string shifted_far(const std::string& code, size_t dim, size_t dims, int offset) {
  std::vector<int64_t> pads(2 * (dims - dim), 0);
  pads[pads.size() - (offset > 0 ? 1 : 2)] = std::abs(offset);
  std::vector<std::string> slices(dim, ":");
  slices.push_back(offset > 0 ? std::to_string(offset) + ":" : ":" + std::to_string(offset));
  return "F.pad(" + code + ", " + tuple(pads) + ")[" + join(slices) + "]";
}

}  // namespace

TorchValue TorchWriter::index(const CoreOp& core) {
  if (!core.over.empty()) return neighbourhood(core);
  const TorchValue& base = value(core.inputs[0]);
  Layout layout = apart_along(base.layout, core.items);
  std::string wide = arranged(base, layout).code;
  std::vector<IndexItem> items = core.items;
  Dim windows;
  for (IndexItem& item : items) {
    if (!item.made.empty()) windows.push_back(item.made);
    if (std::abs(item.offset) < extent(base.axes, item.axis)) continue;
    wide = shifted_far(wide, static_cast<size_t>(find_dim(layout, item.axis)), layout.size(), item.offset);
    item.offset = 0;
  }
  wide = padded(wide, layout, items);
  if (!windows.empty()) {
    const std::string name = define(base.code + "_padded", wide);
    const TapLoop loop = tap_loop(base.axes, layout, items);
    layout.insert(layout.begin() + 1, windows);
    return assign(core, "torch.stack([" + name + loop.slices + loop.loops + "], 1)", layout);
  }
  const std::string code = wide + tap_loop(base.axes, layout, items).slices;
  return code == base.code ? base : assign(core, code, layout);
}

TorchValue TorchWriter::neighbourhood(const CoreOp& core) {
  const TorchValue& base = value(core.inputs[0]);
  Layout layout = {{kBatch}, {core.over}};
  const Dim order = flat(base.layout);
  for (const Name& axis : order) {
    const bool sliding = item_along(core.items, axis) != nullptr;
    if (axis == kBatch || axis == core.over) continue;
    const bool spatial = core.axes[static_cast<size_t>(find_axis(core.axes, axis))].role == Role::kSpatial;
    if (sliding || (spatial && layout.size() < 5 - core.items.size()))
      layout.push_back({axis});
    else
      layout[0].push_back(axis);
  }
  const size_t dims = layout.size() - 2;
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
    const IndexItem* item = item_along(core.items, layout[i][0]);
    filter.push_back(item ? layout[i] : Dim{});
    padding.push_back(item ? item->window / 2 : 0);
    strides.push_back(item ? stride(*item) : 1);
  }
  const std::string channels = std::to_string(extent(core.axes, core.over));
  const std::string count = std::to_string(neighbours);
  TorchValue one_hot{"F.one_hot(torch.arange(" + channels + ") * " + count + " // " + channels + ", " + count + ")",
                     flat_filter, axes};
  require(!core.name.empty(), "a neighbourhood shift without a name");
  const std::string name = python_name(core.name);
  if (filter.size() <= kMostStoredDims) one_hot = arranged(one_hot, filter);
  const std::string buffer = "self.register_buffer(\"" + name + "\", " + one_hot.code + ".float(), persistent=False)";
  if (std::find(buffers_.begin(), buffers_.end(), buffer) == buffers_.end()) buffers_.push_back(buffer);
  one_hot.code = "self." + name;
  std::string code =
      "F.conv" + std::to_string(dims) + "d(" + arranged(base, layout).code + ", " + arranged(one_hot, filter).code;
  if (one_or_tuple(strides) != "1") code += ", stride=" + one_or_tuple(strides);
  code += ", padding=" + one_or_tuple(padding) + ", groups=" + channels + ")";
  return assign(core, code, layout);
}

}  // namespace canvas

// Parts of a value along an axis: one position taken (a slice), positions repeated (interpolation), values put side by side or one part
// replaced (torch.cat). Where the axis is the slow part of a dimension, that dimension is sliced as it is and nothing is taken apart.
#include <algorithm>

#include "canvas/base/error.h"
#include "canvas/emit/python.h"
#include "canvas/emit/torch_writer.h"

namespace canvas {

namespace {

constexpr int64_t kMostInterpolated = 8;  // up to here F.interpolate's own arithmetic finds the right neighbour

// "[:, 16:32]": part `from` to `to` (empty: open) of dimension `dim`.
std::string sliced(size_t dim, const std::string& from, const std::string& to) {
  std::string text = "[";
  for (size_t i = 0; i < dim; ++i) text += ":, ";
  return text + from + ":" + to + "]";
}

}  // namespace

TorchWriter::Slot TorchWriter::slot(const TorchValue& base, const std::string& axis) const {
  Slot found{base.layout, static_cast<size_t>(find_dim(base.layout, axis)), {}, 1};
  const Dim& dim = base.layout[found.dim];
  const bool leads = dim[0] == axis;
  found.rest.assign(dim.begin() + (leads ? 1 : 0), dim.end());
  if (leads &&
      std::all_of(found.rest.begin(), found.rest.end(), [&](const auto& name) { return fixed(base.axes, name); })) {
    found.unit = extent(base.axes, found.rest);
    return found;
  }
  found.layout = cut(base.layout, [&](const auto& left, const auto& right) { return left == axis || right == axis; });
  found.dim = static_cast<size_t>(find_dim(found.layout, axis));
  found.rest.clear();
  return found;
}

TorchValue TorchWriter::pick(const CoreOp& core) {
  TorchValue made = value(core.inputs[0]);
  if (has_axis(core.axes, core.items[0].axis)) return repeated(core, made);
  std::string code = made.code;
  for (const IndexItem& item : core.items) {
    const Slot at = slot(made, item.axis);
    made = arranged(made, at.layout);
    if (at.rest.empty()) {
      made.code += sliced(at.dim, std::to_string(item.offset), "");
      made.code.erase(made.code.size() - 2, 1);  // a number, no range: the dimension goes
      made.layout.erase(made.layout.begin() + static_cast<std::ptrdiff_t>(at.dim));
    } else {
      made.code += sliced(at.dim, std::to_string(item.offset * at.unit), std::to_string((item.offset + 1) * at.unit));
      made.layout[at.dim] = at.rest;
    }
    made.axes.erase_if([&](const Axis& axis) { return axis.name == item.axis; });
  }
  return assign(core, made.code, made.layout);
}

TorchValue TorchWriter::repeated(const CoreOp& core, const TorchValue& base) {
  const Layout layout = apart_along(base.layout, core.items);
  std::string code = arranged(base, layout).code;
  std::vector<int64_t> factors(layout.size(), 1);
  bool crops = false;
  for (const IndexItem& item : core.items) {
    factors[static_cast<size_t>(find_dim(layout, item.axis))] = stride(item);
    crops =
        crops || (item.stride.exponent(kStride) != 0 && stride(item) > 1);  // by the stride, extents were rounded up
  }
  if (std::all_of(factors.begin(), factors.end(), [](int64_t factor) { return factor == 1; })) return base;
  const bool interpolates = layout.size() > 2 && layout.size() <= 5 && factors[1] == 1 &&
                            *std::max_element(factors.begin(), factors.end()) <= kMostInterpolated;
  if (interpolates) {
    code = "F.interpolate(" + code +
           ", scale_factor=" + one_or_tuple(std::vector<int64_t>(factors.begin() + 2, factors.end())) + ")";
  } else {
    for (size_t i = 0; i < factors.size(); ++i) {
      if (factors[i] > 1) code += ".repeat_interleave(" + std::to_string(factors[i]) + ", " + std::to_string(i) + ")";
    }
  }
  if (crops) {
    std::vector<std::string> slices(layout.size(), ":");
    for (const IndexItem& item : core.items)
      slices[static_cast<size_t>(find_dim(layout, item.axis))] = ":" + extent_code(core.axes, item.axis).code;
    while (slices.back() == ":") slices.pop_back();
    code += "[" + join(slices) + "]";
  }
  return assign(core, code, layout);
}

TorchValue TorchWriter::put(const CoreOp& core) {
  const IndexItem& item = core.items[0];
  if (!item.made.empty()) return stacked(core);
  const TorchValue& base = value(core.inputs[0]);
  const TorchValue& given = value(core.inputs[1]);
  const Slot at = slot(base, item.axis);
  const std::string whole = arranged(base, at.layout).code;
  Layout part = at.layout;
  part[at.dim] = at.rest;
  const int64_t first = item.offset * at.unit, last = first + at.unit;
  std::vector<std::string> parts;
  const std::string name = whole == base.code ? whole : define("t", whole);
  if (first > 0) parts.push_back(name + sliced(at.dim, "", std::to_string(first)));
  parts.push_back(arranged(given, part).code);
  if (!fixed(base.axes, item.axis) || last < extent(base.axes, item.axis) * at.unit)
    parts.push_back(name + sliced(at.dim, std::to_string(last), ""));
  return assign(core, "torch.cat([" + join(parts) + "], " + std::to_string(at.dim) + ")", at.layout);
}

TorchValue TorchWriter::stacked(const CoreOp& core) {
  for (int input : core.inputs) value(input);
  Layout layout = without_ones(value(core.inputs[0]).layout);
  if (layout.size() == 1) layout.emplace_back();
  std::vector<std::string> parts;
  for (int input : core.inputs) parts.push_back(arranged(value(input), layout).code);
  layout[1].insert(layout[1].begin(), core.items[0].made);
  return assign(core, "torch.cat([" + join(parts) + "], 1)", layout);
}

}  // namespace canvas

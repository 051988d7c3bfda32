// Contractions with a parameter that are convolutions: windows contracted (dense, grouped, depthwise, dilated, strided), or channels
// contracted at every position (1x1).
#include <algorithm>

#include "canvas/emit/python.h"
#include "canvas/emit/torch_writer.h"
#include "canvas/lower/rewriter.h"

namespace canvas {

namespace {

// Whether the convolution can read along this item by itself: its axis stays, its window is contracted.
bool absorbed(const IndexItem& item, const CoreOp& core, const CoreOp& weights) {
  if (item.offset != 0 || !has_axis(core.axes, item.axis) || has_axis(weights.axes, item.axis)) return false;
  if (item.made.empty()) return true;
  return item.window % 2 == 1 && has_axis(weights.axes, item.made) && !has_axis(core.axes, item.made);
}

// Whether PyTorch can train it: in a strided 1x1 convolution of fewer than 16 channels, stored channels last, oneDNN's weight gradient
// writes past its buffer (uxlfoundation/oneDNN issue 6035; seen with PyTorch 2.13). A slice before the convolution does the same.
bool trainable(const std::vector<IndexItem>& items, int64_t contracted) {
  return contracted >= 16 ||
         std::any_of(items.begin(), items.end(), [](const IndexItem& item) { return !item.made.empty(); });
}

// How the operand's axes are used: [front (into the batch), groups, from (contracted), spatial dimensions].
struct Plan {
  Dim front, groups, to, from;
  Layout spatial;
  bool single = false;  // one filter for every channel of `front`
};

// Folds what is more than `most` spatial dimensions: first neighbours that no window reads along, then into the batch.
bool fit_spatial(Plan& plan, const std::vector<IndexItem>& items, size_t most) {
  const auto plain = [&](const Dim& dim) { return item_along(items, dim[0]) == nullptr; };
  for (size_t i = 0; plan.spatial.size() > most && i + 1 < plan.spatial.size();) {
    if (plain(plan.spatial[i]) && plain(plan.spatial[i + 1])) {
      plan.spatial[i].insert(plan.spatial[i].end(), plan.spatial[i + 1].begin(), plan.spatial[i + 1].end());
      plan.spatial.erase(plan.spatial.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    } else {
      ++i;
    }
  }
  for (size_t i = 0; plan.spatial.size() > most && i < plan.spatial.size();) {
    if (!plain(plan.spatial[i])) {
      ++i;
      continue;
    }
    plan.front.insert(plan.front.end(), plan.spatial[i].begin(), plan.spatial[i].end());
    plan.spatial.erase(plan.spatial.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return !plan.spatial.empty() && plan.spatial.size() <= 3;
}

std::optional<Plan> make_plan(const CoreOp& core, const CoreOp& weights, const TorchValue& base,
                              const std::vector<IndexItem>& items) {
  Plan plan;
  bool windows = false;
  size_t most = 3;
  for (const IndexItem& item : items) windows = windows || !item.made.empty();
  for (const Axis& axis : weights.axes) {
    const bool kept = has_axis(core.axes, axis.name), in_base = has_axis(base.axes, axis.name);
    if (kept)
      (in_base ? plan.groups : plan.to).push_back(axis.name);
    else if (in_base)
      plan.from.push_back(axis.name);
    if (in_base && axis.role == Role::kSpatial) return std::nullopt;
  }
  const Dim order = flat(base.layout);
  for (Dim* dim : {&plan.groups, &plan.from}) {  // as they lie: it is cheaper to move the parameter than the value
    std::sort(dim->begin(), dim->end(), [&](const auto& left, const auto& right) {
      return std::find(order.begin(), order.end(), left) < std::find(order.begin(), order.end(), right);
    });
  }
  const auto channel = [&](const std::string& name) { return holds(plan.groups, name) || holds(plan.from, name); };
  const auto first = std::find_if(order.begin(), order.end(), channel);
  for (auto axis = order.begin(); axis != order.end(); ++axis) {
    if (*axis == kBatch || channel(*axis)) continue;
    const bool is_spatial = base.axes[static_cast<size_t>(find_axis(base.axes, *axis))].role == Role::kSpatial;
    const bool behind = first != order.end() ? axis > first : is_spatial;
    if (item_along(items, *axis) || behind)
      plan.spatial.push_back({*axis});
    else
      plan.front.push_back(*axis);
    if (behind && !is_spatial) most = 2;  // not worth a conv3d
  }
  if (!fit_spatial(plan, items, most)) return std::nullopt;
  plan.single = windows && first == order.end() && plan.to.empty() && !plan.front.empty();
  return plan;
}

}  // namespace

std::optional<TorchValue> TorchWriter::convolution(const CoreOp& core, int operand, int weights_id) {
  const CoreOp& weights = op(weights_id);
  int base_id = operand;
  std::vector<IndexItem> items;
  const CoreOp& x = op(operand);
  int64_t contracted = 1;
  for (const Axis& axis : weights.axes)
    contracted *= has_axis(core.axes, axis.name) ? 1 : extent(weights.axes, axis.name);
  if (x.kind == CoreKind::kIndex && x.over.empty() && trainable(x.items, contracted) &&
      std::all_of(x.items.begin(), x.items.end(),
                  [&](const IndexItem& item) { return absorbed(item, core, weights); }) &&
      rule("convolution")) {
    items = x.items;
    base_id = x.inputs[0];
  }
  const TorchValue& base = value(base_id);
  std::optional<Plan> plan = make_plan(core, weights, base, items);
  if (!plan) return std::nullopt;
  for (const Name& axis : plan->front) plan->single = plan->single && fixed(base.axes, axis);

  Dim in = plan->groups, out = plan->groups;
  in.insert(in.end(), plan->from.begin(), plan->from.end());
  out.insert(out.end(), plan->to.begin(), plan->to.end());
  Layout filter = {out, plan->from};
  std::vector<int64_t> strides, padding, dilation;
  for (const Dim& dim : plan->spatial) {
    const IndexItem* item = item_along(items, dim[0]);
    filter.push_back(item && !item->made.empty() ? Dim{item->made} : Dim{});
    strides.push_back(item ? stride(*item) : 1);
    dilation.push_back(item ? item->dilation : 1);
    padding.push_back(item ? item->dilation * (item->window / 2) : 0);
  }
  Layout layout = {{kBatch}, in};
  Dim& front = layout[plan->single ? 1 : 0];
  front.insert(front.end(), plan->front.begin(), plan->front.end());
  layout.insert(layout.end(), plan->spatial.begin(), plan->spatial.end());
  const int64_t groups = extent(base.axes, plan->single ? plan->front : plan->groups);

  std::string code = "F.conv" + std::to_string(plan->spatial.size()) + "d(" + arranged(base, layout).code + ", " +
                     weight(weights_id, filter).code;
  if (code.ends_with(')') || code.ends_with(']'))
    code += ".contiguous()";  // the backward pass of some convolutions demands it
  if (plan->single) {
    code += ".repeat(" + std::to_string(groups);
    for (size_t i = 1; i < filter.size(); ++i) code += ", 1";
    code += ")";
  }
  const auto option = [&](const char* name, const std::string& value, const char* standard) {
    if (value != standard) code += std::string(", ") + name + "=" + value;
  };
  option("stride", one_or_tuple(strides), "1");
  option("padding", one_or_tuple(padding), "0");
  option("dilation", one_or_tuple(dilation), "1");
  option("groups", std::to_string(groups), "1");
  if (!plan->single) layout[1] = out;
  return assign(core, code + ")", layout);
}

// Weights that each image has of its own: the batch becomes groups.
std::optional<TorchValue> TorchWriter::sample_convolution(const CoreOp& core, int operand, int weights_id) {
  const CoreOp& x = op(operand);
  const CoreOp& weights = op(weights_id);
  if (!has_windows(x) || !lowering_.has("sample_convolution")) return std::nullopt;
  for (const IndexItem& item : x.items) {
    if (!absorbed(item, core, weights)) return std::nullopt;
  }
  const TorchValue& base = value(x.inputs[0]);
  const TorchValue& filters = value(weights_id);
  const std::optional<Plan> plan = make_plan(core, weights, base, x.items);
  if (!plan || plan->to.empty() || plan->from.empty() || !plan->front.empty() || filters.layout[0] != Dim{kBatch})
    return std::nullopt;
  rule("sample_convolution");
  Dim in = {kBatch}, out = {kBatch};
  for (Dim* dim : {&in, &out}) dim->insert(dim->end(), plan->groups.begin(), plan->groups.end());
  in.insert(in.end(), plan->from.begin(), plan->from.end());
  out.insert(out.end(), plan->to.begin(), plan->to.end());
  Layout layout = {{}, in}, filter = {out, plan->from};
  std::vector<int64_t> strides, padding, dilation;
  for (const Dim& dim : plan->spatial) {
    const IndexItem* item = item_along(x.items, dim[0]);
    filter.push_back(item && !item->made.empty() ? Dim{item->made} : Dim{});
    strides.push_back(item ? stride(*item) : 1);
    dilation.push_back(item ? item->dilation : 1);
    padding.push_back(item ? item->dilation * (item->window / 2) : 0);
    layout.push_back(dim);
  }
  const std::string input = arranged(base, layout).code, given = arranged(filters, filter).code;
  const int64_t groups = extent(base.axes, plan->groups);
  const std::string code = "F.conv" + std::to_string(plan->spatial.size()) + "d(" + input + ", " + given +
                           ", stride=" + one_or_tuple(strides) + ", padding=" + one_or_tuple(padding) +
                           ", dilation=" + one_or_tuple(dilation) + ", groups=" + base.code + ".shape[0]" +
                           (groups > 1 ? " * " + std::to_string(groups) : "") + ")";
  layout[1] = out;
  Layout apart = {{kBatch}, Dim(out.begin() + 1, out.end())};
  apart.insert(apart.end(), plan->spatial.begin(), plan->spatial.end());
  const TorchValue made = arranged({code, layout, core.axes}, apart);
  return assign(core, made.code, made.layout);
}

std::optional<TorchValue> TorchWriter::tap_convolution(const CoreOp& core, const TorchValue& base, int weights_id,
                                                       const TapTree& taps) {
  CoreOp weights = op(weights_id);
  Layout filter;
  std::vector<std::string> index;
  for (const Name& axis : taps.windows) {
    if (!has_axis(weights.axes, axis)) continue;
    filter.push_back({axis});
    index.push_back(taps.names.at(axis));
  }
  weights.axes.erase_if([&](const Axis& axis) { return holds(taps.windows, axis.name); });
  const std::optional<Plan> plan = make_plan(core, weights, base, {});
  if (!plan) return std::nullopt;
  Dim in = plan->groups, out = plan->groups, batch = {kBatch};
  in.insert(in.end(), plan->from.begin(), plan->from.end());
  out.insert(out.end(), plan->to.begin(), plan->to.end());
  batch.insert(batch.end(), plan->front.begin(), plan->front.end());
  filter.push_back(out);
  filter.push_back(plan->from);
  filter.insert(filter.end(), plan->spatial.size(), Dim{});
  Layout layout = {batch, in};
  layout.insert(layout.end(), plan->spatial.begin(), plan->spatial.end());
  std::string code = weight(weights_id, filter).code;
  if (code.ends_with(')') || code.ends_with(']')) code = define("w", code + ".contiguous()");
  if (!index.empty()) code += "[" + join(index) + "]";
  code = "F.conv" + std::to_string(plan->spatial.size()) + "d(" + arranged(base, layout).code + ", " + code;
  const int64_t groups = extent(base.axes, plan->groups);
  if (groups > 1) code += ", groups=" + std::to_string(groups);
  layout[1] = out;
  return TorchValue{code + ")", layout, core.axes};
}

}  // namespace canvas

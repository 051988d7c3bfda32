#include "canvas/prims/common.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace canvas {

Fault missing_axis(const char* label, const Name& name, const Axes& axes, const Variables& variables) {
  return {label, "an axis of the operand", name, "it has " + to_string(axes, variables)};
}

std::optional<Fault> put_in_order(AxisNames& names, const Axes& axes, const char* label, const Variables& variables) {
  for (const Name& name : names) {
    if (!has_axis(axes, name)) return missing_axis(label, name, axes, variables);
    if (std::count(names.begin(), names.end(), name) > 1) return Fault{label, "each axis once", name + " twice", ""};
  }
  std::sort(names.begin(), names.end(),
            [&](const auto& left, const auto& right) { return find_axis(axes, left) < find_axis(axes, right); });
  return std::nullopt;
}

AxisNames axes_of(const AxisItems& items) {
  AxisNames names;
  for (const AxisItem& item : items) names.push_back(item.axis);
  return names;
}

Axes without(const Axes& axes, const AxisNames& names) {
  Axes rest;
  rest.reserve(axes.size());
  for (const Axis& axis : axes) {
    if (!contains(names, axis.name)) rest.push_back(axis);
  }
  return rest;
}

Axes select(const Axes& axes, const AxisNames& names) {
  Axes found;
  found.reserve(names.size());
  for (const Name& name : names) found.push_back(axes[static_cast<size_t>(find_axis(axes, name))]);
  return found;
}

bool contains(const AxisNames& names, const Name& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Result<Axes> broadcast(Inference& inference, const char* label) {
  Axes result = inference.operand(0);
  for (const Axis& axis : inference.operand(1)) {
    const int found = find_axis(result, axis.name);
    if (found < 0) {
      result.push_back(axis);
      continue;
    }
    const Size& other = result[static_cast<size_t>(found)].size;
    if (other == axis.size) continue;
    if (auto fault = inference.equations.equate(other, axis.size, label, inference.variables)) {
      fault->required = "axis " + axis.name + " of both operands the same size: " + fault->required;
      return *fault;
    }
  }
  return result;
}

std::vector<int64_t> extents_of(const Axes& axes, const Values& values) {
  std::vector<int64_t> extents;
  for (const Axis& axis : axes) {
    const auto extent = axis.size.evaluate(values);
    require(extent.has_value(), "an axis without an integral size was evaluated");
    extents.push_back(*extent);
  }
  return extents;
}

std::vector<int64_t> strides_for(const Axes& loop, const Axes& axes, const Values& values) {
  std::vector<int64_t> strides(loop.size(), 0);
  const std::vector<int64_t> extents = extents_of(axes, values);
  int64_t stride = 1;
  for (size_t i = axes.size(); i-- > 0;) {
    const int position = find_axis(loop, axes[i].name);
    if (position >= 0) strides[static_cast<size_t>(position)] = stride;
    stride *= extents[i];
  }
  return strides;
}

std::vector<int64_t> Evaluation::extents() const { return extents_of(node.axes, values); }

Tensor sum_of_products(const Axes& result, const Axes& left_axes, const Tensor& left, const Axes& right_axes,
                       const Tensor& right, const Values& values, int64_t& flops) {
  Axes loop = result;
  for (const Axes* axes : {&left_axes, &right_axes}) {
    for (const Axis& axis : *axes) {
      if (!has_axis(loop, axis.name)) loop.push_back(axis);
    }
  }
  Tensor sum(extents_of(result, values));
  const std::array<std::vector<int64_t>, 3> strides = {
      strides_for(loop, result, values), strides_for(loop, left_axes, values), strides_for(loop, right_axes, values)};
  walk(extents_of(loop, values), strides, [&](const std::array<size_t, 3>& at) {
    sum.data[at[0]] += left.data[at[1]] * right.data[at[2]];
    flops += 2;
  });
  return sum;
}

Count flop_per_element(const OperandAxes&, const Node& node) { return elements(node.axes); }

Moments same_moments(const std::vector<Moments>& operands, const OperandAxes&, const Node& node, const Values&) {
  Moments out{operands[0].mean, operands[0].square, operands[0].low, operands[0].high};
  if (node.primitive->is(kPads)) {
    out.low = std::min(out.low, 0.0);
    out.high = std::max(out.high, 0.0);
  }
  return out;
}

namespace {

constexpr double kLeastSlope = 0.01;
constexpr double kFar = 40;  // what an infinite argument is taken for
constexpr int kBoundSteps = 128;

// The standard normal density at 12 i / steps - 6, up to a factor.
const std::vector<double>& densities(int steps) {
  static thread_local std::map<int, std::vector<double>> known;
  std::vector<double>& found = known[steps];
  for (int i = static_cast<int>(found.size()); i <= steps; ++i) {
    const double z = 12.0 * i / steps - 6.0;
    found.push_back(std::exp(-0.5 * z * z));
  }
  return found;
}

// The bounds of function(z) for z between `low` and `high`, from values on a grid; infinite where it grows on towards an infinite end.
void bound_function(Moments& result, double (*function)(double), double low, double high) {
  const double first = std::max(low, std::min(-kFar, high - 1)), last = std::min(high, std::max(kFar, low + 1));
  result.low = HUGE_VAL;
  result.high = -HUGE_VAL;
  const auto include = [&](double y) {
    result.low = std::min(result.low, y);
    result.high = std::max(result.high, y);
  };
  for (int i = 0; i <= kBoundSteps; ++i) include(function(first + (last - first) * i / kBoundSteps));
  const auto extend = [&](double end, double inner) {
    const double rise = function(end) - function(inner);
    if (std::fabs(rise) >= kLeastSlope * std::fabs(end - inner)) include(std::copysign(HUGE_VAL, rise));
  };
  if (low < first) extend(first, first + 1);
  if (high > last) extend(last, last - 1);
}

}  // namespace

Moments moments_of(double (*function)(double), const Moments& operand, int steps) {
  const double deviation = std::sqrt(std::max(operand.variance(), 1e-12));
  const std::vector<double>& density = densities(steps);
  double weights = 0, varied = 0, answered = 0, before = 0, value_before = 0;
  Moments out{0, 0};
  for (int i = 0; i <= steps; ++i) {
    const double z = std::clamp(operand.mean + deviation * (12.0 * i / steps - 6.0), operand.low, operand.high);
    const double weight = density[static_cast<size_t>(i)];
    const double y = function(z);
    weights += weight;
    out.mean += weight * y;
    out.square += weight * y * y;
    if (i > 0 && z > before) {
      varied += weight;
      if (std::fabs(y - value_before) >= kLeastSlope * (z - before)) answered += weight;
    }
    before = z;
    value_before = y;
  }
  out.mean /= weights;
  out.square /= weights;
  out.answers = varied > 0 ? answered / varied : 0;
  bound_function(out, function, operand.low, operand.high);
  return out;
}

void bound_product(Moments& result, const Moments& x, const Moments& y) {
  result.low = HUGE_VAL;
  result.high = -HUGE_VAL;
  for (double a : {x.low, x.high}) {
    for (double b : {y.low, y.high}) {
      const double product = a == 0 || b == 0 ? 0 : a * b;
      result.low = std::min(result.low, product);
      result.high = std::max(result.high, product);
    }
  }
}

void propose_plain(const Proposal&, Random&, std::vector<Attributes>& found) { found.emplace_back(); }

std::optional<Fault> check_items(const AxisItems& items, const Axes& axes, const char* label,
                                 const Variables& variables) {
  for (auto item = items.begin(); item != items.end(); ++item) {
    if (!has_axis(axes, item->axis)) return missing_axis(label, item->axis, axes, variables);
    const bool seen = std::any_of(items.begin(), item, [&](const AxisItem& other) { return other.axis == item->axis; });
    if (seen) return Fault{label, "each axis once", item->axis + " twice", ""};
  }
  return std::nullopt;
}

std::optional<Fault> check_indices(const AxisItems& items, const Axes& axes, const char* label,
                                   const Variables& variables) {
  for (const AxisItem& item : items) {
    const Size& size = axes[static_cast<size_t>(find_axis(axes, item.axis))].size;
    if (item.offset >= 0 && (!size.is_constant() || item.offset < size.numerator())) continue;
    return Fault{label, "a position from 0 and below " + to_string(size, variables), std::to_string(item.offset), ""};
  }
  return std::nullopt;
}

std::optional<Fault> misfit_indices(const Node& node, const OperandAxes& operands, const Values& values) {
  for (const AxisItem& item : node.attributes.items) {
    const auto extent = (*operands[0])[static_cast<size_t>(find_axis(*operands[0], item.axis))].size.evaluate(values);
    if (item.offset < extent.value_or(0)) continue;
    return Fault{
        "", "an axis " + item.axis + " longer than the position " + std::to_string(item.offset) + " of " + node.name,
        std::to_string(extent.value_or(0)), ""};
  }
  return std::nullopt;
}

bool same_axes(const Axes& left, const Axes& right) {
  return left.size() == right.size() && std::all_of(left.begin(), left.end(), [&](const Axis& axis) {
           const int found = find_axis(right, axis.name);
           return found >= 0 && right[static_cast<size_t>(found)].size == axis.size;
         });
}

bool is_part(const Size& size) {
  if (size.is_constant()) return size.numerator() > 1 && size.numerator() <= 16;
  for (int v = kFirstDynamic; v < kMaxVariables; ++v) {
    if (size == Size::variable(v)) return true;
  }
  return false;
}

int any_index(const Size& size, Random& random) {
  return size.is_constant() ? static_cast<int>(random.below(static_cast<size_t>(size.numerator()))) : 0;
}

CoreOp core_op(CoreKind kind, const Node& node, std::vector<int> inputs) {
  CoreOp op{kind, std::move(inputs), node.axes, {}, {}, {}, "", "", node.name};
  return op;
}

CoreOp core_step(CoreKind kind, std::vector<int> inputs, Axes axes) {
  return {kind, std::move(inputs), std::move(axes), {}, {}, {}, "", "", ""};
}

double count_along(const Axes& axes, const AxisNames& names, const Values& values) {
  double count = 1;
  for (const Axis& axis : select(axes, names)) count *= static_cast<double>(axis.size.evaluate(values).value_or(1));
  return count;
}

void apply(CoreOp& op, const Primitive& primitive) {
  op.function = primitive.name;
  op.scalar = {primitive.torch, primitive.is(kKeepsZero)};
}

int lower_map(const Node& node, const OperandAxes&, const std::vector<int>& inputs, CoreProgram& program) {
  CoreOp map = core_op(CoreKind::kMap, node, inputs);
  apply(map, *node.primitive);
  return program.add(std::move(map));
}

int lower_view(const Node& node, const OperandAxes&, const std::vector<int>& inputs, CoreProgram& program) {
  CoreOp op = core_op(CoreKind::kView, node, inputs);
  op.from = node.attributes.from;
  op.to = node.attributes.to;
  return program.add(std::move(op));
}

}  // namespace canvas

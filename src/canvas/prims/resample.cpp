// subsample and upsample: keep every n-th position of an axis, or repeat each one n times. By the stride s, extents round up, so that
// upsample gives back the extent that subsample took: of H = 7, subsample by s = 2 keeps 4 positions, and upsample makes them 7 again
// (the last one stands once). A factor of upsample that is a size, with a split of it, gives a value an axis that it does not have.
#include <algorithm>
#include <utility>

#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"

namespace canvas {

namespace {

// The product of an integer and of variables other than the stride.
bool is_multiple(const Size& factor) {
  for (int variable = 0; variable < kMaxVariables; ++variable) {
    if (factor.exponent(variable) < 0 || (variable == kStride && factor.exponent(variable) != 0)) return false;
  }
  return factor.denominator() == 1 && !factor.is_one();
}

Result<Axes> infer(Inference& in, bool up, const char* axes_label, const char* factor_label, const char* example) {
  if (in.attributes.items.empty()) return Fault{axes_label, "at least one axis", "none", example};
  if (auto fault = check_items(in.attributes.items, in.operand(), axes_label, in.variables)) return *fault;
  Axes result = in.operand();
  for (const AxisItem& item : in.attributes.items) {
    const bool whole = is_multiple(item.amount) && (up || item.amount.is_constant());
    if (!whole && item.amount != Size::variable(kStride)) {
      return Fault{factor_label,
                   up ? "the factor must be s, an integer from 2 or a product of other sizes"
                      : "the factor must be s or an integer from 2",
                   to_string(item.amount, in.variables), ""};
    }
    Axis& axis = result[static_cast<size_t>(find_axis(result, item.axis))];
    axis.size = up ? axis.size * item.amount : axis.size / item.amount;
  }
  return result;
}

Result<Axes> infer_subsample(Inference& in) {
  return infer(in, false, "subsample C1", "subsample C2", "write subsample(x, H: s, W: s)");
}
Result<Axes> infer_upsample(Inference& in) {
  return infer(in, true, "upsample C1", "upsample C2", "write upsample(x, H: 2, W: 2)");
}

std::vector<int64_t> factors_of(const Node& node, const Axes& operand, const Values& values) {
  std::vector<int64_t> factors(operand.size(), 1);
  for (const AxisItem& item : node.attributes.items) {
    factors[static_cast<size_t>(find_axis(operand, item.axis))] = item.amount.evaluate(values).value_or(1);
  }
  return factors;
}

// The longer of the two extents over the factor, rounded up, is the shorter one: not so for H*W/s, of which H alone rounds up.
std::optional<Fault> misfit(const Node& node, const OperandAxes& operands, const Values& values) {
  const std::vector<int64_t> factors = factors_of(node, *operands[0], values);
  for (size_t i = 0; i < factors.size(); ++i) {
    const int64_t before = (*operands[0])[i].size.evaluate(values).value_or(1);
    const int64_t after = node.axes[i].size.evaluate(values).value_or(1);
    if (factors[i] == 1 || (std::max(before, after) - 1) / factors[i] + 1 == std::min(before, after)) continue;
    return Fault{"", "a factor that divides axis " + node.axes[i].name + " of " + node.name,
                 std::to_string(factors[i]) + " for " + std::to_string(std::max(before, after)), ""};
  }
  return std::nullopt;
}

template <bool up>
Tensor evaluate(const Evaluation& e) {
  const std::vector<int64_t> factors = factors_of(e.node, *e.operand_axes[0], e.values);
  Tensor result(e.extents());
  size_t next = 0;
  for_each_index(result.shape, [&](const std::vector<int64_t>& index) {
    std::vector<int64_t> source = index;
    for (size_t axis = 0; axis < source.size(); ++axis)
      source[axis] = up ? source[axis] / factors[axis] : source[axis] * factors[axis];
    result.data[next++] = e.operands[0]->at(source);
  });
  return result;
}

// Its size over that which the result wants, for each spatial axis that the result has.
Axes excesses(const Proposal& proposal) {
  Axes found;
  for (const Axis& axis : proposal.operand()) {
    const int wanted = find_axis(proposal.signature.to, axis.name);
    if (wanted < 0 || axis.role != Role::kSpatial) continue;
    found.push_back({axis.name, axis.size / proposal.signature.to[static_cast<size_t>(wanted)].size, axis.role});
  }
  return found;
}

// By the stride, where that is still to be done; now and then by 2, for a view from further away that upsample takes back.
void propose_subsample(const Proposal& proposal, Random& random, std::vector<Attributes>& found) {
  Attributes stride, half;
  for (const auto& [axis, excess, _] : excesses(proposal)) {
    if (excess.exponent(kStride) > 0) stride.items.push_back({axis, "", Size::variable(kStride)});
    if (excess.denominator() == 1) half.items.push_back({axis, "", Size::constant(2)});
  }
  if (!stride.items.empty()) found.push_back(stride);
  if (stride.items.size() > 1 && random.chance(0.1)) {  // as windows along one axis after the other want it
    stride.items = {random.pick(stride.items)};
    found.push_back(std::move(stride));
  }
  if (!half.items.empty() && random.chance(0.1)) found.push_back(std::move(half));
}

// Back to the size that the result wants, and no further.
void propose_upsample(const Proposal& proposal, Random&, std::vector<Attributes>& found) {
  Attributes attributes;
  for (const auto& [axis, excess, _] : excesses(proposal)) {
    if (excess.denominator() > 1) attributes.items.push_back({axis, "", Size::constant(excess.denominator())});
  }
  if (!attributes.items.empty()) found.push_back(std::move(attributes));
}

int lower(const Node& node, const OperandAxes&, const std::vector<int>& inputs, CoreProgram& program) {
  CoreOp op = core_op(node.primitive == &upsample_primitive() ? CoreKind::kPick : CoreKind::kIndex, node, inputs);
  for (const AxisItem& item : node.attributes.items) op.items.push_back({item.axis, "", 1, 1, 0, item.amount});
  return program.add(std::move(op));
}

}  // namespace

const Primitive& subsample_primitive() {
  static const Primitive primitive{
      .name = "subsample",
      .summary = "keeps every n-th position of an axis, the first included",
      .formula = "y[.., i, ..] = x[.., n*i, ..]",
      .grammar = kItems,
      .properties = kLinear | kView,
      .order = kDropsFirst,
      .constraints = {{"subsample C1", "every axis is one of the operand, named once"},
                      {"subsample C2", "the factor is s or an integer from 2"}},
      .example = "subsample(x, H: s, W: 2)",
      .weight = 1.0,
      .infer = infer_subsample,
      .misfit = misfit,
      .evaluate = evaluate<false>,
      .moments = same_moments,
      .propose = propose_subsample,
      .lower = lower,
  };
  return primitive;
}

const Primitive& upsample_primitive() {
  static const Primitive primitive{
      .name = "upsample",
      .summary = "repeats every position of an axis n times (nearest neighbour); undoes subsample's change of extents",
      .formula = "y[.., i, ..] = x[.., i/n rounded down, ..]",
      .grammar = kItems,
      .properties = kLinear | kView,
      .order = kCopiesLast,
      .constraints = {{"upsample C1", "every axis is one of the operand, named once"},
                      {"upsample C2",
                       "the factor is s, an integer from 2 or a product of other sizes (to repeat a value along a new "
                       "axis: split it off)"}},
      .example = "upsample(x, H: 2, W: s)",
      .weight = 0.5,
      .infer = infer_upsample,
      .misfit = misfit,
      .evaluate = evaluate<true>,
      .moments = same_moments,
      .propose = propose_upsample,
      .lower = lower,
  };
  return primitive;
}

}  // namespace canvas

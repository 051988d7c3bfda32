#include "canvas/sample/growth.h"

#include <algorithm>
#include <cmath>

#include "canvas/prims/registry.h"
#include "canvas/sample/closing.h"

namespace canvas {

namespace {

constexpr int kAttempts = 16;  // draws before a closing step is taken instead

}  // namespace

void Limits::check() const {
  if (min_primitives < 1 || max_primitives < min_primitives || max_primitives > 64) {
    throw ArgumentError("the number of primitives must satisfy 1 <= min_primitives <= max_primitives <= 64, got " +
                        std::to_string(min_primitives) + " and " + std::to_string(max_primitives));
  }
  if (max_primitives < 3)
    throw ArgumentError("max_primitives must be at least 3: a window, a contraction and a stride");
  if (max_weighted < 1) throw ArgumentError("max_weighted must be at least 1, got " + std::to_string(max_weighted));
  if (max_width < 1 || max_width > 8)
    throw ArgumentError("max_width must be from 1 to 8, got " + std::to_string(max_width));
  if (max_variables < 0 || max_variables > kMaxVariables - kFirstDynamic) {
    throw ArgumentError("max_variables must be from 0 to 8, got " + std::to_string(max_variables));
  }
  for (const auto& [name, weight] : weights) {
    if (!find_primitive(name)) throw ArgumentError("no primitive is called '" + name + "'; see docs/language.md");
    if (!(weight >= 0) || !std::isfinite(weight)) throw ArgumentError("the weight of " + name + " must be 0 or more");
  }
  const bool any = std::any_of(primitives().begin(), primitives().end(),
                               [&](const Primitive* primitive) { return weight_of(*primitive, weights) > 0; });
  if (!any) throw ArgumentError("the weights forbid every primitive; give at least one a weight above 0");
}

Growth::Growth(Builder builder, const Limits& limits, Random& random)
    : builder_(std::move(builder)), limits_(limits), random_(random) {
  for (const Primitive* primitive : primitives()) weights_.push_back(weight_of(*primitive, limits.weights));
  while (builder_.variables().count() < kFirstDynamic + limits.max_variables) {
    std::string name = "r";
    while (builder_.variables().find(name) >= 0) name += "r";
    builder_.variables().add(name);
  }
}

bool Growth::can_close() const {
  return Closing(builder_, limits_.weights)
      .within(limits_.max_primitives - static_cast<int>(builder_.nodes().size()) + 1);
}

bool Growth::complete() const {
  const std::vector<int> values = open_values(builder_);
  if (values.size() != 1) return false;
  const Axes& axes = builder_.axes(values[0]);
  return axes.size() == builder_.signature().to.size() && subset(axes, builder_.signature().to);
}

Kernel Growth::grow(int length, const std::string& name) {
  while (true) {
    const int remaining = length - (static_cast<int>(builder_.nodes().size()) - 1);
    if (complete() && (remaining <= 0 || random_.chance(0.3))) break;
    bool grown = false;
    for (int attempt = 0; attempt < kAttempts && remaining > 0 && !grown; ++attempt) grown = try_action(remaining);
    if (!grown) {
      if (complete()) break;
      close_step(remaining);
    }
  }
  auto kernel = builder_.finish(name);
  require(static_cast<bool>(kernel), "a grown kernel does not verify");
  return std::move(*kernel);
}

int Growth::weighted() const {
  int count = 0;
  for (const Node& node : builder_.nodes()) count += node.primitive && node.primitive->weighted();
  return count;
}

bool Growth::try_action(int remaining) {
  const Primitive& primitive = *primitives()[random_.weighted(weights_)];
  // One weighted primitive is kept back for the closing contraction.
  if (primitive.weighted() && weighted() + 1 >= limits_.max_weighted) return false;
  return primitive.arity == 1 ? try_unary(primitive, remaining) : try_join(primitive, remaining);
}

bool Growth::keep_if_closable(int remaining) {
  if (static_cast<int>(builder_.loose().size()) <= limits_.max_width &&
      Closing(builder_, limits_.weights).within(remaining - 1))
    return true;
  builder_.pop();
  return false;
}

bool Growth::try_unary(const Primitive& primitive, int remaining) {
  const std::vector<int> loose = builder_.loose();
  const bool branch = random_.chance(0.2);
  const int value = branch ? static_cast<int>(random_.below(builder_.nodes().size())) : random_.pick(loose);
  const Primitive* before = builder_.nodes()[static_cast<size_t>(value)].primitive;
  if (before && primitive.is(kPointwise) && before->is(kPointwise) && before->arity == 1) return false;
  if (before && primitive.initial == Initial::kOne && before->is(kLinear) && before->weighted()) return false;
  std::vector<Attributes> found;
  primitive.propose(proposal({value}), random_, found);
  if (found.empty()) return false;
  if (!builder_.add(primitive, {value}, random_.pick(found))) return false;
  return keep_if_closable(remaining);
}

bool Growth::try_join(const Primitive& primitive, int remaining) {
  const std::vector<int> loose = builder_.loose();
  const int left = random_.pick(loose);
  const auto offers = [&](std::vector<int> operands) {
    std::vector<Attributes> found;
    primitive.propose(proposal(std::move(operands)), random_, found);
    return found;
  };
  // Of what stacks or updates few pairs fit, so those are looked for.
  const bool choosy = !primitive.is(kPointwise) && !primitive.is(kCommutative);
  std::vector<int> partners;
  for (int value = 0; value < static_cast<int>(builder_.nodes().size()); ++value) {
    if (value == left) continue;
    const bool fits = primitive.is(kPointwise)
                          ? joinable(builder_.axes(left), builder_.axes(value))
                          : !choosy || !offers({left, value}).empty() || !offers({value, left}).empty();
    if (fits) partners.push_back(value);
    if (fits && std::count(loose.begin(), loose.end(), value))
      partners.insert(partners.end(), 2, value);  // joining is worth more
  }
  if (partners.empty()) return false;
  std::vector<int> operands = {left, random_.pick(partners)};
  if (random_.chance(0.5)) std::swap(operands[0], operands[1]);
  while (static_cast<int>(operands.size()) < primitive.most && random_.chance(0.3))
    operands.push_back(random_.pick(partners));
  std::vector<Attributes> found = offers(operands);
  if (found.empty() && choosy) {
    std::swap(operands[0], operands[1]);
    found = offers(operands);
  }
  if (found.empty()) return false;
  if (!builder_.add(primitive, operands, random_.pick(found))) return false;
  if (builder_.axes(static_cast<int>(builder_.nodes().size()) - 1).size() > 7) {
    builder_.pop();
    return false;
  }
  return keep_if_closable(remaining);
}

Proposal Growth::proposal(std::vector<int> operands) const {
  const Size c = Size::variable(kC), k = Size::variable(kK);
  const auto over = [](const Size& size, int64_t divisor) { return size / Size::constant(divisor); };
  channel_sizes_ = {c, k, over(c, 2), over(c, 4), over(k, 2), over(k, 4)};
  group_sizes_ = {Size::constant(2), Size::constant(4), Size::constant(8)};
  bool fresh = false;  // at most one variable that nothing uses yet is offered: they are alike
  for (int v = kFirstDynamic; v < builder_.variables().count() && !fresh; ++v) {
    fresh = true;
    for (const Node& node : builder_.nodes()) {
      for (const Axis& axis : node.axes) fresh = fresh && axis.size.exponent(v) == 0;
    }
    channel_sizes_.push_back(c / Size::variable(v));
    channel_sizes_.push_back(k / Size::variable(v));
    group_sizes_.push_back(Size::variable(v));
  }
  partners_.clear();
  std::vector<const Axes*> axes;
  for (int operand : operands) axes.push_back(&builder_.axes(operand));
  for (size_t i = 0; i < builder_.nodes().size(); ++i) {
    for (const Axis& axis : builder_.nodes()[i].axes) {
      if (axis.role != Role::kSpatial && !has_axis(partners_, axis.name)) partners_.push_back(axis);
    }
  }
  return {axes,           builder_.signature(),
          channel_sizes_, group_sizes_,
          partners_,      "a" + std::to_string(builder_.nodes().size())};
}

void Growth::add_closing(const Primitive& primitive, std::vector<int> operands, const Attributes& attributes) {
  require(static_cast<bool>(builder_.add(primitive, std::move(operands), attributes)), "a closing step is not legal");
}

void Growth::add_first_proposal(const Primitive& primitive, std::vector<int> operands) {
  std::vector<Attributes> found;
  primitive.propose(proposal(operands), random_, found);
  add_closing(primitive, std::move(operands), found.at(0));
}

// All axes but the spatial ones become the result's channel axis.
void Growth::mix(int value) {
  Attributes attributes;
  Size product;
  for (const Axis& axis : builder_.axes(value)) {
    if (axis.role == Role::kSpatial) continue;
    attributes.from.push_back(axis.name);
    product = product * axis.size;
  }
  attributes.to = {builder_.signature().channel()};
  const bool merge = attributes.from.size() > 1 && product == attributes.to[0].size && random_.chance(0.7);
  add_closing(merge ? merge_primitive() : fc_primitive(), {value}, attributes);
}

void Growth::fold_mean(int value, std::vector<std::string> axes) {
  Attributes attributes;
  attributes.from = std::move(axes);
  attributes.mode = 1;
  add_closing(fold_primitive(), {value}, attributes);
}

// A value that lacks axes gates the other one; equals are added.
void Growth::join(int a, int b) {
  const bool same = builder_.axes(a).size() == builder_.axes(b).size() && joinable(builder_.axes(a), builder_.axes(b));
  add_closing(same ? add_primitive() : mul_primitive(), {a, b}, {});
}

void Growth::close_shortest(const ClosingStep& step) {
  const int value = step.values[0];
  Attributes attributes;
  attributes.from = step.axes;
  switch (step.kind) {
    case ClosingStep::kMix: return mix(value);
    case ClosingStep::kSubsample: return add_first_proposal(subsample_primitive(), {value});
    case ClosingStep::kUpsample: return add_first_proposal(upsample_primitive(), {value});
    case ClosingStep::kFold: return fold_mean(value, step.axes);
    case ClosingStep::kJoin: return join(value, step.values[1]);
    case ClosingStep::kContract: return add_closing(contract_primitive(), step.values, attributes);
    case ClosingStep::kStack: return add_first_proposal(stack_primitive(), step.values);
  }
}

void Growth::close_step(int room) {
  const Closing closing(builder_, limits_.weights);
  if (closing.bound() > room) {
    if (const auto step = closing.first_step(room)) return close_shortest(*step);
  }
  const std::vector<int> values = open_values(builder_);
  for (int a : values) {
    for (int b : values) {
      if (a < b && joinable(builder_.axes(a), builder_.axes(b))) return join(a, b);
    }
  }
  for (int value : values) {
    const Open state = open(builder_.axes(value), builder_.signature());
    if (state.subsample) return add_first_proposal(subsample_primitive(), {value});
    if (state.upsample) return add_first_proposal(upsample_primitive(), {value});
    if (state.channels && !state.is_result) return mix(value);
    if (!state.foreign.empty()) return fold_mean(value, state.foreign);
  }
  // All are converted, and each lacks an axis that another has: [K, H] and [K, W].
  for (int a : values) {
    for (int b : values) {
      if (a < b && compatible(builder_.axes(a), builder_.axes(b))) return join(a, b);
    }
  }
  require(false, "no closing step is left for an incomplete kernel");
}

}  // namespace canvas

// The steps with which growth ends where none that is drawn closes the kernel in time (growth.h).
#include "canvas/prims/registry.h"
#include "canvas/sample/growth.h"

namespace canvas {

void Growth::add_closing(const Primitive& primitive, Inputs operands, const Attributes& attributes) {
  require(put(primitive, std::move(operands), attributes), "a closing step is not legal");
  learn();
}

void Growth::add_first_proposal(const Primitive& primitive, Inputs operands) {
  propose(primitive, operands.data(), operands.data() + operands.size());
  add_closing(primitive, std::move(operands), found_.at(0));
}

// All axes but the spatial ones become the result's channel axis.
Attributes Growth::mixing(int value) const {
  Attributes attributes;
  for (const Axis& axis : builder_.axes(value)) {
    if (axis.role != Role::kSpatial) attributes.from.push_back(axis.name);
  }
  attributes.to = {builder_.signature().channel()};
  return attributes;
}

void Growth::mix(int value) {
  const Attributes attributes = mixing(value);
  Size product;
  for (const Axis& axis : builder_.axes(value)) product = axis.role == Role::kSpatial ? product : product * axis.size;
  const bool merge = attributes.from.size() > 1 && product == attributes.to[0].size && random_.chance(0.7);
  add_closing(merge ? merge_primitive() : fc_primitive(), {value}, attributes);
}

// One filter a channel takes the windows away; false where there is nothing to do so.
bool Growth::mix_windows(int value) {
  if (known_.back().weighted + 1 >= limits_.max_weighted) return false;
  Attributes attributes;
  for (const Axis& axis : builder_.axes(value)) {
    if (axis.role == Role::kWindow) attributes.from.push_back(axis.name);
    if (axis.role == Role::kChannel) attributes.per.push_back(axis.name);
  }
  if (attributes.from.empty() || attributes.per.empty()) return false;
  add_closing(fc_primitive(), {value}, attributes);
  return true;
}

void Growth::fold_mean(int value, AxisNames axes) {
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
  const int bound = outline_.bound();
  if (bound > room) {
    if (const auto step = Closing(outline_, limits_.weights).first_step(room)) return close_shortest(*step);
  }
  const std::vector<int> values = outline_.open_values();
  for (int a : values) {
    for (int b : values) {
      if (a < b && joinable(builder_.axes(a), builder_.axes(b))) return join(a, b);
    }
  }
  for (int value : values) {
    const Open state = open(builder_.axes(value), builder_.signature());
    if (state.subsample) return add_first_proposal(subsample_primitive(), {value});
    if (state.upsample) return add_first_proposal(upsample_primitive(), {value});
    if (state.channels && !state.is_result) {
      const bool narrow = room > bound && spending_ && (!affordable(0) || random_.chance(0.3));
      return narrow && mix_windows(value) ? void() : mix(value);
    }
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

// How growth takes the steps of an idiom (idioms.h): all of them, each as it could be drawn by itself, or none.
#include <algorithm>

#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"
#include "canvas/sample/growth.h"
#include "canvas/sample/plausible.h"
#include "canvas/sample/superfluous.h"

namespace canvas {

namespace {

constexpr int kProposals = 6;  // drawn for a step until one is what is wanted

size_t positions(const Axes& axes) {
  return static_cast<size_t>(
      std::count_if(axes.begin(), axes.end(), [](const Axis& axis) { return axis.role == Role::kSpatial; }));
}

}  // namespace

bool Growth::try_idiom(const Idiom& idiom, int remaining) {
  const auto steps = static_cast<int>(idiom.steps.size());
  if (steps > remaining || (missing() && tight_)) return false;
  Inputs values = {random_.pick(outline_.loose())};
  for (const IdiomStep& step : idiom.steps) {
    if (!put_step(step, values)) break;
    values.push_back(count() - 1);
  }
  int placed = static_cast<int>(values.size()) - 1;
  // A step before the last may be superfluous until that one has come.
  const bool suits = placed == steps && !(limits_.concise && superfluous_at_end(builder_.nodes()));
  if (suits && keep_if_closable(remaining - (steps - 1))) return true;
  for (placed -= suits; placed > 0; --placed) take_back();
  return false;
}

bool Growth::put_step(const IdiomStep& step, const Inputs& values) {
  const Primitive& primitive = step.primitive ? step.primitive() : chances_.activation(random_);
  if (primitive.weighted() && known_.back().weighted + 1 >= limits_.max_weighted) return false;
  const int operand = values[static_cast<size_t>(step.operand)];
  Inputs operands = {operand};
  Attributes attributes;
  if (step.wanted == Wanted::kLike) {
    attributes = like(values[static_cast<size_t>(step.other)], operand);
    if (attributes.to.empty()) return false;
  } else {
    if (step.other >= 0) operands.push_back(values[static_cast<size_t>(step.other)]);
    for (int draw = 0; draw == 0 || (found_.empty() && step.wanted != Wanted::kAny && draw < kProposals); ++draw) {
      propose(primitive, operands.data(), operands.data() + operands.size());
      std::erase_if(found_, [&](const Attributes& found) { return !is_wanted(found, step.wanted, operand); });
    }
    if (found_.empty()) return false;
    attributes = taken();
  }
  if (!put(primitive, operands, std::move(attributes))) return false;
  const Axes& made = builder_.nodes().back().axes;
  const bool suits = static_cast<int>(outline_.loose().size()) <= limits_.max_width && !outline_.crowded() &&
                     (operands.size() == 1 || made.size() <= 7) && (!limits_.trainable || fit_small_layer(made));
  if (!suits) {
    take_back();
    return false;
  }
  learn();
  return true;
}

bool Growth::is_wanted(const Attributes& found, Wanted wanted, int operand) const {
  const Axes& axes = builder_.axes(operand);
  const bool takes_all = found.from.size() + positions(axes) == axes.size() && found.per.empty();
  switch (wanted) {
    case Wanted::kPositions:
      return found.items.empty() ? found.mode == 1 && found.from.size() == positions(axes)
                                 : found.items.size() == positions(axes);
    case Wanted::kOneAxis: return found.items.size() == 1;
    case Wanted::kNarrow:
      return takes_all && found.to.size() == 1 && found.to[0].size.has_dynamic() && !has_axis(axes, found.to[0].name);
    case Wanted::kOwn: return takes_all && found.to.size() == 1 && has_axis(axes, found.to[0].name);
    case Wanted::kPerChannel:
      return found.to.empty() && !found.per.empty() &&
             found.from.size() + found.per.size() + positions(axes) == axes.size();
    case Wanted::kPerGroup: return !found.to.empty() && !found.per.empty();
    default: return true;
  }
}

Attributes Growth::like(int value, int operand) {
  Attributes attributes;
  const Axes &own = builder_.axes(operand), &wanted = builder_.axes(value);
  const bool filters =
      std::any_of(wanted.begin(), wanted.end(), [](const Axis& axis) { return axis.role == Role::kWindow; });
  for (const Axis& axis : own) {
    if (axis.role != Role::kSpatial) attributes.from.push_back(axis.name);
  }
  for (const Axis& axis : partners_) {
    const int found = find_axis(wanted, axis.name);
    const bool lacks = found >= 0 && wanted[static_cast<size_t>(found)].size == axis.size && !has_axis(own, axis.name);
    if (lacks && (!filters || axis.role == Role::kWindow || random_.chance(0.5))) attributes.to.push_back(axis);
  }
  return attributes;
}

}  // namespace canvas
